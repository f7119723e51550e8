import copy

import pytest
import torch
import torch.nn.functional as F

from rllib_dbf.functional.targets import greedy_actions
from rllib_dbf.nets.acting import Actor
from rllib_dbf.nets.utility import HEADS, INPUT_LAYERS, Memory, RecurrentUtility
from rllib_dbf.packing import pack_episodes
from rllib_dbf.registry import UnknownNameError

B, T, N, A, OBS, H, M = 2, 5, 3, 7, 11, 13, 17

COMBINATIONS = [
    (head, layer)
    for head in HEADS
    for layer in INPUT_LAYERS
    if HEADS[head].any_fraction or not INPUT_LAYERS[layer].uses_quantiles
]


def _utility(head: str, layer: str, **options) -> RecurrentUtility:
    torch.manual_seed(1)
    return RecurrentUtility(
        OBS, N, A, H, head, layer, n_cosines=8, n_memory_quantiles=M, **options
    ).double()


def _episodes(steps: int = T) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    obs = torch.randn(B, steps, N, OBS, dtype=torch.float64, generator=generator)
    last = torch.randint(0, A, (B, steps, N), generator=generator)
    last[:, 0] = -1
    avail = torch.rand(B, steps, N, A, generator=generator) < 0.5
    avail[..., 3] = True
    return obs, last, avail


def _unroll(utility: RecurrentUtility, obs, last, avail, memory=None) -> torch.Tensor:
    """`unroll` of episodes that are all as long, padded axes in and out."""
    packing = pack_episodes(torch.ones(B, obs.shape[1] - 1, dtype=torch.bool))
    obs, last, avail = (packing.pack(x) for x in (obs, last, avail))
    return packing.unpack(utility.unroll(obs, last, avail, packing.counts, memory))


def _naive(utility: RecurrentUtility, obs, last, avail) -> torch.Tensor:
    """Step by step with gradients, nothing precomputed: the definition."""
    memory, hidden = utility.initial_memory(B * N), []
    gru = torch.nn.GRUCell(H, H).double()
    gates = {name.removesuffix("_l0"): p for name, p in utility.gru.named_parameters()}
    for t in range(obs.shape[1]):
        ids = torch.eye(N, dtype=torch.float64).expand(B, N, N)
        actions = F.one_hot(last[:, t].clamp(min=0), A) * (last[:, t] >= 0)[..., None]
        x = torch.cat([obs[:, t], actions.double(), ids], dim=-1).view(B * N, -1)
        layer = utility.input_layer
        x = F.relu(layer.finish(layer.prepare(x), memory.quantiles))
        h = torch.func.functional_call(gru, gates, (x, memory.hidden))
        quantiles = memory.quantiles
        if utility.uses_quantiles:
            z = utility.head.all(h, utility.memory_tau).detach()  # [R, A, M]
            greedy = greedy_actions(z.mean(dim=-1), avail[:, t].reshape(B * N, A))
            quantiles = z[torch.arange(B * N), greedy]
        memory = Memory(h, quantiles)
        hidden.append(h.view(B, N, H))
    return torch.stack(hidden, dim=1)


@pytest.mark.parametrize(("head", "layer"), COMBINATIONS)
def test_unroll_equals_the_naive_loop_in_values_and_gradients(head: str, layer: str) -> None:
    utility = _utility(head, layer)
    episodes = _episodes()
    fast, slow = _unroll(utility, *episodes), _naive(utility, *episodes)
    torch.testing.assert_close(fast, slow)
    parameters = [p for n, p in utility.named_parameters() if not n.startswith("head")]
    weights = torch.randn_like(fast)
    for ours, theirs in zip(
        torch.autograd.grad((fast * weights).sum(), parameters),
        torch.autograd.grad((slow * weights).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("head", "layer"), COMBINATIONS)
def test_episodes_that_end_early_are_those_of_a_full_unroll(head: str, layer: str) -> None:
    utility = _utility(head, layer)
    obs, last, avail = _episodes()
    packing = pack_episodes(torch.arange(T - 1) < torch.tensor([[2], [T - 1]]))
    inputs = (packing.pack(x) for x in (obs, last, avail))
    packed = utility.unroll(*inputs, packing.counts)
    full = packing.pack(_unroll(utility, obs, last, avail))
    torch.testing.assert_close(packed, full)
    parameters = [p for n, p in utility.named_parameters() if not n.startswith("head")]
    weights = torch.randn_like(packed)
    for ours, theirs in zip(
        torch.autograd.grad((packed * weights).sum(), parameters),
        torch.autograd.grad((full * weights).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("head", "layer"), COMBINATIONS)
def test_acting_steps_equal_the_unroll(head: str, layer: str) -> None:
    utility = _utility(head, layer)
    obs, last, avail = _episodes()
    hidden, memory = _unroll(utility, obs, last, avail), utility.initial_memory(B * N)
    actor = Actor(utility)
    for t in range(T):
        stepped, memory = actor.step(obs[:, t], last[:, t], avail[:, t], memory)
        torch.testing.assert_close(stepped, hidden[:, t])
        assert not stepped.requires_grad
    assert memory.quantiles.shape == (B * N, M if utility.uses_quantiles else 0)


@pytest.mark.parametrize(("head", "layer"), COMBINATIONS)
def test_an_actor_and_its_copies_follow_their_weights(head: str, layer: str) -> None:
    utility, other = _utility(head, layer), _utility(head, layer)
    obs, last, avail = _episodes(1)
    start = utility.initial_memory(B * N)

    def act(actor: Actor) -> torch.Tensor:
        _, memory = actor.step(obs[:, 0], last[:, 0], avail[:, 0], start)
        return actor.step_and_mean(obs[:, 0], last[:, 0], avail[:, 0], memory)[2]

    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    actor, fresh = Actor(utility), act(Actor(other))
    before = act(actor)
    assert not torch.allclose(before, fresh)
    copied = copy.deepcopy(actor)
    copied.utility.load_state_dict(other.state_dict())
    torch.testing.assert_close(act(copied), fresh)
    torch.testing.assert_close(act(actor), before)
    with torch.no_grad():
        torch._foreach_copy_(list(utility.parameters()), list(other.parameters()))
    torch.testing.assert_close(act(actor), fresh)
    utility.float()
    obs, start = obs.float(), utility.initial_memory(B * N)
    torch.testing.assert_close(act(actor), fresh.float())


@pytest.mark.parametrize(("head", "layer"), COMBINATIONS)
def test_unroll_continues_from_a_memory(head: str, layer: str) -> None:
    utility = _utility(head, layer)
    obs, last, avail = _episodes()
    memory, actor = utility.initial_memory(B * N), Actor(utility)
    for t in range(2):
        _, memory = actor.step(obs[:, t], last[:, t], avail[:, t], memory)
    rest = _unroll(utility, obs[:, 2:], last[:, 2:], avail[:, 2:], memory)
    torch.testing.assert_close(rest, _unroll(utility, obs, last, avail)[:, 2:])


@pytest.mark.parametrize(("head", "layer"), COMBINATIONS)
def test_later_steps_and_other_episodes_change_nothing(head: str, layer: str) -> None:
    utility = _utility(head, layer)
    obs, last, avail = _episodes()
    before = _unroll(utility, obs, last, avail)
    obs[:, 3:] = 9.0
    obs[1] = -4.0
    torch.testing.assert_close(_unroll(utility, obs, last, avail)[0, :3], before[0, :3])


def test_memory_holds_the_quantiles_of_the_greedy_available_action() -> None:
    utility = _utility("iqn", "hypernet_factored")
    obs, last, avail = _episodes(1)
    start = utility.initial_memory(B * N)
    assert (start.hidden == 0).all() and (start.quantiles == 0).all()
    hidden, memory = Actor(utility).step(obs[:, 0], last[:, 0], avail[:, 0], start)
    z = utility.head.all(hidden, utility.memory_tau.expand(B, 1, M))
    mean = z.mean(dim=-1).masked_fill(~avail[:, 0], -torch.inf)
    expected = z.gather(2, mean.argmax(dim=-1)[..., None, None].expand(B, N, 1, M)).squeeze(2)
    torch.testing.assert_close(memory.quantiles.view(B, N, M), expected.detach())


@pytest.mark.parametrize("use", [False, True])
def test_optional_inputs(use: bool) -> None:
    utility = _utility("expected", "linear", use_last_action=use, use_agent_id=use)
    assert utility.input_layer.linear.in_features == OBS + use * (A + N)
    obs, last, avail = _episodes()
    other = _unroll(utility, obs, (last + 1) % A, avail)
    assert torch.equal(_unroll(utility, obs, last, avail), other) is not use


def test_hypernet_without_quantiles_is_refused() -> None:
    with pytest.raises(ValueError, match=r"input_layer='hypernet'.*head='iqn'"):
        RecurrentUtility(OBS, N, A, input_layer="hypernet")


def test_misspelt_parts_get_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'hypernet_factored'"):
        RecurrentUtility(OBS, N, A, head="iqn", input_layer="hypernet_factor")
