import math

import pytest
import torch

from rllib_dbf.functional import barrier
from rllib_dbf.functional.policy import (
    counterfactual_loss,
    gumbel_actions,
    joint_policy,
    mean_per_step,
    safest_first,
    score_function_loss,
    utility_std,
)

B, T, N, A = 2, 3, 5, 7
MASK = torch.tensor([[True, True, True], [True, False, False]])


def _batch(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    avail = torch.rand(B, T, N, A, generator=generator) < 0.6
    avail[..., 2] = True
    q = torch.randn(B, T, N, A, generator=generator).requires_grad_()
    actions = torch.multinomial(avail.view(-1, A).double(), 1, generator=generator).view(B, T, N)
    return {
        "q": q,
        "avail": avail,
        "actions": actions,
        "alive": torch.rand(B, T, N, generator=generator) < 0.8,
        "weights": torch.rand(B, T, generator=generator),
        "mask": MASK,
        "behaviour_prob": torch.rand(B, T, N, generator=generator),
    }


def test_policy_is_the_softmax_over_available_actions() -> None:
    q = torch.tensor([0.0, 2.0 * math.log(3.0), 50.0]).view(1, 1, 1, 3)
    avail = torch.tensor([True, True, False]).view(1, 1, 1, 3)
    # exp(0) : exp(log 3) at temperature 2
    assert joint_policy(q, avail, 2.0).flatten().tolist() == pytest.approx([0.25, 0.75, 0.0])


def _one_agent(weight: float, **options) -> tuple[float, list[float]]:
    q = torch.tensor([0.0, math.log(3.0)]).view(1, 1, 1, 2).requires_grad_()
    one = torch.ones(1, 1, dtype=torch.bool)
    loss = score_function_loss(
        q,
        torch.ones(1, 1, 1, 2, dtype=torch.bool),
        torch.zeros(1, 1, 1, dtype=torch.int64),
        one[..., None],
        torch.tensor([[weight]]),
        one,
        **options,
    )
    loss.backward()
    return loss.item(), q.grad.flatten().tolist()


def test_score_function_by_hand() -> None:
    # pi = (1/4, 3/4), action 0, weight 2: loss 2 log(1/4), gradient 2 (1 - 1/4, -3/4)
    loss, gradient = _one_agent(2.0, behaviour_prob=None)
    assert loss == pytest.approx(2.0 * math.log(0.25))
    assert gradient == pytest.approx([1.5, -1.5])


def test_importance_ratios_are_truncated_and_detached() -> None:
    # pi/mu = .25/.5: half of it. pi/mu = .25/.1 = 2.5, truncated to 1 and to 2.
    assert _one_agent(2.0, behaviour_prob=torch.tensor([[[0.5]]]))[1] == pytest.approx(
        [0.75, -0.75]
    )
    rare = torch.tensor([[[0.1]]])
    assert _one_agent(2.0, behaviour_prob=rare)[1] == pytest.approx([1.5, -1.5])
    assert _one_agent(2.0, behaviour_prob=rare, clip=2.0)[1] == pytest.approx([3.0, -3.0])


def test_baseline_and_standardisation() -> None:
    data = _batch() | {"behaviour_prob": None}
    weights = torch.tensor([[1.0, 2.0, 6.0], [3.0, 99.0, 99.0]])

    def gradient(weights: torch.Tensor, **options) -> torch.Tensor:
        loss = score_function_loss(**(data | {"weights": weights}), **options)
        return torch.autograd.grad(loss, data["q"])[0]

    # The mean over the four played transitions is 3, the variance (4 + 1 + 9 + 0)/4 = 3.5.
    torch.testing.assert_close(gradient(weights, baseline="mean"), gradient(weights - 3.0))
    torch.testing.assert_close(
        gradient(weights, baseline="mean", standardise=True), gradient((weights - 3.0) / 3.5**0.5)
    )


def test_only_living_agents_and_played_steps_have_a_gradient() -> None:
    data = _batch()
    score_function_loss(**data).backward()
    moved = (data["q"].grad != 0).any(dim=-1)
    choice = data["avail"].sum(dim=-1) > 1
    assert torch.equal(moved, data["alive"] & MASK[..., None] & choice)
    assert (data["q"].grad[~data["avail"]] == 0).all()


@pytest.mark.parametrize("baseline", ["none", "mean"])
@pytest.mark.parametrize("standardise", [False, True])
def test_a_closed_gate_has_exactly_no_gradient(baseline: str, standardise: bool) -> None:
    options = {"baseline": baseline, "standardise": standardise}
    data = _batch()
    closed = torch.zeros(B, dtype=torch.bool)
    loss = score_function_loss(**data, **options, active=closed)
    loss.backward()
    assert loss.item() == 0.0
    assert (data["q"].grad == 0).all()
    # One gate open: the other episode still has none, and does not enter the baseline.
    data, half = _batch(), torch.tensor([True, False])
    score_function_loss(**data, **options, active=half).backward()
    assert (data["q"].grad[1] == 0).all()
    assert (data["q"].grad[0] != 0).any()
    other = _batch()
    other["weights"] = other["weights"].clone()
    other["weights"][1] = 1e3
    score_function_loss(**other, **options, active=half).backward()
    assert torch.equal(other["q"].grad, data["q"].grad)


def test_inactive_episodes_still_count_in_the_normaliser() -> None:
    data = _batch() | {"behaviour_prob": None}
    half = torch.tensor([True, False])
    weights = data["weights"] * half[:, None]
    gated = score_function_loss(**data, active=half)
    torch.testing.assert_close(gated, score_function_loss(**(data | {"weights": weights})))


def test_a_violation_moves_the_policy_and_a_closed_gate_does_not() -> None:
    data = _batch()
    deaths = torch.tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    states = barrier.state_mask_of(MASK)
    violation = barrier.violations(barrier.barrier_values(deaths, states, 0.5), MASK, 0.1)
    total = barrier.deaths_total(deaths, states)
    for omega, moves in ((0.0, True), (1.0, False)):
        data["q"].grad = None
        active = barrier.omega_gate(total, omega)
        score_function_loss(**(data | {"weights": violation}), active=active).backward()
        assert (data["q"].grad != 0).any().item() is moves


def test_unavailable_padded_actions_and_zero_behaviour_probability_give_no_nan() -> None:
    data = _batch()
    data["actions"] = torch.where(MASK[..., None], data["actions"], 0)
    data["avail"][1, 1:, :, 0] = False
    data["behaviour_prob"] = torch.where(MASK[..., None], 0.5, 0.0).expand(B, T, N)
    loss = score_function_loss(**data, temperature=0.01)
    loss.backward()
    assert loss.isfinite() and data["q"].grad.isfinite().all()


@pytest.mark.parametrize("baseline", ["none", "mean"])
def test_the_deadly_arm_of_a_bandit_loses_probability(baseline: str) -> None:
    """One step, one agent, three arms, the first kills."""
    generator = torch.Generator().manual_seed(5)
    q = torch.tensor([1.0, 0.5, 0.0], requires_grad=True)
    optimiser = torch.optim.SGD([q], lr=1.0)
    episodes = 64
    mask = torch.ones(episodes, 1, dtype=torch.bool)
    states = barrier.state_mask_of(mask)
    before = q.detach().softmax(dim=0)
    for _ in range(40):
        rows = q.expand(episodes, 1, 1, 3)
        avail = torch.ones_like(rows, dtype=torch.bool)
        policy = joint_policy(rows, avail).detach()
        arms = torch.multinomial(policy.view(-1, 3), 1, generator=generator)
        deaths = torch.cat([torch.zeros(episodes, 1), (arms == 0).float()], dim=1)
        violation = barrier.violations(barrier.barrier_values(deaths, states, 0.5), mask, 0.1)
        # A death on arrival: B(s_1) - .9 B(s_0) = 1 - .9*.5
        assert violation[arms == 0].tolist() == pytest.approx([0.55] * int((arms == 0).sum()))
        mu = policy.gather(-1, arms.view(-1, 1, 1, 1)).squeeze(-1)
        loss = score_function_loss(
            rows,
            avail,
            arms.view(-1, 1, 1),
            mask[..., None],
            violation,
            mask,
            mu,
            baseline=baseline,
            active=barrier.omega_gate(barrier.deaths_total(deaths, states), -1.0),
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = q.detach().softmax(dim=0)
    assert after[0] < 0.5 * before[0]
    # Against the mean baseline the safe arms gain; without it chance decides between them.
    assert after[1:].sum() > before[1:].sum()


def test_counterfactual_loss_by_hand() -> None:
    # pi = (1/4, 3/4), cost (2, 0): the loss is 1/2, its gradient pi_u (cost_u - 1/2).
    q = torch.tensor([0.0, math.log(3.0)]).view(1, 1, 1, 2).requires_grad_()
    one = torch.ones(1, 1, dtype=torch.bool)
    cost = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2)
    loss = counterfactual_loss(q, torch.ones_like(q).bool(), one[..., None], cost, one)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert q.grad.flatten().tolist() == pytest.approx([0.375, -0.375])


def test_counterfactual_loss_leaves_out_the_dead_the_padding_and_the_gated() -> None:
    data = _batch()
    half = torch.tensor([True, False])
    cost = torch.rand(B, T, N, A)
    loss = counterfactual_loss(
        data["q"], data["avail"], data["alive"], cost, MASK, 1.0, active=half
    )
    loss.backward()
    moved = (data["q"].grad != 0).any(dim=-1)
    choice = data["avail"].sum(dim=-1) > 1
    assert torch.equal(moved, data["alive"] & MASK[..., None] & choice & half[:, None, None])


def test_gumbel_actions_are_draws_from_the_policy_with_a_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.tensor([0.0, math.log(3.0), 50.0]).repeat(4000, 1, 1, 1).requires_grad_()
    avail = torch.tensor([True, True, False]).expand_as(q)
    drawn = gumbel_actions(q, avail, 1.0, generator)
    assert torch.allclose(drawn.sum(dim=-1), torch.tensor(1.0))
    assert torch.allclose(drawn, drawn.round(), atol=1e-6)
    share = drawn.detach().mean(dim=0).flatten()
    assert share.tolist() == pytest.approx([0.25, 0.75, 0.0], abs=0.03)
    (drawn * torch.tensor([1.0, 0.0, 0.0])).sum().backward()
    gradient = q.grad.mean(dim=0).flatten()
    assert gradient[0] > 0 > gradient[1] and gradient[2] == 0


def test_utility_std_counts_available_actions_of_agents_with_a_choice() -> None:
    q = torch.tensor([[1.0, 3.0, 99.0], [7.0, 99.0, 99.0], [0.0, 6.0, 3.0]]).view(1, 1, 3, 3)
    avail = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]]).bool().view(1, 1, 3, 3)
    alive = torch.ones(1, 1, 3, dtype=torch.bool)
    # Variances 1 and 6; the second agent has no choice.
    std = utility_std(q, avail, alive, torch.ones(1, 1, dtype=torch.bool))
    assert std.item() == pytest.approx(3.5**0.5)
    nobody = utility_std(q, avail, ~alive, torch.ones(1, 1, dtype=torch.bool))
    assert nobody.item() == 0.0


def test_the_safest_of_the_nearly_best_actions_leads():
    scores = torch.tensor([[1.0, 0.95, 0.9, 0.2, 5.0]])
    danger = torch.tensor([[0.5, 0.3, 0.4, 0.0, 0.0]])
    avail = torch.tensor([[True, True, True, True, False]])
    # The best is worth .8 more than the worst available one: a tenth of that is .08.
    for margin, leader in ((0.0, 0), (0.05, 0), (0.1, 1), (0.2, 1), (1.0, 3)):
        ranked = safest_first(scores, danger, avail, margin).masked_fill(~avail, -torch.inf)
        assert int(ranked.argmax()) == leader
    equal = safest_first(scores, torch.zeros_like(danger), avail, 0.2)
    assert equal.isfinite().all()


def test_episodes_as_normaliser_count_steps_that_others_average():
    x, mask = torch.tensor([[1.0, 2.0], [4.0, 0.0]]), torch.tensor([[True, True], [True, False]])
    assert float(mean_per_step(x, mask, "episodes")) == 3.5
    assert float(mean_per_step(x, mask, "trajectories")) == 2.75
