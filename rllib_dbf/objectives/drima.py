"""DRIMA in our definition: the risk of the environment and that of the others, kept apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rllib_dbf.loss_terms import Taus, TDSettings
from rllib_dbf.nets.joint import JointSizes, ReturnJointCritic
from rllib_dbf.nets.team_network import TeamNetwork, unroll
from rllib_dbf.objectives.objective import OBJECTIVES, Objective
from rllib_dbf.objectives.reading import Reading, greedy, td_error, td_targets
from rllib_dbf.packing import pack_episodes
from rllib_dbf.team import TeamBatch, Utilities


class DrimaOptions(NamedTuple):
    """Options of DRIMA."""

    opt_weight: float = 1.0
    agent_weight: float = 1.0
    width: int = 64


def _critic(sizes: JointSizes, options: DrimaOptions) -> nn.Module:
    return ReturnJointCritic(sizes.mixer(), options.width)


def drima_loss(
    online: TeamNetwork, target: TeamNetwork, batch: TeamBatch, taus: Taus, settings: TDSettings
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Loss of our DRIMA, after Son et al. (2022): a re-implementation, not verified against it.

        L = QH_τ(Z_jt(s, u; τ), y) + w_agent E Σ_k ρ_{w_k}(sg[Z_jt(s, u; τ_k)] - Z_tr(u; τ_k, w_k))
            + w_opt E Σ_k (sg[Z_jt(s, ū; τ_k)] - Z_tr(ū; τ_k, w_k))²

    The joint return Z_jt is learned by distributional TD in the environment's risk τ. Z_tr, the
    mixer applied to the utilities of each pair (τ_k, w_k), is fitted to it by quantile regression
    in the agents' risk w: what the others may do is the only spread that is left at a given τ.
    ρ_w(x) = |w - 1[x < 0]| huber(x); ū are the greedy actions of the agents at their acting w.
    """
    packing = pack_episodes(batch.mask)
    avail, state = packing.pack(batch.avail), packing.pack(batch.state)
    seen = online.normalised(state)
    tau, agent_risk = packing.pack(taus.online).chunk(2, dim=-1)
    head = online.utility.head
    hidden = unroll(online.utility, batch, packing)
    best = greedy(head.acting_mean(hidden), avail)
    with torch.no_grad():
        target_tau = packing.pack(taus.target).chunk(2, dim=-1)[0]
        target_hidden = unroll(target.utility, batch, packing)
        own = greedy(target.utility.head.acting_mean(target_hidden), avail)
        following = best if settings.double_q else own
        values = target.joint(seen, target_hidden, following, target_tau)
        y = td_targets(values, batch, packing, settings)
    reading = Reading(head, hidden, tau, head.embed_pair(tau, agent_risk)).starting(packing)
    state, seen, best = (packing.starting(x) for x in (state, seen, best))
    agent_risk, actions = packing.starting(agent_risk), packing.pack_steps(batch.actions)
    z_joint = online.joint(seen, reading.hidden, actions, reading.tau)
    td = td_error(z_joint, y, reading.tau, packing, settings)
    z_best = online.joint(seen, reading.hidden, best, reading.tau).detach()
    opt = (z_best - _transformed(online, reading, best, state)).square().sum(dim=-1)
    error = z_joint.detach() - _transformed(online, reading, actions, state)
    weight = (agent_risk - (error < 0).to(error.dtype)).abs()
    agent = (weight * F.huber_loss(error, torch.zeros_like(error), reduction="none")).sum(-1)
    opt, agent = packing.mean(opt), packing.mean(agent)
    options = settings.options
    return td + options.opt_weight * opt + options.agent_weight * agent, {
        "q_taken_mean": packing.mean(z_joint.detach()),
        "target_mean": packing.mean(y),
        "joint_td_loss": td.detach(),
        "opt_loss": opt.detach(),
    }


def _transformed(
    network: TeamNetwork, reading: Reading, actions: Int[Tensor, "M N"], state: Float[Tensor, "M S"]
) -> Float[Tensor, "M 1 K"]:
    """The mixer, applied to the utilities of each pair of risks by themselves."""
    z = reading.at(actions).permute(2, 0, 1)  # [K, M, N]: to a mixer, K episodes
    pairs = len(z)
    utilities = Utilities(
        z.unsqueeze(-1),
        z.detach(),
        actions.expand(pairs, -1, -1),
        reading.hidden.expand(pairs, -1, -1, -1),
    )
    mixed = network.mixer(utilities, state.expand(pairs, -1, -1))  # [K, M, 1, 1]
    return mixed[..., 0, 0].t().unsqueeze(1)


OBJECTIVES.register("drima")(
    Objective(
        drima_loss,
        _critic,
        DrimaOptions,
        mixes_values=True,
        knows_maximum=False,
        heads=("iqn_pair",),
        td_losses=("quantile_huber",),
        one_value=True,
        by_risk=False,
    )
)
