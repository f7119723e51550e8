import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from rllib_dbf.functional import barrier

# Three states' worth of an episode of two transitions, and one of one transition.
STATES = torch.tensor([[True, True, True, True], [True, True, False, False]])
MASK = STATES[:, 1:]
DEATHS = torch.tensor([[0.0, 1.0, 0.0, 2.0], [0.0, 1.0, 9.0, 9.0]])


def test_state_mask() -> None:
    assert torch.equal(barrier.state_mask_of(MASK), STATES)


def test_barrier_values_with_nothing_after_the_end() -> None:
    # Row 0: 2; 0 + .5*2 = 1; 1 + .5 = 1.5; .75. Row 1: 1; .5; padding counts for nothing.
    values = barrier.barrier_values(DEATHS, STATES, 0.5)
    assert values.tolist() == [[0.75, 1.5, 1.0, 2.0], [0.5, 1.0, 0.0, 0.0]]


def test_barrier_values_with_an_absorbing_end() -> None:
    # The last real state repeats for ever: 2/(1-.5) = 4; 2; 2; 1. Row 1: 2; 1.
    values = barrier.barrier_values(DEATHS, STATES, 0.5, tail="absorbing")
    assert values.tolist() == [[1.0, 2.0, 2.0, 4.0], [1.0, 2.0, 0.0, 0.0]]


def test_violations_and_loss() -> None:
    values = barrier.barrier_values(DEATHS, STATES, 0.5)
    violation = barrier.violations(values, MASK, 0.2)
    # 1.5 - .8*.75 = .9; 1 - .8*1.5 < 0; 2 - .8 = 1.2; row 1: 1 - .8*.5 = .6
    torch.testing.assert_close(violation, torch.tensor([[0.9, 0.0, 1.2], [0.6, 0.0, 0.0]]))
    # Pooled 2.7/4; per episode (2.1/3 + .6/1)/2; by states (2.1/4 + .6/2)/2
    assert barrier.barrier_loss(violation, MASK).item() == pytest.approx(0.675)
    assert barrier.barrier_loss(violation, MASK, "trajectories").item() == pytest.approx(0.65)
    assert barrier.barrier_loss(violation, MASK, "states").item() == pytest.approx(0.4125)


def test_gate_counts_deaths_of_real_states() -> None:
    total = barrier.deaths_total(DEATHS, STATES)
    assert total.tolist() == [3.0, 1.0]
    assert barrier.omega_gate(total, 1.0).tolist() == [True, False]
    assert barrier.omega_gate(total, 0.0).tolist() == [True, True]


def test_to_go() -> None:
    x = torch.tensor([[1.0, 2.0, 4.0], [1.0, 7.0, 7.0]])
    # 4; 2 + 2 = 4; 1 + 2 = 3. Row 1: only its one transition.
    assert barrier.to_go(x, MASK, 0.5).tolist() == [[3.0, 4.0, 4.0], [1.0, 0.0, 0.0]]


def _control_variate_weights_by_loops(deaths, mask, gamma_b, lambda_b) -> torch.Tensor:
    states = barrier.state_mask_of(mask)

    def total(c: torch.Tensor) -> torch.Tensor:
        values = barrier.barrier_values(c, states, gamma_b)
        return barrier.violations(values, mask, lambda_b).sum(dim=1)

    columns = []
    for t in range(mask.shape[1]):
        known = deaths.clone()
        known[:, t + 1 :] = 0.0
        columns.append(total(deaths) - total(known))
    return torch.stack(columns, dim=1) * mask


@settings(deadline=None, max_examples=25)
@given(gamma_b=st.floats(0.0, 0.99), lambda_b=st.floats(0.0, 1.0), seed=st.integers(0, 999))
def test_control_variate_weights(gamma_b: float, lambda_b: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    deaths = torch.randint(0, 3, (3, 8), generator=generator).double()
    length = torch.tensor([7, 5, 1])
    mask = torch.arange(7) < length[:, None]
    ours = barrier.control_variate_weights(deaths, mask, gamma_b, lambda_b)
    expected = _control_variate_weights_by_loops(deaths, mask, gamma_b, lambda_b)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(
    padding=st.integers(1, 5),
    tail=st.sampled_from(["zero", "absorbing"]),
    normaliser=st.sampled_from(["transitions", "trajectories", "states"]),
    seed=st.integers(0, 999),
)
def test_padding_changes_nothing(padding: int, tail: str, normaliser: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    deaths = torch.randint(0, 3, (3, 6), generator=generator).double()

    def loss(c: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        values = barrier.barrier_values(c, barrier.state_mask_of(mask), 0.7, tail)
        return barrier.barrier_loss(barrier.violations(values, mask, 0.1), mask, normaliser)

    mask = torch.ones(3, 5, dtype=torch.bool)
    junk = torch.full((3, padding), 8.0, dtype=torch.float64)
    longer = torch.cat([mask, torch.zeros(3, padding, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(loss(torch.cat([deaths, junk], dim=1), longer), loss(deaths, mask))


def test_cumulative_counts_never_satisfy_the_condition() -> None:
    # After the first death an absorbing tail leaves lambda_b c / (1 - gamma_b) at every step.
    counts, states = torch.full((1, 5), 2.0), torch.ones(1, 5, dtype=torch.bool)
    values = barrier.barrier_values(counts, states, 0.5, "absorbing")
    violation = barrier.violations(values, states[:, 1:], 0.1)
    torch.testing.assert_close(violation, torch.full((1, 4), 0.1 * 2.0 / 0.5))
