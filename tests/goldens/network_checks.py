"""Checkers of single networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_dbf.nets.acting import Actor
from rllib_dbf.nets.mixers import make_mixer
from rllib_dbf.nets.mixers.sizes import MixerSizes
from rllib_dbf.nets.utility import Memory, RecurrentUtility
from rllib_dbf.team import Utilities

from . import name_maps
from .cases import Case

# Cases whose description does not say that the gradient is that of Σ_j j z_tot_j.
WEIGHTED = ("mean_shape(qplex_qatten)", "riskq")


def make_utility(case: Case, in_dim: int, head: str, **options: int | bool) -> RecurrentUtility:
    """A utility of the sizes of the case's `agent`, in its floating-point type."""
    weights = case.weights("agent")
    actions, hidden = weights["fc2.weight"].shape
    cosines = weights["phi.weight"].shape[1] if head == "iqn" else 1
    agents = options.pop("n_agents", 1)
    return RecurrentUtility(in_dim, agents, actions, hidden, head, n_cosines=cosines, **options).to(
        case.dtype
    )


def mixer_sizes(case: Case, agents: int, state_dim: int, n_actions: int) -> MixerSizes:
    """The sizes of the case's mixer, under whichever names the reference keeps them."""
    hyper = case.hyper
    return MixerSizes(
        agents,
        n_actions,
        state_dim,
        hidden_dim=1,
        embed_dim=hyper.get("n_key_embedding_layer1", hyper.get("mixing_embed_dim", 1)),
        hypernet_dim=hyper.get("n_query_embedding_layer1", hyper.get("hypernet_embed", 1)),
        # pymarl2's mixer has two layers and no such setting.
        hypernet_layers=hyper.get("hypernet_layers", 2),
        unit_dim=hyper.get("agent_own_state_size", hyper.get("unit_dim", 0)),
        n_kernels=hyper.get("num_kernel", 1),
        kernel_layers=hyper.get("adv_hypernet_layers", 1),
        weighted_heads=hyper.get("weighted_head", False),
    )


def make_loaded_mixer(
    case: Case, name: str, agents: int, state_dim: int, n_actions: int = 1
) -> nn.Module:
    """The mixer of the case with the reference's weights."""
    sizes = mixer_sizes(case, agents, state_dim, n_actions)
    mixer = make_mixer(name, *sizes).to(case.dtype)
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
    stepped, _ = Actor(utility).step(rows, torch.full(rows.shape[:2], -1), avail, memory)
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


def _utilities(case: Case, z: Tensor) -> Utilities:
    rows = z.shape[:3]
    inputs = {k: case.get(k) for k in ("max_q_i", "actions") if f"in/{k}" in case.arrays}
    q_max = inputs.get("max_q_i", z.new_zeros(rows))
    actions = inputs.get("actions", torch.zeros(rows, dtype=torch.int64))
    return Utilities(z, q_max.view(rows), actions.view(rows), z[..., :1])


def _state(case: Case, z: Tensor) -> Tensor:
    return case.leaf("state") if "in/state" in case.arrays else z.new_zeros(*z.shape[:2], 1)


def _mixer_of(case: Case, name: str, z: Tensor, state: Tensor) -> nn.Module:
    n_actions = case.entry["dims"].get("A", 1)
    return make_loaded_mixer(case, name, z.shape[2], state.shape[2], n_actions)


def check_expected_mixer(case: Case, name: str) -> None:
    """A mixer of expected values; gradients of the summed output."""
    q = case.leaf("agent_qs")
    state = _state(case, q)
    mixer = _mixer_of(case, name, q, state)
    q_tot = mixer(_utilities(case, q.unsqueeze(-1)), state)
    q_tot.sum().backward()
    if "out/q_tot" in case.arrays:
        case.check("out/q_tot", q_tot)
    _check_mixer_gradients(case, mixer, name, {"agent_qs": q, "state": state})


def _check_mixer_gradients(
    case: Case, mixer: nn.Module, name: str, inputs: dict[str, Tensor]
) -> None:
    for key, leaf in inputs.items():
        if f"grad/{key}" in case.arrays:
            case.check_gradient(key, leaf)
    check_parameter_gradients(case, mixer, "mixer", name_maps.MIXER_MAPS.get(name, ()))


def check_duelling_mixer(case: Case, name: str) -> None:
    """A duelling mixer and the parts of its sum."""
    check_expected_mixer(case, name)
    q, state = case.get("agent_qs"), case.get("state")
    mixer = _mixer_of(case, name, q, state)
    plain, extra = mixer.duel(_utilities(case, q.unsqueeze(-1)), state)
    case.check("out/v_tot", plain)
    case.check("out/adv_tot", extra)
    if "out/lambda" in case.arrays:
        case.check("out/lambda", mixer.importance(state, case.get("actions")))
    if "out/attend_reg" in case.arrays:
        case.check("out/attend_reg", mixer.penalty(state).mean())


def check_return_mixer(case: Case, name: str) -> None:
    """A mixer of return quantiles; gradients of Σ_j j z_tot_j (of the sum for DDN)."""
    z = case.leaf("agent_z")
    state = _state(case, z)
    mixer = _mixer_of(case, name, z, state)
    utilities = _utilities(case, z)
    z_tot = mixer(utilities, state)
    case.check("out/z_tot", z_tot)
    if "out/v_part" in case.arrays:
        mean = utilities._replace(z=z.mean(dim=-1, keepdim=True))
        plain = mixer.mixer.duel(mean, state)[0][..., None, None]
        case.check("out/v_part", plain)
        case.check("out/adv_part", z_tot - plain)
        case.check("out/attend_reg", mixer.penalty(state).mean())
    weighted = "sum_j j" in case.entry["description"] or name in WEIGHTED
    order = torch.arange(1, z.shape[-1] + 1, dtype=case.dtype) if weighted else z.new_ones(1)
    (z_tot * order).sum().backward()
    _check_mixer_gradients(case, mixer, name, {"agent_z": z, "state": state})


def check_sorted_quantiles(case: Case) -> None:
    """Utility with a fixed number of sorted quantiles; gradients of Σ_j j z_j."""
    x, h = case.leaf("x"), case.leaf("h")
    actions = case.weights("agent")["fc2.weight"].shape[0] // case.hyper["N"]
    utility = RecurrentUtility(
        x.shape[1],
        1,
        actions,
        h.shape[1],
        "qr",
        n_quantiles=case.hyper["N"],
        use_last_action=False,
        use_agent_id=False,
    ).to(case.dtype)
    name_maps.load(utility, case.weights("agent"), name_maps.AGENT)
    hidden = utility.unroll(
        x[:, None],
        torch.full((len(x), 1), -1),
        torch.ones(len(x), 1, actions, dtype=torch.bool),
        [len(x)],
        Memory(h, h.new_zeros(h.shape[0], 0)),
    )[:, 0]
    z = utility.head.all(hidden)
    order = torch.arange(1, z.shape[-1] + 1, dtype=case.dtype)
    (z * order).sum().backward()
    case.check("out/z_sorted", z)
    case.check("out/h", hidden)
    case.check_gradient("x", x)
    case.check_gradient("h", h)


def check_cvar_mixer(case: Case) -> None:
    """RMIX's mixer: QMIX on CVaR values; gradient of its sum."""
    values, state = case.leaf("agent_cvar"), case.get("state")
    sizes = mixer_sizes(case, values.shape[2], state.shape[2], 1)
    mixer = make_mixer("qmix", *sizes).to(case.dtype)
    weights = {k: w for k, w in case.weights("mixer").items() if not k.startswith("hyper_moq")}
    name_maps.load(mixer, weights, name_maps.QMIX)
    q_tot = mixer(_utilities(case, values.unsqueeze(-1)), state)
    q_tot.sum().backward()
    case.check("out/q_tot", q_tot)
    case.check_gradient("agent_cvar", values)
