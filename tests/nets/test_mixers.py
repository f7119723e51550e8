"""Contract of every mixer, found in the registries, and what single mixers promise."""

import itertools
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from rllib_dbf.nets.mixers import MIXERS, WRAPPERS, make_mixer
from rllib_dbf.nets.mixers.sizes import MixerSizes, unit_states
from rllib_dbf.team import Utilities

B, T, N, A, K, S, H = 2, 3, 5, 7, 11, 17, 13

PLAIN = list(MIXERS)
WRAPPED = [f"{w}({m})" for w in WRAPPERS for m in MIXERS if not MIXERS[m].grouped]
ALL = PLAIN + WRAPPED


def _make(name: str, agents: int = N, **options) -> torch.nn.Module:
    return make_mixer(name, agents, A, S, H, **options).double()


def _utilities(z: torch.Tensor, **given: torch.Tensor) -> Utilities:
    generator = torch.Generator().manual_seed(7)
    drawn = Utilities(
        z=z,
        q_max=z.detach().mean(dim=-1) + 1.0,
        actions=torch.randint(0, A, z.shape[:3], generator=generator),
        hidden=torch.randn(*z.shape[:3], H, dtype=z.dtype, generator=generator),
    )
    return drawn._replace(**given)


def _quantiles(name: str) -> int:
    """Mixers of returns are asked for returns, the others for expected values."""
    return 1 if _make(name).expected_only else K


def _example(name: str, agents: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(B, T, agents, _quantiles(name), dtype=torch.float64, generator=generator)
    return z.requires_grad_(), torch.randn(B, T, S, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("name", ALL)
def test_shape(name: str) -> None:
    mixer = _make(name)
    z, state = _example(name)
    assert mixer(_utilities(z), state).shape == (B, T, N if mixer.grouped else 1, _quantiles(name))


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_every_utility_and_parameter(name: str) -> None:
    torch.manual_seed(0)
    mixer = _make(name)
    z, state = _example(name)
    total = mixer(_utilities(z), state)
    (total * torch.randn_like(total)).sum().backward()
    assert z.grad.isfinite().all() and (z.grad != 0).all()
    for key, parameter in mixer.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert (parameter.grad != 0).any(), key


@pytest.mark.parametrize("name", ALL)
def test_mixers_say_whether_they_read_the_greatest_utility(name: str) -> None:
    mixer = _make(name)
    z, state = _example(name)
    given = mixer(_utilities(z), state)
    if mixer.reads_maximum:
        assert not torch.equal(given, mixer(_utilities(z, q_max=z.detach().mean(-1) - 1.0), state))
    else:
        assert torch.equal(given, mixer(_utilities(z)._replace(q_max=None), state))


@pytest.mark.parametrize("name", ALL)
def test_every_transition_is_mixed_by_itself(name: str) -> None:
    """So a masked row cannot change another one."""
    mixer = _make(name)
    z, state = _example(name)
    before = mixer(_utilities(z), state).clone()
    with torch.no_grad():
        z[0, 1], state[0, 1] = 1e3, -1e3
    changed = (mixer(_utilities(z), state) - before).abs().amax(dim=(2, 3)) > 1e-9
    assert changed.nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize("name", [n for n in ALL if _make(n).monotone])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 999))
def test_raising_a_mean_never_lowers_the_team_value(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    mixer = _make(name)
    z, state = _example(name)
    total = mixer(_utilities(z), 3.0 * state).mean(dim=-1).sum()
    # Summed over quantiles: the effect of a shift of the whole distribution.
    assert (torch.autograd.grad(total, z)[0].sum(dim=-1) >= -1e-9).all()


@pytest.mark.parametrize("name", [n for n in ALL if _make(n).monotone and not _make(n).grouped])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 999))
def test_individual_greedy_actions_are_jointly_greedy(name: str, seed: int) -> None:
    """IGM by enumeration of all joint actions of three agents with four actions."""
    torch.manual_seed(seed)
    agents, n_actions = 3, 4
    mixer = _make(name, agents)
    choices = torch.randn(agents, n_actions, _quantiles(name), dtype=torch.float64)
    joint = torch.tensor(list(itertools.product(range(n_actions), repeat=agents)))
    z = choices[torch.arange(agents), joint][None]  # [1, 64, 3, K]
    state = torch.randn(1, 1, S, dtype=torch.float64).expand(1, len(joint), S)
    q_max = choices.mean(dim=-1).amax(dim=-1).expand(1, len(joint), agents)
    utilities = _utilities(z, q_max=q_max, actions=joint[None])
    total = mixer(utilities, state).mean(dim=-1).flatten()
    greedy = choices.mean(dim=-1).argmax(dim=-1)
    value = total[(joint == greedy).all(dim=-1)].item()
    assert value == pytest.approx(total.max().item(), abs=1e-9)


@pytest.mark.parametrize("name", WRAPPED)
def test_the_mean_of_the_team_return_is_the_wrapped_mixer_of_the_means(name: str) -> None:
    mixer = _make(name)
    z, state = _example(name)
    mean = mixer.mixer(_utilities(z.mean(dim=-1, keepdim=True)), state)
    total = mixer(_utilities(z), state)
    torch.testing.assert_close(total.mean(dim=-1, keepdim=True), mean)
    shape = (z - z.mean(dim=-1, keepdim=True)).sum(dim=2, keepdim=True)
    torch.testing.assert_close(total - mean, shape)


def test_qatten_by_hand() -> None:
    mixer = make_mixer("qatten", 2, A, 4, H, embed_dim=1, hypernet_dim=2)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.zero_()
        mixer.attention.queries[0][2].bias.fill_(math.log(3.0))
        mixer.attention.keys[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        mixer.head_weights[2].bias.copy_(torch.tensor([-2.0, 1.0, 0.0, 0.0]))
        mixer.value[2].bias.fill_(0.5)
    # Agents see (9, 1) and (9, 0): head 0 has logits (log 3, 0), weights (3/4, 1/4); head 1 is
    # uniform. |-2| (.75 z_1 + .25 z_2) + 1 (.5 z_1 + .5 z_2) + .5 = 2 z_1 + z_2 + .5
    z = torch.tensor([[1.0, 2.0], [10.0, 20.0]])[None, None]
    state = torch.tensor([9.0, 1.0, 9.0, 0.0])[None, None]
    total = mixer(_utilities(z), state)
    torch.testing.assert_close(total, torch.tensor([[[[12.5, 24.5]]]]))


def test_units_are_equal_shares_of_the_state_or_as_long_as_given() -> None:
    state = torch.arange(7.0)
    sizes = MixerSizes(3, A, 7, H)
    assert unit_states(state, sizes).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert unit_states(state, sizes._replace(unit_dim=1)).tolist() == [[0], [1], [2]]
    assert unit_states(state[:1], sizes._replace(state_dim=1)).tolist() == [[0], [0], [0]]


def test_qplex_by_hand() -> None:
    mixer = make_mixer("qplex", 2, 3, 1, H, hypernet_dim=1, n_kernels=4, kernel_layers=1)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.zero_()
        mixer.weights[2].bias.copy_(torch.tensor([-2.0, 3.0]))
        mixer.bias[2].bias.copy_(torch.tensor([0.5, 0.25]))
        mixer.importance.keys[0].bias.fill_(-8.0)  # λ = 8 · 1/2 · 1/2 = 2 for both
    # (2·1 + .5) + (3·2 + .25) + (2 - 1) [2 (1 - 4) + 3 (2 - 2)] = 8.75 - 6
    z = torch.tensor([1.0, 2.0]).view(1, 1, 2, 1).requires_grad_()
    q_max = torch.tensor([[[4.0, 2.0]]])
    actions = torch.tensor([[[0, 2]]])
    q_tot = mixer(_utilities(z, q_max=q_max, actions=actions), torch.zeros(1, 1, 1))
    assert q_tot.item() == pytest.approx(2.75)
    q_tot.sum().backward()
    assert z.grad.flatten().tolist() == pytest.approx([2.0, 3.0]), "advantages are detached"


def test_sum_and_independent_by_hand() -> None:
    z = torch.arange(12, dtype=torch.float64).view(1, 1, 3, 4)
    state = torch.zeros(1, 1, S, dtype=torch.float64)
    total = [[0.0 + 4 + 8, 1.0 + 5 + 9, 2.0 + 6 + 10, 3.0 + 7 + 11]]
    assert _make("sum", 3)(_utilities(z), state).tolist() == [[total]]
    assert _make("mean_shape(sum)", 3)(_utilities(z), state).tolist() == [[total]]
    assert torch.equal(_make("independent", 3)(_utilities(z), state), z)


def test_qmix_by_hand() -> None:
    mixer = make_mixer("qmix", 2, A, 1, H, embed_dim=2, hypernet_layers=1)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.zero_()
        mixer.hyper_w1.bias.copy_(torch.tensor([1.0, -2.0, -3.0, 4.0]))  # |.|: [[1,2],[3,4]]
        mixer.hyper_b1.bias.copy_(torch.tensor([0.0, -20.0]))
        mixer.hyper_w2.bias.copy_(torch.tensor([-10.0, 1.0]))
        mixer.value[2].bias.fill_(5.0)
    # q = (1, 2): (1 + 6, 2 + 8 - 20) = (7, -10); ELU (7, e^-10 - 1); 70 + e^-10 - 1 + 5
    z = torch.tensor([1.0, 2.0]).view(1, 1, 2, 1)
    q_tot = mixer(_utilities(z), torch.zeros(1, 1, 1))
    assert q_tot.item() == pytest.approx(74.0 + 4.54e-5, abs=1e-4)


@pytest.mark.parametrize("layers", [1, 2])
def test_sizes_are_settings(layers: int) -> None:
    mixer = _make("qmix", embed_dim=19, hypernet_dim=23, hypernet_layers=layers)
    z, state = _example("qmix")
    assert mixer(_utilities(z), state).shape == (B, T, 1, 1)
    assert mixer.hyper_b1.out_features == 19


def test_impossible_requests_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="Did you mean 'qmix'"):
        _make("qmx")
    with pytest.raises(ValueError, match="Did you mean 'qmix'"):
        _make("mean_shape(qmx)")
    with pytest.raises(ValueError, match="Did you mean 'mean_shape'"):
        _make("mean_shap(qmix)")
    with pytest.raises(ValueError, match=r"write 'mean_shape\(qmix\)'"):
        _make("mean_shape")
    with pytest.raises(ValueError, match="unwrapped"):
        _make("mean_shape(independent)")
    with pytest.raises(ValueError, match="hypernet_layers=3"):
        _make("qmix", hypernet_layers=3)
    z = torch.randn(B, T, N, K, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"mean_shape\(qmix\)"):
        _make("qmix")(_utilities(z), torch.randn(B, T, S, dtype=torch.float64))
