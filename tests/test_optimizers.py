"""Steps along gradients."""

import pytest
import torch
from torch import nn

from rllib_dbf.optimizers import OPTIMIZERS, lying_as


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_that_lie_in_another_order_move_the_weights_they_are_of(name: str) -> None:
    torch.manual_seed(0)
    nets = [nn.Parameter(torch.ones(3, 5)), nn.Parameter(torch.ones(3, 5))]
    steppers = [OPTIMIZERS[name]([net], lr=0.1) for net in nets]
    for _ in range(2):
        gradient = torch.randn(3, 5)
        turned = gradient.t().contiguous().t()
        assert not turned.is_contiguous()
        nets[0].grad, nets[1].grad = gradient, lying_as(nets[1], turned)
        for stepper in steppers:
            stepper.step()
        torch.testing.assert_close(*nets)
