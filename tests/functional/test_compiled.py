"""Sums and orders in compiled code against PyTorch's, which other tests compare with equations."""

from collections.abc import Callable

import pytest
import torch

from rllib_dbf.compiled import library
from rllib_dbf.functional import compiled
from rllib_dbf.functional.barrier import discounted_to_go
from rllib_dbf.functional.losses import quantile_huber_elements
from rllib_dbf.functional.targets import greedy_actions, td_lambda_targets
from rllib_dbf.packing import pack_episodes
from tests.pytorch_alone import pytorch_alone

# There is none on the PATH of some small images; PyTorch then does the work, as other tests show.
pytestmark = pytest.mark.skipif(
    library.library().functions is None, reason=f"nothing to test: {library.library().reason}"
)

B, T = 33, 19


def both(function: Callable):
    """What compiled code and PyTorch alone make of the same."""
    ours = function()
    with pytorch_alone():
        return ours, function()


def masks(seed: int = 0) -> torch.Tensor:
    lengths = torch.randint(1, T + 1, (B,), generator=torch.Generator().manual_seed(seed))
    lengths[5] = T
    return torch.arange(T) < lengths[:, None]


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (3, 5)])
@pytest.mark.parametrize("td_lambda", [0.0, 0.6, 1.0])
def test_targets(shape: tuple[int, int], td_lambda: float) -> None:
    torch.manual_seed(1)
    mask, values = masks(), torch.randn(B, T + 1, *shape)
    last = mask.sum(dim=1) - 1
    terminated = torch.zeros(B, T, dtype=torch.bool)
    terminated[torch.arange(B), last] = torch.rand(B) < 0.5
    terminated[0, :3] = True  # an end in the middle cuts what comes after it off
    arguments = torch.randn(B, T), terminated, mask, values, 0.97, td_lambda
    ours, expected = both(lambda: td_lambda_targets(*arguments))
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
    assert not ours[~mask].any()


def test_targets_look_at_no_padding_and_hide_nothing_that_was_played() -> None:
    mask, values = masks(), torch.zeros(B, T + 1, 1, 1)
    beyond = torch.cat([torch.zeros(B, 1, dtype=torch.bool), ~mask], dim=1)
    reward = torch.zeros(B, T)
    never = torch.zeros(B, T, dtype=torch.bool)
    values[beyond] = torch.inf
    assert not td_lambda_targets(reward, never, mask, values, 0.9, 0.6).any()
    reward[7, 0] = torch.nan
    found = td_lambda_targets(reward, never, mask, values, 0.9, 0.6)
    assert found.isnan().sum() == 1 and found[7, 0].isnan()


def test_greedy_actions() -> None:
    torch.manual_seed(2)
    scores, avail = torch.randn(B, T, 3, 7), torch.rand(B, T, 3, 7) < 0.4
    avail[0, 0, 0] = False  # nothing
    scores[1, 0, 0], avail[1, 0, 0] = 0.5, True  # ties
    scores[2, 0, 0, 3], avail[2, 0, 0] = torch.nan, True
    scores[3, 0, 0], avail[3, 0, 0, 2:] = -torch.inf, True
    scores[4, 0, 0, 5], avail[4, 0, 0] = torch.inf, True
    turned = scores.transpose(0, 1).contiguous().transpose(0, 1)
    for given in (scores, turned):
        ours, expected = both(lambda x=given: greedy_actions(x, avail))
        assert torch.equal(ours, expected)


def test_targets_refuse_what_does_not_fit() -> None:
    mask, values = masks(), torch.zeros(B, T, 1, 1)
    with pytest.raises(ValueError, match="values has shape"):
        compiled.td_lambda(torch.zeros(B, T), ~mask, mask, values, 0.9, 0.6)


def test_what_is_too_much_for_the_stack_is_left_to_pytorch() -> None:
    mask = torch.ones(2, 70_000, dtype=torch.bool)
    mask[0, 5:] = False
    found = pack_episodes(mask)  # would end the process
    assert found.counts[:7] == [2] * 6 + [1] and len(found.counts) == 70_001


@pytest.mark.parametrize("seed", range(3))
def test_packings_are_the_same(seed: int) -> None:
    ours, expected = both(lambda: pack_episodes(masks(seed)))
    assert ours.counts == expected.counts and ours.shape == expected.shape
    assert all(torch.equal(x, y) for x, y in zip(ours[1:4], expected[1:4], strict=True))


def test_packings_of_one_episode_and_of_shorter_ones_than_there_is_room_for() -> None:
    for mask in (masks()[5:6], masks() & (torch.arange(T) < 4)):
        ours, expected = both(lambda mask=mask: pack_episodes(mask))
        assert ours.counts == expected.counts
        assert all(torch.equal(x, y) for x, y in zip(ours[1:4], expected[1:4], strict=True))


def test_sums_to_go() -> None:
    x = torch.randn(T, B).t()  # rows that do not lie one after the other
    ours, expected = both(lambda: discounted_to_go(x, 0.9))
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("groups", "agents_share"), [(1, True), (3, True), (3, False)])
@pytest.mark.parametrize("kappa", [1.0, 0.3])
def test_quantile_huber(groups: int, agents_share: bool, kappa: float) -> None:
    torch.manual_seed(1)
    z = torch.randn(2, 50, groups, 7, requires_grad=True)
    target, tau = torch.randn(2, 50, groups, 5), torch.rand(2, 50, 1 if agents_share else groups, 7)

    def loss_and_gradient() -> tuple[torch.Tensor, torch.Tensor]:
        loss = quantile_huber_elements(z, target, tau, kappa)
        return loss.detach(), torch.autograd.grad(loss.square().sum(), z)[0]

    for ours, expected in zip(*both(loss_and_gradient), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_quantile_huber_hides_nothing_and_knows_the_border() -> None:
    z, tau = torch.zeros(1, 2, 1, 1, requires_grad=True), torch.full((1, 2, 1, 1), 0.25)
    target = torch.tensor([0.0, torch.nan]).view(1, 2, 1, 1)
    for loss in both(lambda: quantile_huber_elements(z, target, tau)):
        assert loss[0, 0] == 0.0 and loss[0, 1].isnan()
        assert torch.autograd.grad(loss.sum(), z)[0][0, 1].isnan()
