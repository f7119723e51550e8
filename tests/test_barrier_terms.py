"""The barrier's loss on a real team network: what reaches which parameter."""

import pytest
import torch

from rllib_dbf.barrier_estimators import BARRIER_ESTIMATORS, critic_of
from rllib_dbf.barrier_evidence import BarrierSettings, gather_evidence, values_of_agents
from rllib_dbf.barrier_foresight import foresight
from rllib_dbf.barrier_terms import BarrierTerm
from rllib_dbf.nets.barrier_critics import BARRIER_CRITICS
from rllib_dbf.nets.team_network import NetworkShape, TeamNetwork, build_utility
from rllib_dbf.team import TeamBatch
from tests.test_loss_terms import DEATHS, A, N, O, S, batch, gradients, network, unrolled


def barrier_settings(**changes) -> BarrierSettings:
    settings = BarrierSettings(
        estimator="score", gamma_b=0.5, lambda_b=0.1, omega=0.0, temperature=1.0, baseline="mean",
        importance_clip=1.0, deaths="new", tail="zero", normaliser="transitions",
    )  # fmt: skip
    return settings._replace(**changes)


def barrier_loss(net, data, settings, seed=0):
    term = BarrierTerm(settings, torch.Generator().manual_seed(seed))
    return term.loss(net, data, critic(term))


def critic(term, seed=0):
    torch.manual_seed(seed)
    name = critic_of(term.settings.estimator, term.settings.baseline)
    return name and BARRIER_CRITICS[name](NetworkShape(N, A, O, S), 8)


MOVING = [n for n, e in BARRIER_ESTIMATORS.items() if e.surrogate is not None and n != "zero"]


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


@pytest.mark.parametrize("estimator", MOVING)
def test_every_estimator_moves_the_policy_and_none_does_with_the_gate_closed(estimator):
    assert largest(estimate(estimator)) > 1e-6
    if BARRIER_ESTIMATORS[estimator].by_omega:
        assert largest(estimate(estimator, omega=1.0)) == 0.0


@pytest.mark.parametrize("baseline", ["critic", "best"])
def test_an_agent_baseline_moves_the_policy_and_obeys_the_gate(baseline):
    assert largest(estimate("score", baseline=baseline)) > 1e-6
    assert not same(estimate("score", baseline=baseline), estimate("score"))
    assert largest(estimate("score", baseline=baseline, omega=1.0)) == 0.0


@pytest.mark.parametrize("weights", ["to_go", "control_variate"])
def test_the_weights_are_a_choice(weights):
    assert not same(estimate("score", weights=weights), estimate("score"))


def test_to_go_without_a_future_is_myopic():
    assert same(estimate("score", weights="to_go", to_go_discount=0.0), estimate("score"))


@pytest.mark.parametrize(
    "changes", [{"standardise": True}, {"normaliser": "trajectories"}, {"normaliser": "episodes"}]
)
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


def test_padding_does_not_change_what_a_critic_learns():
    for name in ("counterfactual", "joint"):
        net = BARRIER_CRITICS[name](NetworkShape(N, A, O, S), 8)
        term = BarrierTerm(barrier_settings(estimator="critic"), torch.Generator())
        data = batch(DEATHS)
        obs, state = data.obs.clone(), data.state.clone()
        obs[1, 3], state[1, 3] = 100.0, 100.0
        plain = term.critic_loss(net, data)[0]
        assert torch.equal(term.critic_loss(net, data._replace(obs=obs, state=state))[0], plain)


def test_counterfactuals_of_the_actions_taken_are_the_prediction():
    net, data = BARRIER_CRITICS["counterfactual"](NetworkShape(N, A, O, S), 8), batch(DEATHS)
    every, taken = net.counterfactuals(data), data.actions.unsqueeze(-1)
    ours = every.gather(-1, taken).squeeze(-1)
    predicted = net(data)[:, :, None].expand_as(ours)
    alive = data.alive[:, :-1] & data.mask[..., None]
    torch.testing.assert_close(ours[alive], predicted[alive])


def test_the_penalty_is_subtracted_from_the_reward_of_violating_steps():
    term = BarrierTerm(barrier_settings(estimator="penalty", penalty=2.0), torch.Generator())
    data = batch(DEATHS)
    loss, stats = term.loss(network(), data)
    assert loss is None
    assert float(stats["barrier_loss"]) == pytest.approx(0.165)
    # δ = .275, .55, 0 in the episode with the death, nothing in the other.
    paid = data.reward - term.reward(data)
    torch.testing.assert_close(paid, torch.tensor([[0.55, 1.1, 0.0], [0.0, 0.0, 0.0]]))
    other = BarrierTerm(barrier_settings(), torch.Generator())
    assert other.reward(data) is data.reward


def test_a_potential_changes_no_discounted_return_but_by_its_first_value():
    settings = barrier_settings(estimator="shaping", penalty=2.0, gamma=0.9)
    term, critic = BarrierTerm(settings, torch.Generator()), shape_critic("state")
    data = batch(DEATHS)
    ended = torch.zeros_like(data.mask)
    ended[0, data.mask[0].sum() - 1] = True  # the first episode ends, the second is cut
    data = data._replace(terminated=ended)
    gained = (term.reward(data, critic) - data.reward).detach()
    values, lengths = critic.values(data.state).detach(), data.mask.sum(dim=1).tolist()
    for row, length in enumerate(lengths):
        discounted = sum(0.9**t * float(gained[row, t]) for t in range(length))
        last = 0.0 if row == 0 else -2.0 * 0.9**length * float(values[row, length])
        assert discounted == pytest.approx(last + 2.0 * float(values[row, 0]), abs=1e-5)
    assert not gained[~data.mask].any()


def shape_critic(name):
    torch.manual_seed(0)
    return BARRIER_CRITICS[name](NetworkShape(N, A, O, S), 8)


def test_the_price_of_a_death_follows_the_excess_over_omega():
    settings = barrier_settings(estimator="constraint", omega=0.25, multiplier_rate=0.5)
    term, data = BarrierTerm(settings, torch.Generator()), batch(DEATHS)
    assert term.reward(data).equal(data.reward), "free at first"
    # One death in two episodes: .5 - .25 too many, times the rate.
    assert float(term.loss(network(), data)[1]["barrier_multiplier"]) == pytest.approx(0.125)
    paid = data.reward - term.reward(data)
    torch.testing.assert_close(paid, 0.125 * data.deaths[:, 1:] * data.mask)
    again = BarrierTerm(settings, torch.Generator())
    again.set_state(term.get_state())
    assert again.reward(data).equal(term.reward(data))
    nobody = batch([[0, 0, 0, 0], [0, 0, 0, 0]])
    for _ in range(2):
        stats = term.loss(network(), nobody)[1]
    assert float(stats["barrier_multiplier"]) == 0.0, "never negative"


def test_foreseeing_trains_the_trunk_and_watching_leaves_it_alone():
    net, data, judge = network(), batch(DEATHS), shape_critic("trunk")
    watch = BarrierTerm(barrier_settings(estimator="watch"), torch.Generator())
    assert watch.loss(net, data, judge)[0] is None
    watch.critic_loss(judge, data, net)[0].backward()
    assert all(p.grad is None for p in net.utility.parameters())
    assert largest([p.grad for p in judge.parameters()]) > 0.0
    tell = BarrierTerm(barrier_settings(estimator="prediction"), torch.Generator())
    loss = tell.loss(net, data, judge)[0]
    error = tell.critic_loss(judge, data, net)[0]
    assert float(loss) == pytest.approx(float(error), rel=1e-5)
    assert largest(gradients(loss, net)) > 1e-6


def test_padding_does_not_change_what_is_foreseen():
    net, data, judge = network(), batch(DEATHS), shape_critic("trunk")
    term = BarrierTerm(barrier_settings(estimator="prediction"), torch.Generator())
    obs, state = data.obs.clone(), data.state.clone()
    obs[1, 3], state[1, 3] = 100.0, 100.0
    changed = data._replace(obs=obs, state=state)
    for figure in (
        lambda d: term.loss(net, d, judge)[0],
        lambda d: term.critic_loss(judge, d, net)[0],
    ):
        assert torch.equal(figure(changed), figure(data))


@pytest.mark.parametrize("deaths", ["new", "cumulative"])
@pytest.mark.parametrize("tail", ["zero", "absorbing"])
def test_the_barriers_of_the_agents_add_up_to_that_of_the_team(deaths, tail):
    data = batch([[0, 2, 0, 1], [0, 0, 1, 0]], lengths=(3, 2))
    settings = barrier_settings(deaths=deaths, tail=tail)
    found = values_of_agents(data, settings)
    torch.testing.assert_close(found.sum(dim=-1), gather_evidence(data, settings).values)
    # Who leaves without dying has no part in it: there are as many deaths as leave, or none.
    left = data._replace(deaths=torch.zeros_like(data.deaths))
    assert (values_of_agents(left, settings) == 0.0).all()


@pytest.mark.parametrize("name", ["counterfactual", "trunk"])
def test_what_a_critic_says_of_agents_learns_from_their_own_deaths(name):
    judge, data = shape_critic(name), batch(DEATHS)
    hidden = unrolled(network(), data).detach() if judge.reads_trunk else None
    inputs = (data,) if hidden is None else (data, hidden)
    said, rest = judge.shares(*inputs)
    torch.testing.assert_close(said.sum(dim=-1) + rest, judge(*inputs))
    assert (said[~data.alive[:, :-1]] == 0.0).all()
    # One agent of the first episode dies on arrival in s_2; γ_B is a half.
    own = torch.zeros(data.actions.shape)
    own[0, :2, 0] = torch.tensor([0.5, 1.0])
    assert data.alive[0, 1, 0] and not data.alive[0, 2, 0]
    living = data.alive[:, :-1] & data.mask.unsqueeze(-1)
    of_agents = torch.where(living, said - own, 0.0).square().sum(dim=-1)
    of_team = (said.sum(dim=-1) + rest - own.sum(dim=-1)).square() * data.mask
    settings = barrier_settings(estimator="watch", critic_target="agents")
    error = foresight(judge, data, settings, hidden).error
    torch.testing.assert_close(error, of_agents + of_team)

    def moved(loss, part):
        parameters = list(part.parameters())
        return torch.autograd.grad(loss.sum(), parameters, retain_graph=True, allow_unused=True)

    # The state takes what the agents leave, and they do not hear of it.
    for found, wanted in zip(
        moved(error, judge.agents), moved(of_agents, judge.agents), strict=True
    ):
        torch.testing.assert_close(found, wanted)
    assert largest(moved(error, judge.state)) > 0.0


def bandit(arms, generator):
    """One step, one agent; arm 0 of three kills."""
    rows = len(arms)
    ones = torch.ones(rows, 1, dtype=torch.bool)
    deaths = torch.stack([torch.zeros(rows), (arms == 0).float()], dim=1)
    return TeamBatch(
        obs=torch.ones(rows, 2, 1, O),
        state=torch.rand(rows, 2, S, generator=torch.Generator().manual_seed(0)),
        avail=torch.ones(rows, 2, 1, 3, dtype=torch.bool),
        alive=torch.stack([ones, deaths[:, 1:] == 0], dim=1),
        deaths=deaths,
        actions=arms.view(rows, 1, 1),
        behaviour_prob=torch.full((rows, 1, 1), 1 / 3),
        reward=torch.zeros(rows, 1),
        terminated=ones,
        mask=ones,
    )


@pytest.mark.parametrize(
    ("estimator", "baseline", "target"),
    [(e, "mean", "team") for e in ("score", "critic", "gumbel", "zero", "shuffled")]
    + [("score", "critic", "team"), ("score", "best", "team")]
    + [("critic", "mean", "agents"), ("score", "critic", "agents")],
)
def test_on_a_bandit_every_estimator_shuns_the_deadly_arm_and_no_control_does(
    estimator, baseline, target
):
    torch.manual_seed(0)
    shape, generator = NetworkShape(1, 3, O, S), torch.Generator().manual_seed(0)
    utility = build_utility(shape, hidden_dim=8)
    net = TeamNetwork(utility, torch.nn.Identity())
    # The gate is open for all: with one step per episode, those with a death look alike.
    settings = barrier_settings(
        estimator=estimator, baseline=baseline, omega=-1.0, critic_target=target
    )
    term = BarrierTerm(settings, generator)
    name = critic_of(estimator, baseline)
    judge = name and BARRIER_CRITICS[name](shape, 16)
    step = torch.optim.Adam(net.utility.parameters(), lr=0.01)
    learn = judge and torch.optim.Adam(judge.parameters(), lr=0.01)

    def policy(data):
        return net.utility.head.acting_mean(unrolled(net, data))[0, 0, 0].softmax(-1).detach()

    before = policy(bandit(torch.zeros(1, dtype=torch.int64), generator))
    for _ in range(150):
        arms = torch.multinomial(torch.ones(32, 3), 1, generator=generator).squeeze(1)
        data = bandit(arms, generator)
        if judge is not None:
            learn.zero_grad()
            term.critic_loss(judge, data)[0].backward()
            learn.step()
        step.zero_grad()
        term.loss(net, data, judge)[0].backward()
        step.step()
    after = policy(data)
    if estimator in ("zero", "shuffled"):
        assert abs(after[0] - before[0]) < 0.15
    else:
        assert after[0] < 0.3 * before[0]
    if judge is not None:
        assert float(term.critic_loss(judge, data)[1]["critic_explained_variance"]) > 0.9
