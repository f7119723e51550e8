"""Walks of one launch against PyTorch's, on a GPU or through Triton's interpreter.

Without a GPU: `TRITON_INTERPRET=1 PYTHONPATH=FOLDER pytest tests/nets/test_fused.py`, where
`pip install --no-deps --target FOLDER triton` put Triton: 3.7 or later, as earlier interpreters do
not work with NumPy 2.4.
"""

import importlib.util
import os

import pytest
import torch

from rllib_dbf.nets import unrolling
from rllib_dbf.nets.fused import launches
from rllib_dbf.nets.fused.trace import TritonTrace
from rllib_dbf.nets.gru import GRUTrace, GRUWeights
from rllib_dbf.nets.unrolling import has_fused_walks, hypernet_weights, unroll_together
from rllib_dbf.nets.utility import Memory, RecurrentUtility
from tests.pytorch_alone import pytorch_alone

GPU, INTERPRETED = torch.cuda.is_available(), os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None, reason="Triton is not installed"
    ),
    pytest.mark.skipif(
        not (GPU or INTERPRETED), reason="neither a GPU nor TRITON_INTERPRET=1: no kernel can run"
    ),
]
DEVICE = "cuda" if GPU and not INTERPRETED else "cpu"

N, OBS, T = 3, 11, 5
KINDS = {
    "linear": {},
    "hypernet": {"head": "iqn", "input_layer": "hypernet_factored"},
    "pair": {"head": "iqn_pair", "input_layer": "hypernet_factored"},
}
SIZES = {  # quantiles, features, bases, actions
    "even": (32, 32, 4, 16),
    "odd": (19, 21, 3, 7),
    "wide": (64, 41, 8, 37),
}


def close(actual, expected) -> None:
    torch.testing.assert_close(actual, expected, rtol=2e-5, atol=2e-5)


def utility(kind: str, hidden_dim: int = 32, sizes: str = "odd", seed: int = 1) -> RecurrentUtility:
    torch.manual_seed(seed)
    quantiles, features, bases, actions = SIZES[sizes]
    widths = {"n_memory_quantiles": quantiles, "hypernet_dim": features, "n_bases": bases}
    return RecurrentUtility(OBS, N, actions, hidden_dim, n_cosines=16, **KINDS[kind], **widths).to(
        DEVICE
    )


def seen(states: int, actions: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    obs = torch.randn(states, N, OBS, generator=generator)
    last = torch.randint(-1, actions, (states, N), generator=generator)
    avail = torch.rand(states, N, actions, generator=generator) < 0.5
    avail[..., 3] = True
    return [x.to(DEVICE) for x in (obs, last, avail)]


def unrolled(nets: list[RecurrentUtility], episodes: int) -> list[torch.Tensor]:
    """States of a network and its target, and gradients of all that made the former."""
    torch.manual_seed(0)
    memory = Memory(*(torch.randn_like(m) for m in nets[0].initial_memory(episodes * N)))
    memory.hidden.requires_grad_()
    actions = nets[0].head.out.out_features
    counts = [episodes] * T
    states = unroll_together(nets, *seen(episodes * T, actions), counts, memory)
    spread = torch.linspace(-1, 1, nets[0].hidden_dim, device=DEVICE)
    loss = (states[0] * spread).square().sum()
    made_of = [memory.hidden, *nets[0].input_layer.parameters(), *nets[0].gru.parameters()]
    return [*(s.detach() for s in states), *torch.autograd.grad(loss, made_of)]


def compared(nets: list[RecurrentUtility], episodes: int, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        made = []

        class Counted(TritonTrace):
            def __init__(self, *args) -> None:
                super().__init__(*args)
                made.append(self)

        patch.setattr(unrolling, "TritonTrace", Counted)
        patch.setattr(unrolling, "has_fused_walks", lambda *_: True)
        fused = unrolled(nets, episodes)
        assert made
    with pytorch_alone():
        expected = unrolled(nets, episodes)
    close(fused, expected)


@pytest.mark.parametrize(
    ("kind", "sizes"), [("linear", "odd"), *(("hypernet", s) for s in SIZES), ("pair", "even")]
)
@pytest.mark.parametrize("hidden_dim", [16, 32, 64])
def test_walks_and_their_gradients_are_those_of_pytorch(
    kind: str, hidden_dim: int, sizes: str, monkeypatch
) -> None:
    nets = [utility(kind, hidden_dim, sizes), utility(kind, hidden_dim, sizes, seed=3)]
    compared(nets, 3, monkeypatch)  # 9 rows: a block, and a rest


@pytest.mark.parametrize("episodes", [1, 8])
@pytest.mark.parametrize("kind", ["linear", "hypernet"])
def test_a_network_alone(kind: str, episodes: int, monkeypatch) -> None:
    compared([utility(kind)], episodes, monkeypatch)


def test_the_first_of_equal_actions_is_greedy_and_none_that_is_unavailable() -> None:
    """Every action's return is its bias, so the quantiles tell which one a step took."""
    net = utility("hypernet")
    with torch.no_grad():
        net.head.out.weight.zero_()
        net.head.out.bias.copy_(torch.tensor([3.0, 1.0, 2.0, 2.0, 2.0, 1.0, 5.0]))
    avail = torch.ones(2, N, 7, dtype=torch.bool, device=DEVICE)
    avail[:, 0, [0, 6]] = False  # 2, 3 and 4 are equal
    avail[:, 1, [0, 2, 6]] = False  # 3 and 4
    avail[:, 2] = False
    memory = net.initial_memory(N)
    trace = TritonTrace([GRUWeights.of(net.gru)], memory.hidden, [N, N], learns=True)
    prepared = torch.zeros(2 * N, 3 * net.hidden_dim, device=DEVICE)
    # Equal biases and unequal returns: φ = 1, weights of the quantiles alone tell actions apart.
    weights = hypernet_weights(net)
    out = torch.arange(7.0, device=DEVICE)[:, None].expand_as(weights.out)
    weights = weights._replace(out=out, phi=torch.ones_like(weights.phi))
    trace.run_hypernets([weights], [prepared], avail.flatten(0, 1), memory.quantiles)
    remembered = trace.hypernet_layer[1][N:].sinh()  # on entering the second step
    action = torch.tensor([2, 3, 0], device=DEVICE)
    expected = action * trace.states[0, :N].sum(dim=-1) + net.head.out.bias[action]
    close(remembered, expected[:, None].expand_as(remembered))


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_gates_are_right_from_the_middle_to_saturation(size: float) -> None:
    gru, x = torch.nn.GRU(16, 16).to(DEVICE), torch.randn(200, 16, device=DEVICE) * size
    weights, hidden = [GRUWeights.of(gru)], torch.randn(40, 16, device=DEVICE)
    ours = TritonTrace(weights, hidden, [40] * 5, learns=False)
    exact = GRUTrace([GRUWeights(*(w.double() for w in weights[0]))], hidden.double(), [40] * 5)
    ours.run([x])
    exact.run([x.double()])
    torch.testing.assert_close(ours.states, exact.states.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("kind", ["linear", "hypernet"])
def test_what_is_not_finite_is_not_hidden(kind: str, bad: float, monkeypatch) -> None:
    online = utility(kind)
    obs, last, avail = seen(4 * T, online.head.out.out_features)
    obs[0, 0, 0] = bad
    monkeypatch.setattr(unrolling, "has_fused_walks", lambda *_: True)
    states = unroll_together([online], obs, last, avail, [4] * T)[0]
    touched = ~torch.isfinite(states).all(dim=-1)
    assert touched[0, 0] and touched.sum() == T  # the first agent, at every step


def test_they_are_for_gpus_and_episodes_of_one_length(monkeypatch) -> None:
    like = utility("linear").initial_memory(2).hidden
    if DEVICE == "cpu":
        assert not launches.fits(32, [2, 2], 1, like)
        like = like.to("meta")
        assert not launches.fits(32, [2, 2], 1, like)
        return
    assert launches.fits(32, [2, 2], 1, like)
    assert not launches.fits(32, [2, 1], 1, like)
    assert not launches.fits(48, [2, 2], 1, like)
    assert not launches.fits(32, [2, 2], 3, like)
    assert not launches.fits(32, [2, 2], 1, like.double())
    with pytorch_alone():
        assert not launches.fits(32, [2, 2], 1, like)
    online = utility("hypernet")
    assert has_fused_walks([online], online.initial_memory(2), [2, 2])


def test_other_rows_are_refused() -> None:
    gru = torch.nn.GRU(16, 16).to(DEVICE)
    weights, hidden = [GRUWeights.of(gru)], torch.zeros(3, 16, device=DEVICE)
    with pytest.raises(ValueError, match="2 to 3 rows at a step"):
        TritonTrace(weights, hidden, [3, 2], learns=False)
    with pytest.raises(ValueError, match="3 networks and"):
        TritonTrace(weights * 3, hidden, [3, 3], learns=False)
