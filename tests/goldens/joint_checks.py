"""Checkers of the networks of the joint action."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_dbf.nets.joint import FeedForwardMix, JointCritic, ReturnFeedForwardMix
from rllib_dbf.nets.mixers.qatten import Qatten, SignedAttention
from rllib_dbf.nets.mixers.sizes import MixerSizes
from rllib_dbf.objectives.residual import negative_part
from rllib_dbf.team import Utilities

from . import name_maps
from .cases import Case
from .network_checks import mixer_sizes

ARCHITECTURES = {"qtran_paper": "summed", "coma_critic": "listed"}
LAYERS = {"small": 2, "big": 3}


def joint_critic(case: Case, sizes: MixerSizes, weights: dict[str, Tensor]) -> JointCritic:
    """The case's joint critic with the given reference weights."""
    hyper = case.hyper
    architecture = ARCHITECTURES[hyper.get("arch", hyper.get("qtran_arch"))]
    layers = LAYERS[hyper["network_size"]]
    critic = JointCritic(sizes, hyper["mixing_embed_dim"], layers, architecture)
    if architecture == "listed":  # the reference keeps an encoder that it does not use
        weights = {k: w for k, w in weights.items() if not k.startswith("action_encoding.")}
    name_maps.load(critic.to(case.dtype), weights, name_maps.QTRAN)
    return critic


def check_joint_critic(case: Case) -> None:
    """Q_jt and V; gradients of Σ Q + 2 Σ V."""
    state, hidden, actions = case.leaf("state"), case.leaf("hidden"), case.get("actions")
    agents = actions.shape[-1]
    sizes = MixerSizes(agents, case.entry["dims"]["A"], state.shape[-1], hidden.shape[-1])
    critic = joint_critic(case, sizes, case.weights("mixer"))
    q, value = critic(state, hidden, actions), critic.value(state)
    (q.sum() + 2.0 * value.sum()).backward()
    case.check("out/q_jt", q)
    case.check("out/v", value)
    case.check_gradient("state", state)
    if "grad/hidden" in case.arrays:
        case.check_gradient("hidden", hidden)


def _utilities(z: Tensor) -> Utilities:
    return Utilities(
        z, z.mean(-1).detach(), torch.zeros(z.shape[:3], dtype=torch.int64), z[..., :1]
    )


def check_feed_forward(case: Case) -> None:
    """ResQ's unrestricted network, and its residual."""
    q, state = case.leaf("agent_qs"), case.leaf("state")
    sizes = MixerSizes(q.shape[2], 1, state.shape[2], 1)
    net = FeedForwardMix(sizes, case.hyper["central_mixing_embed_dim"]).to(case.dtype)
    name_maps.load(net, case.weights("mixer"), (("net.", "net."), ("V.", "value.")))
    total = net(_utilities(q.unsqueeze(-1)), state)
    total.sum().backward()
    case.check("out/q", total)
    case.check("out/residual_negabs", negative_part(total))
    case.check_gradient("agent_qs", q)
    case.check_gradient("state", state)


def check_return_networks(case: Case) -> None:
    """ResZ's main mixer, residual and central return; gradients of Σ_j j (their sum)_j."""
    z, state = case.leaf("agent_z"), case.leaf("state")
    sizes = mixer_sizes(case, z.shape[2], state.shape[2], 1)
    width = case.hyper["central_mixing_embed_dim"]
    nets: dict[str, nn.Module] = {
        "main": Qatten(sizes),
        "residual": SignedAttention(sizes),
        "central": ReturnFeedForwardMix(sizes, z.shape[3], width),
    }
    rules = {"central": name_maps.SAME}
    for name, net in nets.items():
        weights = case.weights(name)
        name_maps.load(net.to(case.dtype), weights, rules.get(name, name_maps.QATTEN))
    main, raw, central = (net(_utilities(z), state) for net in nets.values())
    residual = negative_part(raw)
    order = torch.arange(1, z.shape[-1] + 1, dtype=case.dtype)
    ((main + residual + central) * order).sum().backward()
    case.check("out/z_tot", main)
    case.check("out/z_res_raw", raw)
    case.check("out/z_res", residual)
    case.check("out/z_central", central)
    case.check_gradient("agent_z", z)
    case.check_gradient("state", state)
