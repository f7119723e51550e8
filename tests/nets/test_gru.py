"""The episode-long GRU against PyTorch's own."""

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import PackedSequence

from rllib_dbf.nets.gru import gru_sequence

H = 3
COUNTS = [7, 7, 4, 4, 1]  # rows at each step: episodes of 5, 4, 4, 4, 2, 2 and 2 steps
P, R = sum(COUNTS), COUNTS[0]


def test_states_and_all_gradients_are_those_of_torch_on_a_packed_sequence():
    torch.manual_seed(0)
    gru = torch.nn.GRU(H, H).double()
    x = torch.randn(P, H, dtype=torch.float64, requires_grad=True)
    h = torch.randn(R, H, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(P, H, dtype=torch.float64)
    inputs = [x, h, *gru.parameters()]
    theirs = gru(PackedSequence(x, torch.tensor(COUNTS)), h[None])[0].data
    projected = F.linear(x, gru.weight_ih_l0, gru.bias_ih_l0)
    ours = gru_sequence(projected, h, gru.weight_hh_l0, gru.bias_hh_l0, COUNTS)
    torch.testing.assert_close(ours, theirs)
    expected = torch.autograd.grad((theirs * weight).sum(), inputs)
    actual = torch.autograd.grad((ours * weight).sum(), inputs)
    torch.testing.assert_close(actual, expected)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(1)
    shapes = [(P, 3 * H), (R, H), (3 * H, H), (3 * H,)]
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(lambda *x: gru_sequence(*x, COUNTS), inputs)
