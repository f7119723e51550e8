"""The episode-long GRU against PyTorch's own."""

import torch
import torch.nn.functional as F

from rllib_dbf.nets.gru import gru_sequence

T, R, H = 5, 7, 3


def test_states_and_all_gradients_are_those_of_torch():
    torch.manual_seed(0)
    gru = torch.nn.GRU(H, H).double()
    x = torch.randn(T, R, H, dtype=torch.float64, requires_grad=True)
    h = torch.randn(R, H, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(T, R, H, dtype=torch.float64)
    inputs = [x, h, *gru.parameters()]
    theirs = gru(x, h[None])[0]
    projected = F.linear(x, gru.weight_ih_l0, gru.bias_ih_l0)
    ours = gru_sequence(projected, h, gru.weight_hh_l0, gru.bias_hh_l0)
    torch.testing.assert_close(ours, theirs)
    expected = torch.autograd.grad((theirs * weight).sum(), inputs)
    actual = torch.autograd.grad((ours * weight).sum(), inputs)
    torch.testing.assert_close(actual, expected)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(1)
    shapes = [(T, R, 3 * H), (R, H), (3 * H, H), (3 * H,)]
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(gru_sequence, inputs)
