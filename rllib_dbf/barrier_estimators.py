"""How eq. 5 of the DBF paper comes to move the policy: one entry per estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.functional import barrier, policy
from rllib_dbf.registry import Registry
from rllib_dbf.team import TeamBatch


class BarrierSettings(NamedTuple):
    """What varies between barrier losses (DBF, eqs 4 and 5); see `BarrierConfig.training`."""

    estimator: str
    gamma_b: float
    lambda_b: float
    omega: float
    temperature: float | str  # a number, or "std"
    baseline: str
    importance_clip: float
    deaths: str  # "new" or "cumulative"
    tail: str
    normaliser: str
    weights: str = "myopic"
    to_go_discount: float = 1.0
    standardise: bool = False
    penalty: float = 1.0


class Evidence(NamedTuple):
    """Episodes, and what eqs 4 and 5 say about them."""

    batch: TeamBatch
    values: Float[Tensor, "B T1"]  # B of eq. 4
    violation: Float[Tensor, "B T"]  # δ, the element of eq. 5; 0 in episodes gated out
    active: Bool[Tensor, " B"]  # the gate: more than ω deaths


class Context(NamedTuple):
    """What an estimator may use besides the episodes."""

    settings: BarrierSettings
    temperature: float | Float[Tensor, ""]
    generator: torch.Generator
    critic: Any = None  # the module that `Estimator.critic` names


Surrogate = Callable[[Float[Tensor, "B T N A"], Evidence, Context], Float[Tensor, ""]]


class Estimator(NamedTuple):
    """How eq. 5 comes to move the policy.

    `surrogate` takes the utilities q of every action at the states a transition starts from; an
    estimator without one changes the reward instead. `uses` names the settings that only some
    estimators look at, `critic` the entry of `BARRIER_CRITICS` to train beside the team.
    """

    surrogate: Surrogate | None
    uses: tuple[str, ...] = ()
    critic: str | None = None


_SCORE = (
    "barrier_weights",
    "barrier_to_go_discount",
    "barrier_baseline",
    "barrier_standardise",
    "importance_clip",
    "policy_temperature",
)

BARRIER_ESTIMATORS: Registry[Estimator] = Registry("barrier_estimator")


def gather_evidence(batch: TeamBatch, settings: BarrierSettings) -> Evidence:
    """Barrier values, violations and gate of a batch of episodes; no gradient."""
    in_episode = barrier.state_mask_of(batch.mask)
    deaths = batch.deaths if settings.deaths == "new" else batch.deaths.cumsum(dim=1)
    values = barrier.barrier_values(deaths, in_episode, settings.gamma_b, settings.tail)
    active = barrier.omega_gate(barrier.deaths_total(batch.deaths, in_episode), settings.omega)
    violation = barrier.violations(values, batch.mask, settings.lambda_b) * active[:, None]
    return Evidence(batch, values, violation, active)


def score_weights(evidence: Evidence, settings: BarrierSettings) -> Float[Tensor, "B T"]:
    """w_t, what the score function blames the actions at t for; 0 in episodes gated out."""
    mask = evidence.batch.mask
    if settings.weights == "to_go":
        return barrier.to_go(evidence.violation, mask, settings.to_go_discount)
    if settings.weights == "control_variate":
        weights = barrier.control_variate_weights(
            evidence.batch.deaths, mask, settings.gamma_b, settings.lambda_b
        )
        return weights * evidence.active[:, None]
    return evidence.violation


def _score_function(
    q: Tensor, evidence: Evidence, context: Context, weights: Tensor | None = None
) -> Float[Tensor, ""]:
    batch, settings = evidence.batch, context.settings
    return policy.score_function_loss(
        q,
        batch.avail[:, :-1],
        batch.actions,
        batch.alive[:, :-1],
        score_weights(evidence, settings) if weights is None else weights,
        batch.mask,
        batch.behaviour_prob,
        temperature=context.temperature,
        baseline=settings.baseline,
        clip=settings.importance_clip,
        standardise=settings.standardise,
        active=evidence.active,
        normaliser=settings.normaliser,
    )


def _zero_gradient(q: Tensor, evidence: Evidence, context: Context) -> Float[Tensor, ""]:
    """The control: everything of the barrier except its gradient."""
    return _score_function(q, evidence, context) * 0.0


def _shuffled(q: Tensor, evidence: Evidence, context: Context) -> Float[Tensor, ""]:
    """The control: a gradient of the same size that blames the wrong actions.

    The weights are permuted over the transitions of episodes whose gate is open, so their
    distribution and their baseline stay what they are.
    """
    weights = score_weights(evidence, context.settings)
    counted = evidence.batch.mask & evidence.active[:, None]
    values = weights[counted]
    generator = context.generator
    order = torch.randperm(len(values), generator=generator, device=values.device)
    shuffled = weights.masked_scatter(counted, values[order])
    return _score_function(q, evidence, context, shuffled)


def _over_own_actions(q: Tensor, evidence: Evidence, context: Context) -> Float[Tensor, ""]:
    """Σ_i Σ_u π_i(u) max(B̂(s_{t+1} | u, u_-i) - (1 - λ_B) B(s_t), 0), others as they played."""
    batch = evidence.batch
    with torch.no_grad():
        excess = (
            context.critic.counterfactuals(batch) - _allowed(evidence, context)[..., None, None]
        )
    return policy.counterfactual_loss(
        q,
        batch.avail[:, :-1],
        batch.alive[:, :-1],
        excess.clamp(min=0.0),
        batch.mask,
        context.temperature,
        evidence.active,
        context.settings.normaliser,
    )


def _drawn_through_the_critic(q: Tensor, evidence: Evidence, context: Context) -> Float[Tensor, ""]:
    """max(B̂(s_{t+1} | ũ) - (1 - λ_B) B(s_t), 0) at straight-through Gumbel-softmax actions ũ."""
    batch = evidence.batch
    drawn = policy.gumbel_actions(q, batch.avail[:, :-1], context.temperature, context.generator)
    excess = context.critic.at(batch.state[:, :-1], drawn) - _allowed(evidence, context)
    counted = batch.mask & evidence.active[:, None]
    excess = torch.where(counted, excess, 0.0).clamp(min=0.0)
    return policy.mean_per_step(excess, batch.mask, context.settings.normaliser)


def _allowed(evidence: Evidence, context: Context) -> Float[Tensor, "B T"]:
    return (1.0 - context.settings.lambda_b) * evidence.values[:, :-1]


_CRITIC = ("barrier_critic_lr", "policy_temperature")

for _name, _entry in {
    "score": Estimator(_score_function, _SCORE),
    "zero": Estimator(_zero_gradient, _SCORE),
    "shuffled": Estimator(_shuffled, _SCORE),
    "critic": Estimator(_over_own_actions, _CRITIC, "counterfactual"),
    "gumbel": Estimator(_drawn_through_the_critic, _CRITIC, "joint"),
    "penalty": Estimator(None, ("barrier_penalty",)),
}.items():
    BARRIER_ESTIMATORS.register(_name)(_entry)
