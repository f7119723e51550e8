import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from rllib_dbf.functional.targets import greedy_actions, td_lambda_targets

B, T, N, A, K = 2, 3, 5, 7, 11


def test_greedy_actions_ignore_unavailable_and_take_the_first_of_equals() -> None:
    scores = torch.tensor([[9.0, 1.0, 3.0], [-5.0, -2.0, -2.0], [4.0, 4.0, 0.0]])
    avail = torch.tensor([[False, True, True], [True, True, True], [True, True, True]])
    # Row 0: 9 is unavailable, then 3. Rows 1 and 2: two equal maxima, the first.
    assert greedy_actions(scores, avail).tolist() == [2, 1, 0]


def test_greedy_actions_keep_all_leading_axes() -> None:
    avail = torch.ones(B, T, N, A, dtype=torch.bool)
    assert greedy_actions(torch.randn(B, T, N, A), avail).shape == (B, T, N)


def _targets(reward, terminated, mask, values, gamma, td_lambda) -> list[float]:
    return td_lambda_targets(
        torch.tensor([reward]),
        torch.tensor([terminated]),
        torch.tensor([mask]),
        torch.tensor([values])[:, :, None, None],
        gamma,
        td_lambda,
    )[0, :, 0, 0].tolist()


def test_one_step_targets() -> None:
    # y_0 = 1 + .5*10 = 6, y_1 = 2 + .5*20 = 12, y_2 = 3 (terminated)
    result = _targets(
        [1.0, 2.0, 3.0], [False, False, True], [True] * 3, [0.0, 10.0, 20.0, 30.0], 0.5, 0.0
    )
    assert result == pytest.approx([6.0, 12.0, 3.0])


def test_lambda_targets_of_a_terminated_episode() -> None:
    # G_2 = 3;  G_1 = 2 + .5(.5*20 + .5*3) = 7.75;  G_0 = 1 + .5(.5*10 + .5*7.75) = 5.4375
    result = _targets(
        [1.0, 2.0, 3.0], [False, False, True], [True] * 3, [0.0, 10.0, 20.0, 30.0], 0.5, 0.5
    )
    assert result == pytest.approx([5.4375, 7.75, 3.0])


def test_lambda_one_is_the_monte_carlo_return_with_bootstrap_at_a_truncation() -> None:
    # G_3 = v_3 = 30;  G_2 = 3 + .5*30 = 18;  G_1 = 2 + 9 = 11;  G_0 = 1 + 5.5 = 6.5
    result = _targets([1.0, 2.0, 3.0], [False] * 3, [True] * 3, [0.0, 10.0, 20.0, 30.0], 0.5, 1.0)
    assert result == pytest.approx([6.5, 11.0, 18.0])


@pytest.mark.parametrize("td_lambda", [0.0, 0.6, 1.0])
def test_an_episode_cut_off_early_bootstraps_from_its_own_last_state(td_lambda: float) -> None:
    # Two transitions, not terminated: G_2 = v_2 = 20, whatever the padding says.
    result = _targets(
        [1.0, 2.0, 99.0], [False] * 3, [True, True, False], [0.0, 10.0, 20.0, 77.0], 0.5, td_lambda
    )
    last = 2.0 + 0.5 * 20.0
    first = 1.0 + 0.5 * ((1 - td_lambda) * 10.0 + td_lambda * last)
    assert result == pytest.approx([first, last, 0.0])


@pytest.mark.parametrize("td_lambda", [0.0, 0.6])
def test_every_group_and_quantile_follows_its_own_recursion(td_lambda: float) -> None:
    reward, values = torch.randn(B, T), torch.randn(B, T + 1, N, K)
    terminated = torch.tensor([[False, False, True], [False, True, False]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    together = td_lambda_targets(reward, terminated, mask, values, 0.9, td_lambda)
    assert together.shape == (B, T, N, K)
    alone = td_lambda_targets(reward, terminated, mask, values[:, :, 3:4, 5:6], 0.9, td_lambda)
    torch.testing.assert_close(together[:, :, 3:4, 5:6], alone)


@settings(deadline=None, max_examples=25)
@given(td_lambda=st.floats(0.0, 1.0), padding=st.integers(1, 6), seed=st.integers(0, 999))
def test_padding_changes_nothing(td_lambda: float, padding: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    reward = torch.randn(B, T, generator=generator)
    terminated = torch.rand(B, T, generator=generator) < 0.2
    terminated[:, :-1] = False
    values = torch.randn(B, T + 1, 1, K, generator=generator)
    mask = torch.ones(B, T, dtype=torch.bool)
    short = td_lambda_targets(reward, terminated, mask, values, 0.99, td_lambda)
    junk = torch.full((B, padding), 55.0)
    longer = td_lambda_targets(
        torch.cat([reward, junk], dim=1),
        torch.cat([terminated, torch.zeros_like(junk).bool()], dim=1),
        torch.cat([mask, torch.zeros_like(junk).bool()], dim=1),
        torch.cat([values, junk[:, :, None, None].expand(-1, -1, 1, K)], dim=1),
        0.99,
        td_lambda,
    )
    torch.testing.assert_close(longer[:, :T], short)
    assert (longer[:, T:] == 0).all()


def test_targets_keep_double_precision_and_carry_no_gradient() -> None:
    values = torch.tensor([0.0, 1.0], dtype=torch.float64).view(1, 2, 1, 1).requires_grad_()
    zero, no = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.bool)
    target = td_lambda_targets(zero, no, ~no, values, 0.99, 0.6)
    assert target.item() == 0.99  # and not float32(0.99)
    assert not target.requires_grad
