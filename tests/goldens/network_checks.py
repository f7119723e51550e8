"""Checkers of single networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_dbf.nets.mixers import make_mixer
from rllib_dbf.nets.utility import Memory, RecurrentUtility
from rllib_dbf.team import Utilities

from . import name_maps
from .cases import Case


def make_utility(case: Case, in_dim: int, head: str, **options: int | bool) -> RecurrentUtility:
    """A utility of the sizes of the case's `agent`, in its floating-point type."""
    weights = case.weights("agent")
    actions, hidden = weights["fc2.weight"].shape
    cosines = weights["phi.weight"].shape[1] if head == "iqn" else 1
    agents = options.pop("n_agents", 1)
    return RecurrentUtility(in_dim, agents, actions, hidden, head, n_cosines=cosines, **options).to(
        case.dtype
    )


def make_loaded_mixer(case: Case, name: str, agents: int, state_dim: int) -> nn.Module:
    """The mixer of the case with the reference's weights."""
    mixer = make_mixer(
        name,
        agents,
        n_actions=1,
        state_dim=state_dim,
        hidden_dim=1,
        embed_dim=case.hyper.get("mixing_embed_dim", 1),
        hypernet_dim=case.hyper.get("hypernet_embed", 1),
        # pymarl2's mixer has two layers and no such setting.
        hypernet_layers=case.hyper.get("hypernet_layers", 2),
    ).to(case.dtype)
    if case.weights("mixer"):
        name_maps.load(mixer, case.weights("mixer"), name_maps.MIXER_MAPS[name])
    return mixer


def check_parameter_gradients(
    case: Case,
    module: nn.Module,
    prefix: str,
    rules: tuple[tuple[str, str], ...],
    factor: float = 1.0,
) -> None:
    """Compare the gradient of every parameter that has one stored under gw/<prefix>/."""
    parameters = dict(module.named_parameters())
    for key in sorted(case.results()):
        if key.startswith(f"gw/{prefix}/"):
            gradient = parameters[name_maps.our_name(key.split("/", 2)[2], rules)].grad
            assert gradient is not None, f"{key}: no gradient"
            case.check(key, factor * gradient)


def _unrolled_step(utility: RecurrentUtility, x: Tensor, h: Tensor) -> Tensor:
    """One step on given input vectors and memory, with gradients: hidden [R, H]."""
    return utility.unroll(
        x[:, None, :],
        torch.full((len(x), 1), -1),
        torch.ones(len(x), 1, utility.head.out.out_features, dtype=torch.bool),
        [len(x)],
        Memory(h, h.new_zeros(h.shape[0], 0)),
    )[:, 0]


def check_rnn_agent(case: Case) -> None:
    """Utility with the expected head; gradients of sum q + sum h."""
    x, h = case.leaf("x"), case.leaf("h")
    utility = make_utility(case, x.shape[1], "expected", use_last_action=False, use_agent_id=False)
    name_maps.load(utility, case.weights("agent"), name_maps.AGENT)
    hidden = _unrolled_step(utility, x, h)
    q = utility.head.mean(hidden)
    (q.sum() + hidden.sum()).backward()
    case.check("out/q", q)
    case.check("out/h", hidden)
    case.check_gradient("x", x)
    case.check_gradient("h", h)
    check_parameter_gradients(case, utility, "agent", name_maps.AGENT)
    _check_acting_step(utility, x, h, hidden)


def _check_acting_step(utility: RecurrentUtility, x: Tensor, h: Tensor, hidden: Tensor) -> None:
    memory = Memory(h.detach(), h.new_zeros(h.shape[0], 0))
    rows = x.detach()[:, None, :]
    avail = torch.ones(*rows.shape[:2], utility.head.out.out_features, dtype=torch.bool)
    stepped, _ = utility.step(rows, torch.full(rows.shape[:2], -1), avail, memory)
    torch.testing.assert_close(stepped[:, 0], hidden.detach())


def check_iqn_agent(case: Case) -> None:
    """Utility with the IQN head; gradients of Σ_j j z_j + Σ h."""
    x, h, tau = case.leaf("x"), case.leaf("h"), case.get("tau")
    utility = make_utility(case, x.shape[1], "iqn", use_last_action=False, use_agent_id=False)
    name_maps.load(utility, case.weights("agent"), name_maps.AGENT)
    hidden = _unrolled_step(utility, x, h)
    # Rows b*n + i: shared fractions have one row per team.
    team = hidden.view(tau.shape[0], -1, hidden.shape[1])
    z = utility.head.all(team, tau[:, None, :])
    order = torch.arange(1, tau.shape[1] + 1, dtype=case.dtype)
    ((z * order).sum() + hidden.sum()).backward()
    case.check("out/z", z)
    case.check("out/h", hidden)
    case.check_gradient("x", x)
    case.check_gradient("h", h)
    check_parameter_gradients(case, utility, "agent", name_maps.AGENT)
    _check_acting_step(utility, x, h, hidden)
    _check_head_shortcuts(utility, team.detach(), tau, z.detach())


def _check_head_shortcuts(utility: RecurrentUtility, team: Tensor, tau: Tensor, z: Tensor) -> None:
    """`mean` and `at` agree with the full tensor."""
    tau = tau[:, None, :]
    torch.testing.assert_close(utility.head.mean(team, tau), z.mean(dim=-1))
    for action in range(z.shape[-2]):
        actions = torch.full(team.shape[:-1], action)
        torch.testing.assert_close(utility.head.at(team, actions, tau), z[..., action, :])


def _utilities(z: Tensor) -> Utilities:
    rows = z.shape[:3]
    return Utilities(z, z.new_zeros(rows), torch.zeros(rows, dtype=torch.int64), z[..., :1])


def check_expected_mixer(case: Case, name: str) -> None:
    """A mixer of expected values; gradients of the summed output."""
    q = case.leaf("agent_qs")
    state = case.leaf("state") if "in/state" in case.arrays else q.new_zeros(*q.shape[:2], 1)
    mixer = make_loaded_mixer(case, name, q.shape[2], state.shape[2])
    q_tot = mixer(_utilities(q.unsqueeze(-1)), state)
    q_tot.sum().backward()
    case.check("out/q_tot", q_tot)
    case.check_gradient("agent_qs", q)
    if "in/state" in case.arrays:
        case.check_gradient("state", state)
    check_parameter_gradients(case, mixer, "mixer", name_maps.MIXER_MAPS.get(name, ()))


def check_return_mixer(case: Case, name: str) -> None:
    """A mixer of return quantiles; gradients of Σ_j j z_tot_j (of the sum for DDN)."""
    z = case.leaf("agent_z")
    state = case.leaf("state") if "in/state" in case.arrays else z.new_zeros(*z.shape[:2], 1)
    mixer = make_loaded_mixer(case, name, z.shape[2], state.shape[2])
    z_tot = mixer(_utilities(z), state)
    case.check("out/z_tot", z_tot)
    weighted = "sum_j j" in case.entry["description"]
    order = torch.arange(1, z.shape[-1] + 1, dtype=case.dtype) if weighted else z.new_ones(1)
    (z_tot * order).sum().backward()
    case.check_gradient("agent_z", z)
    if "in/state" in case.arrays:
        case.check_gradient("state", state)
    check_parameter_gradients(case, mixer, "mixer", name_maps.MIXER_MAPS.get(name, ()))
