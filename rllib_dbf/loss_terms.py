"""Loss terms: each picks tensors from a batch and hands them to a pure function."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.functional import barrier, losses, targets
from rllib_dbf.nets.team_network import TeamNetwork
from rllib_dbf.registry import Registry
from rllib_dbf.team import TeamBatch, Utilities

TD_LOSSES: Registry = Registry("td_loss")
BARRIER_ESTIMATORS: Registry = Registry("barrier_estimator")


class Taus(NamedTuple):
    """Quantile fractions in (0, 1), drawn afresh for every state of every update.

    Axis N is 1 where the agents of a team share their fractions (needed to mix quantiles) and N
    for independent learners.
    """

    online: Float[Tensor, "B T1 N K"]
    target: Float[Tensor, "B T1 N K2"]


class TDSettings(NamedTuple):
    """What varies between TD losses."""

    loss: str
    gamma: float
    td_lambda: float
    double_q: bool


class BarrierSettings(NamedTuple):
    """What varies between barrier losses (DBF, eqs 4 and 5)."""

    estimator: str
    gamma_b: float
    lambda_b: float
    omega: float
    temperature: float
    baseline: str
    importance_clip: float
    deaths: str  # "new" or "cumulative"
    tail: str
    normaliser: str


def draw_taus(
    batch: TeamBatch, n_online: int, n_target: int, shared: bool, generator: torch.Generator
) -> Taus:
    """Uniform fractions for every state of the batch: IQN (Dabney et al., 2018), section 3."""
    rows, steps, agents = batch.alive.shape
    shape = (rows, steps, 1 if shared else agents)
    draw = torch.rand((*shape, n_online + n_target), generator=generator, device=batch.obs.device)
    return Taus(draw[..., :n_online], draw[..., n_online:])


@TD_LOSSES.register("squared")
def _squared(z: Tensor, target: Tensor, tau: Tensor, mask: Tensor) -> Float[Tensor, ""]:
    return losses.squared_td(z, target, mask)


@TD_LOSSES.register("quantile_huber")
def _quantile_huber(z: Tensor, target: Tensor, tau: Tensor, mask: Tensor) -> Float[Tensor, ""]:
    return losses.quantile_huber(z, target, tau, mask)


def td_loss(
    online: TeamNetwork, target: TeamNetwork, batch: TeamBatch, taus: Taus, settings: TDSettings
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Temporal-difference loss of the chosen joint actions.

    Targets come from the target network without gradient; with `double_q` the greedy joint action
    is the online network's. Reduction: mean over played transitions (and groups).

    Returns:
        The loss, and detached figures to log.
    """
    hidden, head = online.unroll(batch), online.utility.head
    phi = head.embed(taus.online)
    with torch.no_grad():
        q = head.mean(hidden, taus.online, phi)
        y = _td_targets(target, batch, q, taus.target, settings)
    utilities = Utilities(
        z=head.at(
            hidden[:, :-1],
            batch.actions,
            taus.online[:, :-1],
            None if phi is None else phi[:, :-1],
        ),
        q_max=_available_maximum(q, batch.avail)[:, :-1],
        actions=batch.actions,
        hidden=hidden[:, :-1],
    )
    z = online.mixer(utilities, batch.state[:, :-1])
    loss = TD_LOSSES[settings.loss](z, y, taus.online[:, :-1], batch.mask)
    with torch.no_grad():
        q_taken = losses.masked_mean(z.detach().mean(dim=-1), batch.mask)
        y_mean = losses.masked_mean(y.mean(dim=-1), batch.mask)
    return loss, {"q_taken_mean": q_taken, "target_mean": y_mean}


def _td_targets(
    target: TeamNetwork, batch: TeamBatch, q_online: Tensor, tau: Tensor, settings: TDSettings
) -> Float[Tensor, "B T G K2"]:
    """TD(λ) targets per return quantile; the caller holds no_grad."""
    hidden = target.unroll(batch)
    head = target.utility.head
    phi = head.embed(tau)
    q_target = head.mean(hidden, tau, phi)
    greedy = targets.greedy_actions(q_online if settings.double_q else q_target, batch.avail)
    utilities = Utilities(
        z=head.at(hidden, greedy, tau, phi),
        q_max=_available_maximum(q_target, batch.avail),
        actions=greedy,
        hidden=hidden,
    )
    values = target.mixer(utilities, batch.state)
    return targets.td_lambda_targets(
        batch.reward, batch.terminated, batch.mask, values, settings.gamma, settings.td_lambda
    )


def _available_maximum(q: Tensor, avail: Tensor) -> Float[Tensor, "B T N"]:
    return q.masked_fill(~avail, -torch.inf).amax(dim=-1)


def barrier_loss(
    online: TeamNetwork, batch: TeamBatch, settings: BarrierSettings
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Barrier loss of on-policy episodes (DBF, eqs 4 and 5), as a surrogate with a gradient.

    B follows from the deaths alone, so eq. 5 as written has no gradient; the estimator supplies
    it. Episodes with at most `omega` deaths are gated out and contribute exactly nothing.

    Returns:
        The surrogate to differentiate, and figures to log: `barrier_loss` is the value of eq. 5.
    """
    in_episode = state_mask(batch)
    deaths = batch.deaths if settings.deaths == "new" else batch.deaths.cumsum(dim=1)
    values = barrier.barrier_values(deaths, in_episode, settings.gamma_b, settings.tail)
    violation = barrier.violations(values, batch.mask, settings.lambda_b)
    active = barrier.omega_gate(barrier.deaths_total(batch.deaths, in_episode), settings.omega)
    gated = violation * active[:, None]
    stats = {
        "barrier_loss": barrier.barrier_loss(gated, batch.mask, settings.normaliser),
        "gate_open_fraction": active.float().mean(),
    }
    return BARRIER_ESTIMATORS[settings.estimator](online, batch, gated, active, settings), stats


def state_mask(batch: TeamBatch) -> Tensor:
    """True for the states s_0 … s_L of each episode: bool [B, T+1]."""
    return torch.nn.functional.pad(batch.mask, (1, 0), value=True)


def _score_function(
    online: TeamNetwork,
    batch: TeamBatch,
    weights: Tensor,
    active: Tensor,
    settings: BarrierSettings,
) -> Float[Tensor, ""]:
    hidden = online.unroll(batch)[:, :-1]
    return barrier.score_function_loss(
        online.utility.head.acting_mean(hidden),
        batch.avail[:, :-1],
        batch.actions,
        batch.alive[:, :-1],
        weights,
        batch.mask,
        batch.behaviour_prob,
        temperature=settings.temperature,
        baseline=settings.baseline,
        clip=settings.importance_clip,
        active=active,
    )


BARRIER_ESTIMATORS.register("score")(_score_function)


@BARRIER_ESTIMATORS.register("zero")
def _zero_gradient(
    online: TeamNetwork,
    batch: TeamBatch,
    weights: Tensor,
    active: Tensor,
    settings: BarrierSettings,
) -> Float[Tensor, ""]:
    """The control: everything of the barrier except its gradient."""
    return _score_function(online, batch, weights, active, settings) * 0.0
