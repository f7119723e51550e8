"""RMIX: mixing of risk-sensitive values, beside the agents' own return distributions."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rllib_dbf.functional.losses import quantile_huber
from rllib_dbf.functional.targets import td_lambda_targets
from rllib_dbf.loss_terms import Taus, TDSettings, action_scores
from rllib_dbf.nets.quantile_heads import chosen
from rllib_dbf.nets.team_network import TeamNetwork
from rllib_dbf.objectives.objective import OBJECTIVES, Objective
from rllib_dbf.objectives.reading import Reading, greedy, read, td_targets
from rllib_dbf.packing import Grid, Packing, pack_episodes
from rllib_dbf.team import TeamBatch, Utilities


class RmixOptions(NamedTuple):
    """Options of RMIX."""

    quantile_weight: float = 0.1
    local_reward: Literal["team", "cvar"] = "team"


def rmix_loss(
    online: TeamNetwork, target: TeamNetwork, batch: TeamBatch, taus: Taus, settings: TDSettings
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Loss of RMIX (Qiu et al., 2021), eqs 8–10, C_i being the agents' risk-sensitive values.

        L = E (y - Q_tot(C_1(u_1), …, C_N(u_N)))²
            + w Σ_i QH(Z_i(u_i), r_i + γ (1 - d) Z_i⁻(u*)) / N

    y is the TD(λ) target of the mixed values at the actions of greatest C. Agents have no reward
    of their own: r_i is the team's with local_reward="team", so that Z_i is the team's return as
    agent i sees it. With "cvar" it is sg[C_i(u_i)], as in the paper; but C_i is a value already,
    so Z_i = C_i + γ Z_i⁻ is the return of nothing, and any point mass solves it at the end of an
    episode: the spread that C_i is to judge is lost.

    QH is the quantile Huber loss with fractions on the predicted axis. C_i is what the head calls
    the mean of an action ("cvar_qr": CVaR at a learned level), or the row's risk measure, where it
    is used in targets (a fixed level).
    """
    packing = pack_episodes(batch.mask)
    avail, state = packing.pack(batch.avail), packing.pack(batch.state)
    reading = read(online.utility, batch, packing, packing.pack(taus.online))
    scores = _scores(reading, settings)
    best = greedy(scores, avail)
    with torch.no_grad():
        other = read(target.utility, batch, packing, packing.pack(taus.target))
        other_scores = _scores(other, settings)
        following = best if settings.double_q else greedy(other_scores, avail)
        values = _mix(target, other_scores, following, other.hidden, state)
        y = td_targets(values, batch, packing, settings)
        returns = _next_returns(other, following, batch, packing, settings)
    reading, scores, state = (
        reading.starting(packing),
        packing.starting(scores),
        packing.starting(state),
    )
    actions = packing.pack_steps(batch.actions)
    q_tot = _mix(online, scores, actions, reading.hidden, state)
    td = packing.mean((y - q_tot).square())
    own = scores.gather(-1, actions.unsqueeze(-1)).detach()  # [M, N, 1]
    team = packing.pack_steps(batch.reward)[:, None, None]
    own_y = returns + (team if settings.options.local_reward == "team" else own)
    z = chosen(reading.head.all(reading.hidden), actions)
    quantile = quantile_huber(z[None], own_y[None], reading.tau[None], packing.played)
    return td + settings.options.quantile_weight * quantile, {
        "q_taken_mean": packing.mean(q_tot.detach()),
        "target_mean": packing.mean(y),
        "quantile_loss": quantile.detach(),
    }


def _scores(reading: Reading, settings: TDSettings) -> Float[Tensor, "P N A"]:
    mean = reading.scores()
    return action_scores(reading.head, reading.hidden, reading.tau, mean, settings)


def _mix(
    network: TeamNetwork,
    scores: Float[Tensor, "P N A"],
    actions: Int[Tensor, "P N"],
    hidden: Float[Tensor, "P N H"],
    state: Float[Tensor, "P S"],
) -> Float[Tensor, "P 1 1"]:
    """The team's value from the agents' values of their chosen actions."""
    value = scores.gather(-1, actions.unsqueeze(-1))
    q_max = value.detach().squeeze(-1)
    utilities = Utilities(value[None], q_max[None], actions[None], hidden[None])
    return network.mixer(utilities, state[None])[0]


def _next_returns(
    reading: Reading,
    actions: Tensor,
    batch: TeamBatch,
    packing: Packing | Grid,
    settings: TDSettings,
) -> Float[Tensor, "M N K"]:
    """γ (1 - d) Z_i⁻(u*) of the state each transition leads to."""
    z = packing.unpack(reading.at(actions))
    nothing = torch.zeros_like(batch.reward)
    y = td_lambda_targets(nothing, batch.terminated, batch.mask, z, settings.gamma, 0.0)
    return packing.pack_steps(y)


OBJECTIVES.register("rmix")(
    Objective(
        rmix_loss,
        options=RmixOptions,
        mixes_values=True,
        knows_maximum=False,
        heads=("cvar_qr", "qr", "expected"),
        td_losses=("squared",),
    )
)
