"""Compiled layers against PyTorch's, which other tests compare with the definitions."""

import contextlib
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from rllib_dbf.compiled import library
from rllib_dbf.nets.acting import Actor
from rllib_dbf.nets.compiled import layers
from rllib_dbf.nets.compiled.gru import CompiledTrace
from rllib_dbf.nets.compiled.inputs import look
from rllib_dbf.nets.compiled.mixing import _Mix
from rllib_dbf.nets.gru import GRUTrace, GRUWeights
from rllib_dbf.nets.heads import ExpectedHead, ImplicitQuantileHead
from rllib_dbf.nets.input_layers import AgentInputs
from rllib_dbf.nets.judging import judge
from rllib_dbf.nets.mixers.qmix import QMix
from rllib_dbf.nets.mixers.sizes import MixerSizes
from rllib_dbf.nets.unrolling import has_compiled_steps, unroll_together
from rllib_dbf.nets.utility import Memory, RecurrentUtility
from rllib_dbf.team import Utilities
from tests.pytorch_alone import pytorch_alone

# There is none on the PATH of some small images; PyTorch then does the work, as other tests show.
pytestmark = pytest.mark.skipif(
    library.library().functions is None, reason=f"nothing to test: {library.library().reason}"
)

N, A, OBS = 3, 7, 11
COUNTS = [37, 37, 29, 8, 1]  # times N agents: more rows than one block has, and rests of all sizes
KINDS = {
    "linear": {},
    "hypernet": {"head": "iqn", "input_layer": "hypernet_factored"},
    "pair": {"head": "iqn_pair", "input_layer": "hypernet_factored"},
}


@contextlib.contextmanager
def threads(n: int):
    """PyTorch's threads in here."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    yield
    torch.set_num_threads(before)


def close(actual, expected) -> None:
    torch.testing.assert_close(actual, expected, rtol=2e-5, atol=2e-5)


def utility(kind: str, hidden_dim: int = 48, seed: int = 1) -> RecurrentUtility:
    torch.manual_seed(seed)
    sizes = {"n_cosines": 16, "n_memory_quantiles": 16, "hypernet_dim": 16, "n_bases": 3}
    return RecurrentUtility(OBS, N, A, hidden_dim, **KINDS[kind], **sizes)


def seen(states: int = sum(COUNTS)) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    obs = torch.randn(states, N, OBS, generator=generator)
    last = torch.randint(-1, A, (states, N), generator=generator)
    avail = torch.rand(states, N, A, generator=generator) < 0.5
    avail[..., 3] = True
    return obs, last, avail


def unrolled(kind: str, hidden_dim: int = 48) -> list[torch.Tensor]:
    """States of a network and its target, and gradients of all that made the former."""
    online, target = utility(kind, hidden_dim), utility(kind, hidden_dim, seed=3)
    rows = COUNTS[0] * N
    memory = Memory(*(torch.randn_like(m) for m in online.initial_memory(rows)))
    memory.hidden.requires_grad_()
    states = unroll_together([online, target], *seen(), COUNTS, memory)
    loss = (states[0] * torch.linspace(-1, 1, hidden_dim)).square().mean()
    made_of = [memory.hidden, *online.input_layer.parameters(), *online.gru.parameters()]
    return [*(s.detach() for s in states), *torch.autograd.grad(loss, made_of)]


@pytest.mark.parametrize("hidden_dim", [16, 48, 64, 112])
@pytest.mark.parametrize("kind", KINDS)
def test_walks_and_their_gradients_are_those_of_pytorch(kind: str, hidden_dim: int) -> None:
    assert has_compiled_steps(
        utility(kind, hidden_dim), utility(kind, hidden_dim).initial_memory(1)
    )
    torch.manual_seed(0)
    compiled = unrolled(kind, hidden_dim)
    torch.manual_seed(0)
    with pytorch_alone():
        assert not has_compiled_steps(utility(kind), utility(kind).initial_memory(1))
        expected = unrolled(kind, hidden_dim)
    close(compiled, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_no_bit_depends_on_the_number_of_threads(kind: str) -> None:
    found = []
    for n in (1, 2, 3):
        torch.manual_seed(0)
        with threads(n):
            found.append(unrolled(kind))
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


def test_no_bit_of_a_row_depends_on_the_rows_beside_it() -> None:
    gru, x = torch.nn.GRU(32, 32), torch.randn(3, 100, 32)
    few, many = (
        CompiledTrace([GRUWeights.of(gru)], torch.zeros(n, 32), [n] * 3, learns=False)
        for n in (41, 100)
    )
    few.run([x[:, :41].reshape(-1, 32)])
    many.run([x.reshape(-1, 32)])
    assert torch.equal(few.states.view(3, 41, 32), many.states.view(3, 100, 32)[:, :41])


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_gates_are_right_from_the_middle_to_saturation(size: float) -> None:
    gru, x = torch.nn.GRU(16, 16), torch.randn(200, 16) * size
    weights, hidden = [GRUWeights.of(gru)], torch.randn(40, 16)
    ours = CompiledTrace(weights, hidden, [40] * 5, learns=False)
    exact = GRUTrace([GRUWeights(*(w.double() for w in weights[0]))], hidden.double(), [40] * 5)
    ours.run([x])
    exact.run([x.double()])
    torch.testing.assert_close(ours.states, exact.states.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_not_hidden(bad: float) -> None:
    online = utility("hypernet")
    obs, last, avail = seen()
    obs[0, 0, 0] = bad
    states = unroll_together([online], obs, last, avail, COUNTS)[0]
    touched = ~torch.isfinite(states).all(dim=-1)
    assert touched[0, 0] and touched.sum() == len(COUNTS)  # the first agent, at every step


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [(True, True), (False, True), (True, False), (False, False)])
def test_single_steps_are_those_of_pytorch(kind: str, parts: tuple[bool, bool]) -> None:
    torch.manual_seed(1)
    sizes = {"n_cosines": 16, "n_memory_quantiles": 16, "hypernet_dim": 16}
    options = KINDS[kind] | {"use_last_action": parts[0], "use_agent_id": parts[1]}
    net = RecurrentUtility(OBS, N, A, 32, **options, **sizes)
    memory = Memory(*(torch.randn_like(m) for m in net.initial_memory(21 * N)))
    ours = Actor(net).step_and_mean(*seen(21), memory)
    with pytorch_alone():
        expected = Actor(net).step_and_mean(*seen(21), memory)
    close(ours, expected)
    close(Actor(net).step(*seen(21), memory), expected[:2])


def test_a_step_refuses_what_does_not_fit_and_reads_numbers_of_other_types() -> None:
    net = utility("hypernet")
    obs, last, avail = seen(5)
    memory, actor = net.initial_memory(5 * N), Actor(net)
    expected = actor.step(obs, last, avail, memory)
    assert torch.equal(actor.step(obs, last.int(), avail, memory)[0], expected[0])
    unknown = torch.where(last < 0, A, last)  # no action's entry either
    assert torch.equal(actor.step(obs, unknown, avail, memory)[0], expected[0])
    with pytest.raises(ValueError, match=rf"obs has shape .*{OBS - 1}\), and .*{OBS}\) is needed"):
        actor.step(obs[..., 1:], last, avail, memory)
    with pytest.raises(ValueError, match="hidden has shape"):
        actor.step(obs, last, avail, memory._replace(hidden=memory.hidden[:, 1:]))
    with pytest.raises(TypeError, match=r"given torch\.float64 on cpu, and take torch\.float32"):
        actor.step(obs.double(), last, avail, memory)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("parts", [(True, True), (False, True), (True, False), (False, False)])
def test_what_layers_make_of_inputs(parts: tuple[bool, bool], rectify: bool, bias: bool) -> None:
    torch.manual_seed(0)
    obs, last, _ = seen(150)
    inputs = AgentInputs(N, A, *parts)
    layer = torch.nn.Linear(OBS + inputs.extra_dim, 80, bias=bias)
    y = look(obs, last, layer.weight, layer.bias, A * parts[0], parts[1], rectify)
    expected = layer(inputs(obs, last)).flatten(0, 1)
    expected = F.relu(expected) if rectify else expected
    close(y, expected)
    made_of, weights = list(layer.parameters()), torch.randn_like(y)
    close(*(torch.autograd.grad((each * weights).mean(), made_of) for each in (y, expected)))


def test_inputs_refuse_what_does_not_fit() -> None:
    obs, last, _ = seen(5)
    with pytest.raises(ValueError, match=r"weight has shape \(16, 11\), and \(16, 18\) is needed"):
        look(obs, last, torch.zeros(16, OBS), None, A, False, False)


# Multiplications on both sides of the size from which compiled code takes over.
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "compiled"),
    [(2000, 48, 64, True), (997, 86, 48, True), (50, 48, 64, False), (3000, 64, 50, False)],
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("wants", [True, False])
def test_linear(
    rows: int, inputs: int, outputs: int, compiled: bool, bias: bool, wants: bool
) -> None:
    torch.manual_seed(0)
    layer = layers.Linear(inputs, outputs, bias=bias)
    x = torch.randn(rows, 1, inputs).expand(-1, 1, -1).requires_grad_(wants)
    y = layer(x)
    made_by = str(y.grad_fn.next_functions[0][0])
    assert ("_Linear" in made_by) == (compiled and not (wants and inputs % 16)), made_by
    expected = F.linear(x, layer.weight, layer.bias)
    close(y, expected)
    made_of = [*layer.parameters(), *([x] if wants else [])]
    gradients = [torch.autograd.grad(each.square().mean(), made_of) for each in (y, expected)]
    close(*gradients)
    for one, two in zip(made_of, gradients[0], strict=True):
        assert one.shape == two.shape and two.is_contiguous()


def test_mixture_of_bases() -> None:
    mix, bases = torch.rand(5, 9, 3, requires_grad=True), torch.randn(5, 9, 96, requires_grad=True)
    bias = torch.randn(32, requires_grad=True)
    found = []
    for context in (contextlib.nullcontext, pytorch_alone):
        with context():
            y = layers.mixture(mix, bases, bias)
            found.append([y, *torch.autograd.grad(y.square().mean(), [mix, bases, bias])])
    close(*found)


def mixed(agents: int, state_dim: int, rows: int, zeros: bool = False) -> list[torch.Tensor]:
    """Values that QMIX mixes, and gradients of all they were made of."""
    torch.manual_seed(0)
    mixer = QMix(MixerSizes(agents, A, state_dim, 64, embed_dim=32, hypernet_dim=48))
    if zeros:  # |w| has the gradient 0 at 0, as in PyTorch
        torch.nn.init.zeros_(mixer.hyper_w1[2].weight)
        torch.nn.init.zeros_(mixer.hyper_w1[2].bias)
    state, z = torch.randn(1, rows, state_dim), torch.randn(1, rows, agents, 1, requires_grad=True)
    values = mixer(Utilities(z, z, z, z), state)
    loss = (values * torch.linspace(-1, 1, rows).view(1, -1, 1, 1)).sum()
    return [values, *torch.autograd.grad(loss, [z, *mixer.parameters()])]


@pytest.mark.parametrize("agents, state_dim", [(1, 5), (3, 60), (27, 170)])
@pytest.mark.parametrize("rows", [1, 48, 603])
def test_mixing_is_that_of_pytorch(agents: int, state_dim: int, rows: int) -> None:
    found = mixed(agents, state_dim, rows)
    assert "_Mix" in str(found[0].grad_fn.next_functions[0][0])
    with pytorch_alone():
        expected = mixed(agents, state_dim, rows)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6 * rows + 2e-6)


def test_mixing_refuses_what_does_not_fit() -> None:
    """Where no annotations are checked, as they are in tests."""
    weights = QMix(MixerSizes(N, A, OBS, 64))._weights()
    for z, state, what in ((9, 8, "state"), (9, 9, "weights of W₁")):
        agents = N if what == "state" else N - 1
        with pytest.raises(ValueError, match=f"{what} has shape"):
            _Mix.apply(torch.zeros(z, agents), torch.randn(state, OBS), *weights)


def test_mixing_weights_of_zero_have_no_gradient() -> None:
    found = mixed(3, 60, 50, zeros=True)
    with pytorch_alone():
        expected = mixed(3, 60, 50, zeros=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_no_bit_of_the_mixing_depends_on_the_number_of_threads() -> None:
    found = []
    for n in (1, 2, 3):
        with threads(n):
            found.append(mixed(3, 60, 603))
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_mixing_hides_nothing_that_is_not_finite(bad: float) -> None:
    mixer, state = QMix(MixerSizes(N, A, OBS, 64)), torch.randn(1, 60, OBS)
    z = torch.zeros(1, 60, N, 1)
    z[0, 7, 1] = bad
    values = mixer(Utilities(z, z, z, z), state).flatten()
    assert (~torch.isfinite(values)).nonzero().tolist() == [[7]]


def judged(states: int, fractions: int, sizes: tuple[int, int], all_states: bool) -> list:
    """Quantiles and means of a head, and gradients of all that the quantiles were made of."""
    torch.manual_seed(0)
    (hidden_dim, n_cosines), agents = sizes, 5
    head = ImplicitQuantileHead(hidden_dim, A, n_cosines)
    hidden = torch.randn(states, agents, hidden_dim, requires_grad=True)
    origins = None if all_states else torch.arange(0, states, 3)
    actions = torch.randint(A, (states if origins is None else len(origins), agents))
    z, q = judge(head, hidden, torch.rand(states, 1, fractions), actions, origins)
    assert q is not None and not q.requires_grad
    loss = (z * torch.linspace(-1, 1, z.numel()).view(z.shape)).sum()
    return [z, q, *torch.autograd.grad(loss, [hidden, *head.parameters()])]


@pytest.mark.parametrize("sizes", [(16, 16), (64, 64), (112, 32)])
@pytest.mark.parametrize(("states", "fractions"), [(1, 1), (50, 7), (31, 64)])
@pytest.mark.parametrize("all_states", [True, False])
def test_quantiles_are_those_of_pytorch(
    states: int, fractions: int, sizes: tuple[int, int], all_states: bool
) -> None:
    found = judged(states, fractions, sizes, all_states)
    assert "_Quantiles" in str(found[0].grad_fn)
    with pytorch_alone():
        expected = judged(states, fractions, sizes, all_states)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_no_bit_of_the_quantiles_depends_on_the_number_of_threads() -> None:
    found = []
    for n in (1, 2, 3):
        with threads(n):
            found.append(judged(200, 8, (64, 64), all_states=False))
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


@pytest.mark.parametrize(
    ("head", "fractions"), [(ImplicitQuantileHead(32, A, 32), 8), (ExpectedHead(32, A), 1)]
)
def test_chosen_actions_without_gradients_and_without_means(head, fractions: int) -> None:
    hidden, tau = torch.randn(20, N, 32), torch.rand(20, 1, fractions)
    actions = torch.randint(A, (20, N))
    with torch.no_grad():
        z, q = judge(head, hidden, tau, actions, wants_means=False)
        assert q is None
        close(z, head.at(hidden, actions, tau))
        with pytest.raises(ValueError, match="actions has shape"):
            judge(head, hidden, tau, actions[1:])
        for wrong in (-1, A):
            with pytest.raises(IndexError, match=f"{wrong}.* there are 0 to {A - 1}"):
                judge(head, hidden, tau, actions.clone().fill_(wrong))


def test_nothing_is_compiled_for_fractions_of_every_agents_own() -> None:
    head, hidden = ImplicitQuantileHead(32, A, 32), torch.randn(20, N, 32)
    tau, actions = torch.rand(20, N, 8), torch.randint(A, (20, N))
    close(judge(head, hidden, tau, actions)[0], head.at(hidden, actions, tau))


def valued(states: int, hidden_dim: int, all_states: bool) -> list:
    """Values of a linear head, and gradients of all that those of chosen actions were made of."""
    torch.manual_seed(0)
    head, agents = ExpectedHead(hidden_dim, A), 5
    hidden = torch.randn(states, agents, hidden_dim, requires_grad=True)
    origins = None if all_states else torch.arange(1, states - 1, 3)
    actions = torch.randint(A, (states if origins is None else len(origins), agents))
    z, q = judge(head, hidden, torch.rand(states, 1, 1), actions, origins)
    assert q is not None and not q.requires_grad
    loss = (z * torch.linspace(-1, 1, z.numel()).view(z.shape)).sum()
    return [z, q, *torch.autograd.grad(loss, [hidden, *head.parameters()])]


@pytest.mark.parametrize("hidden_dim", [16, 64, 112])
@pytest.mark.parametrize("states", [3, 50, 301])
@pytest.mark.parametrize("all_states", [True, False])
def test_values_are_those_of_pytorch(states: int, hidden_dim: int, all_states: bool) -> None:
    found = valued(states, hidden_dim, all_states)
    assert "_ChosenValues" in str(found[0].grad_fn.next_functions[0][0])
    with pytorch_alone():
        expected = valued(states, hidden_dim, all_states)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    for n in (2, 3):
        with threads(n):
            again = valued(states, hidden_dim, all_states)
        assert all(torch.equal(x, y) for x, y in zip(found, again, strict=True))


def test_cosines_are_exact_where_pytorch_rounds_the_argument() -> None:
    tau, harmonics = torch.rand(40, 1, 8), torch.arange(64.0)
    exact = torch.cos(torch.pi * tau.double().unsqueeze(-1) * harmonics)
    ours = layers.cosines(tau, harmonics)
    theirs = torch.cos((torch.pi * tau).unsqueeze(-1) * harmonics)
    worst, their_worst = ((x - exact).abs().max().item() for x in (ours, theirs))
    assert worst < 6e-6 and worst < their_worst
    assert layers.cosines(torch.zeros(16), harmonics).eq(1.0).all()


def in_new_process(**environment: str) -> str:
    """What a fresh process says about its library."""
    code = (
        "import sys, warnings; sys.argv = ['rllib']  # which imports no Ray\n"
        "from rllib_dbf.compiled.library import library\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always'); found = library()\n"
        "print(found.functions is not None, '|', found.reason, '|', *(w.message for w in told))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )
    return done.stdout or done.stderr.splitlines()[-1]


def test_it_is_built_once_and_kept(tmp_path) -> None:
    first = in_new_process(XDG_CACHE_HOME=str(tmp_path))
    assert first.startswith("True | built with")
    (built,) = (tmp_path / "rllib_dbf").iterdir()
    when = built.stat().st_mtime_ns
    assert in_new_process(XDG_CACHE_HOME=str(tmp_path)) == first
    assert built.stat().st_mtime_ns == when
    built.write_text("of another system, say")
    assert in_new_process(XDG_CACHE_HOME=str(tmp_path)) == first


def test_it_is_kept_where_the_user_says(tmp_path) -> None:
    found = in_new_process(RLLIB_DBF_CACHE=str(tmp_path), XDG_CACHE_HOME="/nowhere")
    assert found.startswith("True | built with") and str(tmp_path) in found


def test_a_home_that_cannot_be_written_to_is_no_obstacle(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    found = in_new_process(XDG_CACHE_HOME=str(tmp_path / "file"), TMPDIR=str(tmp_path))
    assert found.startswith("True | built with")


def test_nor_is_a_user_without_a_home(tmp_path, monkeypatch) -> None:
    def no_home() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(library.Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(library.tempfile, "tempdir", str(tmp_path))
    assert library._cache().parent == tmp_path


def test_without_a_compiler_there_is_a_warning_and_no_error(tmp_path) -> None:
    found = in_new_process(PATH=str(tmp_path), CC="", XDG_CACHE_HOME=str(tmp_path))
    assert found.startswith("False | no C compiler (cc, gcc, clang) is on the PATH")
    assert "Compiled code is not used" in found


def test_a_compiler_that_fails_is_named(tmp_path) -> None:
    found = in_new_process(CC="false", XDG_CACHE_HOME=str(tmp_path))
    assert found.startswith("False | false -std=gnu11") and "failed" in found


def test_it_can_be_switched_off_and_only_by_0() -> None:
    assert in_new_process(RLLIB_DBF_COMPILED="0") == (
        "False | switched off by RLLIB_DBF_COMPILED=0 |\n"
    )
    assert "RLLIB_DBF_COMPILED='no' is neither 0" in in_new_process(RLLIB_DBF_COMPILED="no")
