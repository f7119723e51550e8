"""How eq. 5 of the DBF paper comes to move the policy: one entry per estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.barrier_evidence import BarrierSettings, Evidence
from rllib_dbf.barrier_foresight import foresight
from rllib_dbf.barrier_rewards import less_priced_deaths, less_violations, with_potential
from rllib_dbf.functional import barrier, policy
from rllib_dbf.registry import Registry
from rllib_dbf.team import TeamBatch


class Context(NamedTuple):
    """What an estimator may use besides the episodes."""

    settings: BarrierSettings
    temperature: float | Float[Tensor, ""]
    generator: torch.Generator
    critic: Any = None  # the module that `critic_of` names
    hidden: Float[Tensor, "B T N H"] | None = None  # of the utility network, with its graph


Surrogate = Callable[[Float[Tensor, "B T N A"], Evidence, Context], Float[Tensor, ""]]
Pay = Callable[[TeamBatch, BarrierSettings, Any, float], Float[Tensor, "B T"]]


class Estimator(NamedTuple):
    """How eq. 5 comes to move the policy.

    `surrogate` takes the utilities q of every action at the states a transition starts from and
    gives the loss to differentiate. `pay` gives the reward that the team learns from instead of
    its own; it takes a batch, the settings, the critic and the Lagrange multiplier. `uses` names
    the settings that only some estimators look at, `critic` the entry of `BARRIER_CRITICS` to
    train beside the team. `by_omega`: episodes with at most ω deaths count for nothing. `priced`:
    deaths have a price, which follows their excess over ω. `fixed`: what is computed depends on the
    shapes of a batch alone, so that a GPU may record it.
    """

    surrogate: Surrogate | None
    uses: tuple[str, ...] = ()
    critic: str | None = None
    pay: Pay | None = None
    by_omega: bool = True
    priced: bool = False
    fixed: bool = True


_SCORE = (
    "barrier_weights",
    "barrier_to_go_discount",
    "barrier_baseline",
    "barrier_standardise",
    "importance_clip",
    "policy_temperature",
)

BARRIER_ESTIMATORS: Registry[Estimator] = Registry("barrier_estimator")


STATE_BASELINES = ("critic", "best")  # of an agent's own, from the counterfactual critic


def critic_of(estimator: str, baseline: str) -> str | None:
    """The critic to train, a name in `BARRIER_CRITICS`, or None."""
    entry = BARRIER_ESTIMATORS[estimator]
    if "barrier_baseline" in entry.uses and baseline in STATE_BASELINES:
        return "counterfactual"
    return entry.critic


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
    own = settings.baseline in STATE_BASELINES
    return policy.score_function_loss(
        q,
        batch.avail[:, :-1],
        batch.actions,
        batch.alive[:, :-1],
        score_weights(evidence, settings) if weights is None else weights,
        batch.mask,
        batch.behaviour_prob,
        temperature=context.temperature,
        baseline="none" if own else settings.baseline,
        clip=settings.importance_clip,
        standardise=settings.standardise,
        active=evidence.active,
        normaliser=settings.normaliser,
        agent_baseline=_agent_baseline(q, evidence, context) if own else None,
    )


@torch.no_grad()
def _agent_baseline(q: Tensor, evidence: Evidence, context: Context) -> Float[Tensor, "B T N"]:
    """Σ_u π_i(u) max(B̂(s_{t+1} | u, u_-i) - (1 - λ_B) B(s_t), 0), or its least term ("best").

    B(s_t) is that of the episode, which the action had a part in: docs/barrier.md tells the bias.
    """
    avail = evidence.batch.avail[:, :-1]
    excess = _counterfactual_excess(evidence, context)
    if context.settings.baseline == "best":
        return excess.masked_fill(~avail, torch.inf).amin(dim=-1)
    return (policy.joint_policy(q, avail, context.temperature) * excess).sum(dim=-1)


def _counterfactual_excess(evidence: Evidence, context: Context) -> Float[Tensor, "B T N A"]:
    """max(B̂(s_{t+1} | u, u_-i) - (1 - λ_B) B(s_t), 0) of every own action u, detached."""
    with torch.no_grad():
        every = context.critic.counterfactuals(evidence.batch)
        return (every - _allowed(evidence, context)[..., None, None]).clamp(min=0.0)


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
    return policy.counterfactual_loss(
        q,
        batch.avail[:, :-1],
        batch.alive[:, :-1],
        _counterfactual_excess(evidence, context),
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


def _foretold(q: Tensor, evidence: Evidence, context: Context) -> Float[Tensor, ""]:
    """Squared error of B̂(s_{t+1} | h, u), so that the hidden states h come to tell of deaths."""
    batch = evidence.batch
    error = foresight(context.critic, batch, context.settings, context.hidden).error
    return policy.mean_per_step(error, batch.mask, context.settings.normaliser)


_FORESIGHT = ("exploration_temperature", "tie_break_margin")

for _name, _entry in {
    "score": Estimator(_score_function, _SCORE),
    "zero": Estimator(_zero_gradient, _SCORE),
    "shuffled": Estimator(_shuffled, _SCORE, fixed=False),
    "critic": Estimator(_over_own_actions, ("policy_temperature",), "counterfactual"),
    "gumbel": Estimator(_drawn_through_the_critic, ("policy_temperature",), "joint"),
    "penalty": Estimator(None, ("barrier_penalty",), pay=less_violations),
    "shaping": Estimator(None, ("barrier_penalty",), "state", with_potential, by_omega=False),
    "constraint": Estimator(None, ("multiplier_rate",), pay=less_priced_deaths, priced=True),
    "prediction": Estimator(_foretold, _FORESIGHT, "trunk", by_omega=False),
    "watch": Estimator(None, _FORESIGHT, "trunk", by_omega=False),
}.items():
    BARRIER_ESTIMATORS.register(_name)(_entry)
