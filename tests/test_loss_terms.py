"""The loss terms on a real team network: what reaches which parameter."""

import numpy as np
import pytest
import torch

from rllib_dbf import loss_terms
from rllib_dbf.nets.team_network import NetworkShape, TeamNetwork, build_mixer, build_utility
from rllib_dbf.packing import pack_episodes
from rllib_dbf.team import TeamBatch

B, T, N, A, O, S = 2, 3, 5, 7, 4, 17


def network(head: str = "iqn", mixer: str = "mean_shape(qmix)", seed: int = 0) -> TeamNetwork:
    torch.manual_seed(seed)
    shape = NetworkShape(N, A, O, S)
    utility = build_utility(shape, hidden_dim=8, head=head)
    return TeamNetwork(utility, build_mixer(shape, mixer, 8, embed_dim=8, hypernet_dim=8))


def batch(deaths, lengths=(3, 2), seed: int = 0) -> TeamBatch:
    """Random episodes of the given lengths with the given deaths at s_0 … s_T."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    mask = torch.arange(T) < lengths[:, None]
    terminated = torch.arange(T) == lengths[:, None] - 1
    deaths = torch.tensor(deaths, dtype=torch.float32)
    dead = deaths.cumsum(dim=1)
    return TeamBatch(
        obs=torch.randn(B, T + 1, N, O, generator=g),
        state=torch.randn(B, T + 1, S, generator=g),
        avail=torch.ones(B, T + 1, N, A, dtype=torch.bool),
        alive=torch.arange(N) >= dead[..., None],
        deaths=deaths,
        actions=torch.randint(A, (B, T, N), generator=g),
        behaviour_prob=torch.full((B, T, N), 1.0 / A),
        reward=torch.randn(B, T, generator=g) * mask,
        terminated=terminated,
        mask=mask,
    )


def unrolled(net: TeamNetwork, data: TeamBatch) -> torch.Tensor:
    """Hidden states from which a transition starts: [B, T, N, H]."""
    packing = pack_episodes(data.mask)
    return packing.unpack(net.unroll(data, packing))[:, :-1]


def gradients(loss, net):
    params = list(net.utility.parameters())
    grads = torch.autograd.grad(loss, params, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(params, grads, strict=True)]


DEATHS = [[0, 0, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("head", "mixer", "loss"),
    [("expected", "qmix", "squared"), ("expected", "independent", "squared"),
     ("iqn", "mean_shape(qmix)", "quantile_huber"), ("iqn", "independent", "quantile_huber")],
)  # fmt: skip
def test_padding_changes_neither_the_td_loss_nor_its_gradient(head, mixer, loss):
    net, k = network(head, mixer), 1 if head == "expected" else 3
    target = network(head, mixer, seed=1).detached_copy()
    settings = loss_terms.TDSettings(loss, 0.99, 0.6, True)
    data = batch([[0, 0, 0, 0], [0, 1, 0, 0]])
    shared = mixer != "independent"
    taus = loss_terms.draw_taus(data, k, k, shared, torch.Generator().manual_seed(0))

    def value_and_gradient(b):
        value, _ = loss_terms.td_loss(net, target, b, taus, settings)
        return [value, *gradients(value, net)]

    plain = value_and_gradient(data)
    rubbish = torch.randn(N, O) * 100
    obs, state, reward = data.obs.clone(), data.state.clone(), data.reward.clone()
    obs[1, 3], state[1, 3], reward[1, 2] = rubbish, 100.0, 1e6
    padded = value_and_gradient(data._replace(obs=obs, state=state, reward=reward))
    for a, b in zip(plain, padded, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("mixer", ["qmix", "qplex"])
def test_what_is_overruled_is_no_greedy_action_of_targets_and_nothing_else(mixer):
    net, target = network("expected", mixer), network("expected", mixer, seed=1).detached_copy()
    data = batch([[0, 0, 0, 0], [0, 1, 0, 0]])
    plain = loss_terms.TDSettings("squared", 0.9, 0.0, True)
    taus = loss_terms.draw_taus(data, 1, 1, True, torch.Generator().manual_seed(0))

    def figures(data, settings):
        return loss_terms.td_loss(net, target, data, taus, settings)[1]

    def first_two(obs, avail):
        assert obs.shape[:-1] == avail.shape[:-1]
        return avail & (torch.arange(A) < 2)

    usual = figures(data, plain)
    overruled = figures(data, plain._replace(allowed=first_two))
    masked = figures(data._replace(avail=first_two(data.obs, data.avail)), plain)
    assert overruled["q_taken_mean"] == usual["q_taken_mean"]
    assert not torch.isclose(overruled["target_mean"], usual["target_mean"])
    # QMIX knows no maximum, so that it is as if the other actions were not there.
    same = torch.isclose(overruled["target_mean"], masked["target_mean"])
    assert same == (mixer == "qmix")


def test_the_mean_of_the_team_return_is_the_mix_of_the_mean_utilities():
    """E[Z_tot] = mixer(E[Z_1], …, E[Z_N]): DFAC's mean-shape decomposition, on a real network."""
    net = network()
    data = batch(DEATHS)
    tau = torch.rand(B, T, 1, 11)
    hidden = unrolled(net, data)
    z = net.utility.head.at(hidden, data.actions, tau)
    u = loss_terms.Utilities(z, z.mean(-1), data.actions, hidden)
    total = net.mixer(u, data.state[:, :-1])
    mean = net.mixer(u._replace(z=z.mean(-1, keepdim=True)), data.state[:, :-1])
    torch.testing.assert_close(total.mean(-1, keepdim=True), mean)


def test_quantile_fractions_come_from_the_generator_alone():
    data = batch(DEATHS)
    draw = lambda seed: loss_terms.draw_taus(  # noqa: E731
        data, 3, 2, True, torch.Generator().manual_seed(seed)
    )
    one, two, other = draw(0), draw(0), draw(1)
    assert torch.equal(one.online, two.online)
    assert not torch.equal(one.online, other.online)
    assert one.online.shape == (B, T + 1, 1, 3)
    assert one.target.shape == (B, T + 1, 1, 2)
    assert np.all((one.online.numpy() > 0) & (one.online.numpy() < 1))
