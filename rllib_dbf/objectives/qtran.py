"""QTRAN: a joint critic, and utilities whose sum is transformed into it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.loss_terms import Taus, TDSettings
from rllib_dbf.nets.joint import CounterfactualCritic, JointCritic, JointSizes
from rllib_dbf.nets.team_network import TeamNetwork
from rllib_dbf.objectives.objective import OBJECTIVES, Objective
from rllib_dbf.objectives.reading import Reading, greedy, read, td_targets
from rllib_dbf.packing import Grid, Packing, pack_episodes
from rllib_dbf.team import TeamBatch


class QtranOptions(NamedTuple):
    """Options of both forms."""

    opt_weight: float = 1.0
    nopt_weight: float = 0.1
    width: int = 64
    layers: int = 2


def _base_critic(sizes: JointSizes, options: QtranOptions) -> nn.Module:
    return JointCritic(sizes.mixer(), options.width, options.layers)


def _counterfactual_critic(sizes: JointSizes, options: QtranOptions) -> nn.Module:
    return CounterfactualCritic(sizes.mixer(), options.width, options.layers)


def _taken(q: Tensor, actions: Tensor) -> Tensor:
    return q.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


class _Readings(NamedTuple):
    """What both forms start from, at every state in packed order."""

    packing: Packing | Grid
    avail: Tensor
    state: Tensor  # normalised
    online: Reading
    q: Tensor  # expected utilities of every action
    best: Tensor  # greedy actions now
    target: Reading
    following: Tensor  # greedy actions of the targets


def _read(
    online: TeamNetwork, target: TeamNetwork, batch: TeamBatch, taus: Taus, settings: TDSettings
) -> _Readings:
    packing = pack_episodes(batch.mask)
    avail, state = packing.pack(batch.avail), online.normalised(packing.pack(batch.state))
    reading = read(online.utility, batch, packing, packing.pack(taus.online))
    q = reading.scores()
    best = greedy(q, avail)
    with torch.no_grad():
        other = read(target.utility, batch, packing, packing.pack(taus.target))
        following = best if settings.double_q else greedy(other.scores(), avail)
    return _Readings(packing, avail, state, reading, q, best, other, following)


def qtran_base_loss(
    online: TeamNetwork, target: TeamNetwork, batch: TeamBatch, taus: Taus, settings: TDSettings
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Loss of QTRAN-base (Son et al., 2019), eqs 4–6; q'(u) = Σ_i q_i(u_i), ū greedy.

        L = E (y - Q_jt(u))² + w_opt E (q'(ū) - sg[Q_jt(ū)] + V)²
            + w_nopt E min(0, q'(u) - sg[Q_jt(u)] + V)²

    The critic reads the agents' hidden states with gradient. Mean over played transitions.
    """
    packing, _, state, reading, q, best, other, following = _read(
        online, target, batch, taus, settings
    )
    with torch.no_grad():
        values = target.joint(state, other.hidden, following)
        y = td_targets(values.unsqueeze(-1), batch, packing, settings)[:, 0]
    state, hidden, q = (packing.starting(x) for x in (state, reading.hidden, q))
    best, actions = packing.starting(best), packing.pack_steps(batch.actions)
    q_joint, value = online.joint(state, hidden, actions), online.joint.value(state)
    best_joint = online.joint(state, hidden, best).detach()
    opt = _sum(_taken(q, best)) - best_joint + value
    nopt = (_sum(_taken(q, actions)) - q_joint.detach() + value).clamp(max=0.0)
    return _combine(y, q_joint, opt, nopt, packing, settings)


def _sum(q: Float[Tensor, "M N"]) -> Float[Tensor, "M 1"]:
    return q.sum(dim=-1, keepdim=True)


def _combine(
    y: Tensor,
    q_joint: Tensor,
    opt: Tensor,
    nopt: Tensor,
    packing: Packing | Grid,
    settings: TDSettings,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    losses = [packing.mean(x.square()) for x in (y - q_joint, opt, nopt)]
    weights = settings.options.opt_weight, settings.options.nopt_weight
    return losses[0] + weights[0] * losses[1] + weights[1] * losses[2], {
        "q_taken_mean": packing.mean(q_joint.detach()),
        "target_mean": packing.mean(y),
        "joint_td_loss": losses[0].detach(),
        "opt_loss": losses[1].detach(),
        "nopt_loss": losses[2].detach(),
    }


def qtran_alt_loss(
    online: TeamNetwork, target: TeamNetwork, batch: TeamBatch, taus: Taus, settings: TDSettings
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Loss of QTRAN-alt (Son et al., 2019), section 4.3, with Q_jt(u_i, u_-i) for every agent.

        D_i(u_i) = q'(u_i, u_-i) - sg[Q_jt(u_i, u_-i)] + V
        L = E (y_i - Q_jt(u_i, u_-i))² + w_opt E (q'(ū) - sg[Q_jt(ū_i, ū_-i)] + V)²
            + w_nopt E (min_{u_i available} D_i(u_i))²

    Mean over played transitions and agents. Each agent's output bootstraps from itself.
    """
    packing, avail, state, reading, q, best, other, following = _read(
        online, target, batch, taus, settings
    )
    with torch.no_grad():
        values = _taken(target.joint(state, other.hidden, following), following)
        y = td_targets(values.unsqueeze(-1), batch, packing, settings)[..., 0]  # [M, N]
    state, hidden, q, avail = (packing.starting(x) for x in (state, reading.hidden, q, avail))
    best, actions = packing.starting(best), packing.pack_steps(batch.actions)
    q_joint, value = online.joint(state, hidden, actions), online.joint.value(state)
    best_joint = _taken(online.joint(state, hidden, best), best).detach()
    opt = _sum(_taken(q, best)) - best_joint + value
    q_taken = _taken(q, actions)
    others = (_sum(q_taken) - q_taken).unsqueeze(-1)  # Σ_{j≠i} q_j(u_j)
    difference = q + others - q_joint.detach() + value.unsqueeze(-1)
    nopt = difference.masked_fill(~avail, torch.inf).amin(dim=-1)
    return _combine(y, _taken(q_joint, actions), opt, nopt, packing, settings)


OBJECTIVES.register("qtran_base")(
    Objective(qtran_base_loss, _base_critic, QtranOptions, mixers=("sum",), by_risk=False)
)
OBJECTIVES.register("qtran_alt")(
    Objective(qtran_alt_loss, _counterfactual_critic, QtranOptions, mixers=("sum",), by_risk=False)
)
