"""The episode-long GRU against PyTorch's own."""

import torch
from torch.nn.utils.rnn import PackedSequence

from rllib_dbf.nets.gru import GRUTrace, GRUWeights

I, H = 2, 3
COUNTS = [7, 7, 4, 4, 1]  # rows at each step: episodes of 5, 4, 4, 4, 2, 2 and 2 steps
P, R = sum(COUNTS), COUNTS[0]


def states(x: torch.Tensor, h: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """States after every step, differentiable."""
    trace = GRUTrace([GRUWeights(*weights)], h, COUNTS)
    trace.run([x.detach()])
    return trace.differentiable(x, h, GRUWeights(*weights))


def test_states_and_all_gradients_are_those_of_torch_on_a_packed_sequence():
    torch.manual_seed(0)
    gru = torch.nn.GRU(I, H).double()
    x = torch.randn(P, I, dtype=torch.float64, requires_grad=True)
    h = torch.randn(R, H, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(P, H, dtype=torch.float64)
    theirs = gru(PackedSequence(x, torch.tensor(COUNTS)), h[None])[0].data
    ours = states(x, h, *GRUWeights.of(gru))
    torch.testing.assert_close(ours, theirs)
    inputs = [x, h, *gru.parameters()]
    expected = torch.autograd.grad((theirs * weight).sum(), inputs)
    actual = torch.autograd.grad((ours * weight).sum(), inputs)
    torch.testing.assert_close(actual, expected)


def test_networks_side_by_side_do_not_touch_each_other():
    torch.manual_seed(2)
    grus = [torch.nn.GRU(I, H).double() for _ in range(2)]
    xs = torch.randn(2, P, I, dtype=torch.float64)
    h = torch.randn(R, H, dtype=torch.float64)
    at_once, in_steps = (GRUTrace([GRUWeights.of(g) for g in grus], h, COUNTS) for _ in range(2))
    at_once.run(list(xs))
    for x in xs.split(COUNTS, dim=1):
        in_steps.step(x)
    for i, gru in enumerate(grus):
        alone = gru(PackedSequence(xs[i], torch.tensor(COUNTS)), h[None])[0].data
        torch.testing.assert_close(at_once.states[i], alone)
        torch.testing.assert_close(in_steps.states[i], alone)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(1)
    shapes = [(P, I), (R, H), (3 * H, I), (3 * H, H), (3 * H,), (3 * H,)]
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(states, inputs)
