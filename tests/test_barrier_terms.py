"""The barrier's loss on a real team network: what reaches which parameter."""

import pytest
import torch

from rllib_dbf.barrier_terms import BARRIER_ESTIMATORS, BarrierSettings, BarrierTerm
from tests.test_loss_terms import DEATHS, batch, gradients, network, unrolled


def barrier_settings(**changes) -> BarrierSettings:
    settings = BarrierSettings(
        estimator="score", gamma_b=0.5, lambda_b=0.1, omega=0.0, temperature=1.0, baseline="mean",
        importance_clip=1.0, deaths="new", tail="zero", normaliser="transitions",
    )  # fmt: skip
    return settings._replace(**changes)


def barrier_loss(net, data, settings, seed=0):
    term = BarrierTerm(settings, torch.Generator().manual_seed(seed))
    return term.loss(net, data)


@pytest.mark.parametrize("head", ["iqn", "expected"])
def test_a_violation_moves_the_utility_and_leaves_the_mixer_alone(head):
    net = network(head, "sum")
    loss, stats = barrier_loss(net, batch(DEATHS), barrier_settings())
    assert any(g.abs().max() > 1e-6 for g in gradients(loss, net))
    # Deaths at s_2 only: B = .25, .5, 1, 0; δ_0 = .5 - .225, δ_1 = 1 - .45, δ_2 = 0;
    # five transitions were played.
    assert float(stats["barrier_loss"]) == pytest.approx((0.275 + 0.55) / 5)
    assert float(stats["gate_open_fraction"]) == 0.5


def test_a_closed_gate_gives_a_gradient_of_exactly_zero():
    net = network()
    loss, stats = barrier_loss(net, batch(DEATHS), barrier_settings(omega=1.0))
    assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients(loss, net))
    assert float(stats["barrier_loss"]) == 0.0
    assert float(stats["gate_open_fraction"]) == 0.0


def test_the_zero_estimator_reports_the_barrier_and_moves_nothing():
    net = network()
    loss, stats = barrier_loss(net, batch(DEATHS), barrier_settings(estimator="zero"))
    assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients(loss, net))
    assert float(stats["barrier_loss"]) > 0.0


def test_descending_the_barrier_lowers_the_probability_of_the_deadly_action():
    net = network()
    data = batch(DEATHS)
    settings = barrier_settings(baseline="none")
    optimiser = torch.optim.SGD(net.utility.parameters(), lr=0.5)

    def log_prob() -> float:
        q = net.utility.head.acting_mean(unrolled(net, data))
        chosen = q.log_softmax(-1).gather(-1, data.actions[..., None]).squeeze(-1)
        return float(chosen[0, 1].sum())  # the step that ends in the death

    before = log_prob()
    for _ in range(5):
        optimiser.zero_grad()
        barrier_loss(net, data, settings)[0].backward()
        optimiser.step()
    assert log_prob() < before - 0.1


def estimate(estimator, seed=0, **changes):
    net = network()
    settings = barrier_settings(estimator=estimator, **changes)
    return gradients(barrier_loss(net, batch(DEATHS), settings, seed)[0], net)


def largest(grads) -> float:
    return max(float(g.abs().max()) for g in grads)


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("estimator", [n for n in BARRIER_ESTIMATORS if n != "zero"])
def test_every_estimator_moves_the_policy_and_none_does_with_the_gate_closed(estimator):
    assert largest(estimate(estimator)) > 1e-6
    assert largest(estimate(estimator, omega=1.0)) == 0.0


@pytest.mark.parametrize("weights", ["to_go", "control_variate"])
def test_the_weights_are_a_choice(weights):
    assert not same(estimate("score", weights=weights), estimate("score"))


def test_to_go_without_a_future_is_myopic():
    assert same(estimate("score", weights="to_go", to_go_discount=0.0), estimate("score"))


@pytest.mark.parametrize("changes", [{"standardise": True}, {"normaliser": "trajectories"}])
def test_switches_of_scale_reach_the_gradient(changes):
    assert not same(estimate("score", **changes), estimate("score"))


def test_shuffling_is_reproducible_and_keeps_the_weights():
    assert same(estimate("shuffled", seed=1), estimate("shuffled", seed=1))
    assert any(not same(estimate("shuffled", seed=s), estimate("score")) for s in range(5))
    # One transition is left to blame: there is nothing to permute.
    one = batch([[0, 1, 0, 0], [0, 0, 0, 0]], lengths=(1, 3))
    net, settings = network(), barrier_settings(baseline="none")
    both = [
        gradients(barrier_loss(net, one, settings._replace(estimator=e))[0], net)
        for e in ("score", "shuffled")
    ]
    assert same(*both)


def test_the_temperature_follows_the_spread_of_the_utilities():
    term = BarrierTerm(barrier_settings(temperature="std"), torch.Generator())
    net, data = network(), batch(DEATHS)
    first = float(term.loss(net, data)[1]["policy_temperature"])
    q = net.utility.head.acting_mean(unrolled(net, data))
    spread = q.var(dim=-1, unbiased=False)[data.alive[:, :-1] & data.mask[..., None]].mean().sqrt()
    assert first == pytest.approx(float(spread), rel=1e-5)
    with torch.no_grad():
        net.utility.head.out.weight *= 3.0
    second = float(term.loss(net, data)[1]["policy_temperature"])
    assert first < second < 1.1 * first, "a running mean"
    again = BarrierTerm(barrier_settings(temperature="std"), torch.Generator())
    again.set_state(term.get_state())
    assert float(again.loss(net, data)[1]["policy_temperature"]) == pytest.approx(
        0.99 * second + 0.01 * 3 * first, rel=0.05
    )
