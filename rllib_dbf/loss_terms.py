"""The TD loss: picks tensors from a batch and hands them to pure functions.

The barrier's loss stands in `barrier_terms.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.functional import losses, targets
from rllib_dbf.functional.risk import RISKS
from rllib_dbf.nets.heads import midpoints
from rllib_dbf.nets.judging import judge
from rllib_dbf.nets.mixers import mixer_penalty
from rllib_dbf.nets.team_network import TeamNetwork, unroll_all
from rllib_dbf.packing import Grid, Packing, pack_episodes
from rllib_dbf.registry import Registry
from rllib_dbf.team import TeamBatch, Utilities

TD_LOSSES: Registry = Registry("td_loss")


class Taus(NamedTuple):
    """Quantile fractions in (0, 1), drawn afresh for every state of every update.

    Axis N is 1 where the agents of a team share their fractions (needed to mix quantiles) and N
    for independent learners.
    """

    online: Float[Tensor, "B T1 N K"]
    target: Float[Tensor, "B T1 N K2"]


class Entered(NamedTuple):
    """Packed states as the target network meets them."""

    hidden: Float[Tensor, "P N H"]
    state: Float[Tensor, "P S"]  # normalised
    avail: Bool[Tensor, "P N A"]
    allowed: Bool[Tensor, "P N A"]  # the available actions that are not overruled
    tau: Float[Tensor, "P _ K2"]


class TDSettings(NamedTuple):
    """What varies between TD losses."""

    loss: str
    gamma: float
    td_lambda: float
    double_q: bool
    options: Any = ()  # of the objective
    risk: str = "mean"  # what greedy actions maximise in targets
    risk_level: float = 1.0
    # What the team may do of what is available, [..., O] and [..., A] to [..., A]; None: all of it.
    allowed: Callable[[Tensor, Tensor], Tensor] | None = None


def draw_taus(
    batch: TeamBatch,
    n_online: int,
    n_target: int,
    shared: bool,
    generator: torch.Generator,
    fixed: bool = False,
    fractions: int = 1,
) -> Taus:
    """Uniform fractions for every state of the batch: IQN (Dabney et al., 2018), section 3.

    `fixed` asks for the midpoints instead: heads with a fixed number of quantiles estimate these,
    and for heads that look at no fractions they cost nothing. `fractions` asks for so many numbers
    per quantile, one kind after the other.
    """
    rows, steps, agents = batch.alive.shape
    if fixed:
        ends = (midpoints(n, device=batch.obs.device) for n in (n_online, n_target))
        return Taus(*(tau.expand(rows, steps, 1, -1) for tau in ends))
    shape = (rows, steps, 1 if shared else agents)
    n_online, n_target = fractions * n_online, fractions * n_target
    draw = torch.rand((*shape, n_online + n_target), generator=generator, device=batch.obs.device)
    return Taus(draw[..., :n_online], draw[..., n_online:])


@TD_LOSSES.register("squared")
def _squared(z: Tensor, target: Tensor, tau: Tensor, mask: Tensor | None) -> Float[Tensor, ""]:
    return losses.squared_td(z, target, mask)


@TD_LOSSES.register("quantile_huber")
def _quantile_huber(
    z: Tensor, target: Tensor, tau: Tensor, mask: Tensor | None
) -> Float[Tensor, ""]:
    return losses.quantile_huber(z, target, tau, mask)


def td_loss(
    online: TeamNetwork, target: TeamNetwork, batch: TeamBatch, taus: Taus, settings: TDSettings
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Temporal-difference loss of the chosen joint actions.

    Targets come from the target network without gradient; with `double_q` the greedy joint action
    is the online network's. Reduction: mean over played transitions (and groups). The networks
    see the states that were played and no padding.

    Returns:
        The loss, and detached figures to log.
    """
    packing = pack_episodes(batch.mask)
    avail, state = packing.pack(batch.avail), online.normalised(packing.pack(batch.state))
    head, actions = online.utility.head, packing.pack_steps(batch.actions)
    hidden, hidden_target = unroll_all([online.utility, target.utility], batch, packing)
    tau = packing.pack(taus.online)
    z, q = judge(head, hidden, tau, actions, packing.origins)
    assert q is not None
    with torch.no_grad():
        scores = action_scores(head, hidden, tau, q, settings)
        allowed = avail
        if settings.allowed is not None:
            allowed = settings.allowed(packing.pack(batch.obs), avail)
        entered = Entered(hidden_target, state, avail, allowed, packing.pack(taus.target))
        y = _td_targets(target, batch, packing, entered, scores, settings)
    q_max = packing.starting(_available_maximum(q, avail)) if _reads_maximum(online) else None
    utilities = Utilities(z, q_max, actions, packing.starting(hidden))
    tau, state = packing.starting(tau), packing.starting(state)
    z = _mix(online, utilities, state)  # [1, M, G, K]: one long row
    y = packing.pack_steps(y)[None]
    loss = TD_LOSSES[settings.loss](z, y, tau[None], packing.played)
    penalty = mixer_penalty(online.inner_mixer, state)
    if penalty is not None:
        loss = loss + packing.mean(penalty)
    return loss, {"q_taken_mean": packing.mean(z[0].detach()), "target_mean": packing.mean(y[0])}


def action_scores(
    head: Any,
    hidden: Float[Tensor, "P N H"],
    tau: Float[Tensor, "P _ K"],
    q: Float[Tensor, "P N A"],
    settings: TDSettings,
) -> Float[Tensor, "P N A"]:
    """What greedy actions of targets maximise: the means `q`, or the row's risk measure."""
    if settings.risk == "mean":
        return q
    return RISKS[settings.risk](head.all(hidden, tau), settings.risk_level)


def _mix(
    network: TeamNetwork, utilities: Utilities, state: Float[Tensor, "P S"]
) -> Float[Tensor, "1 P G K"]:
    """Team values of packed, normalised states, which to a mixer are one episode of P steps."""
    one_episode = (None if x is None else x[None] for x in utilities)
    return network.inner_mixer(Utilities(*one_episode), state[None])


def _td_targets(
    target: TeamNetwork,
    batch: TeamBatch,
    packing: Packing | Grid,
    entered: Entered,
    online_scores: Float[Tensor, "P N A"],
    settings: TDSettings,
) -> Float[Tensor, "B T G K2"]:
    """TD(λ) targets per return quantile; the caller holds no_grad."""
    head, scores, (hidden, state, avail, allowed, tau) = (
        target.utility.head,
        online_scores,
        entered,
    )
    reads_maximum = _reads_maximum(target)
    if not settings.double_q:
        means = head.mean(hidden, tau, head.embed(tau))
        scores = action_scores(head, hidden, tau, means, settings)
    greedy = targets.greedy_actions(scores, allowed)
    z, q = judge(head, hidden, tau, greedy, wants_means=reads_maximum)
    q_max = None if q is None else _available_maximum(q, avail)
    utilities = Utilities(z, q_max, greedy, hidden)
    values = packing.unpack(_mix(target, utilities, state)[0])
    return targets.td_lambda_targets(
        batch.reward, batch.terminated, batch.mask, values, settings.gamma, settings.td_lambda
    )


def _reads_maximum(network: TeamNetwork) -> bool:
    """Whether the mixer looks at `q_max`; one that does not say may."""
    return getattr(network.mixer, "reads_maximum", True)


def _available_maximum(q: Tensor, avail: Tensor) -> Float[Tensor, "*L"]:
    return q.masked_fill(~avail, -torch.inf).amax(dim=-1)
