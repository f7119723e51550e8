"""The barrier's loss: what each estimator of eq. 5 makes of the latest episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.functional import barrier, policy
from rllib_dbf.nets.team_network import TeamNetwork
from rllib_dbf.packing import pack_episodes
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


Surrogate = Callable[[Float[Tensor, "B T N A"], Evidence, Context], Float[Tensor, ""]]


class Estimator(NamedTuple):
    """How eq. 5 comes to move the policy.

    `surrogate` takes the utilities q of every action at the states a transition starts from;
    `uses` names the settings that only some estimators look at.
    """

    surrogate: Surrogate
    uses: tuple[str, ...] = ()


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


BARRIER_ESTIMATORS.register("score")(Estimator(_score_function, _SCORE))
BARRIER_ESTIMATORS.register("zero")(Estimator(_zero_gradient, _SCORE))
BARRIER_ESTIMATORS.register("shuffled")(Estimator(_shuffled, _SCORE))


class BarrierTerm:
    """The barrier loss with what it carries from update to update.

    Args:
        settings: Which loss.
        generator: Source of everything drawn; all learners must draw alike.
    """

    def __init__(self, settings: BarrierSettings, generator: torch.Generator) -> None:
        self.settings = settings
        self.estimator = BARRIER_ESTIMATORS[settings.estimator]
        self._generator = generator
        self._spread = 0.0  # running std of the utilities; 0 before the first update

    def loss(
        self, online: TeamNetwork, batch: TeamBatch
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Barrier loss of on-policy episodes (DBF, eqs 4 and 5), as a surrogate with a gradient.

        B follows from the deaths alone, so eq. 5 as written has no gradient; the estimator
        supplies it. Episodes with at most ω deaths are gated out and contribute exactly nothing.

        Returns:
            The surrogate to differentiate, and figures to log: `barrier_loss` is the value of
            eq. 5.
        """
        settings, evidence = self.settings, gather_evidence(batch, self.settings)
        stats = {
            "barrier_loss": barrier.barrier_loss(
                evidence.violation, batch.mask, settings.normaliser
            ),
            "gate_open_fraction": evidence.active.float().mean(),
        }
        q = policy_utilities(online, batch)
        temperature = settings.temperature
        if temperature == "std":
            temperature = self._running_std(q.detach(), batch)
            stats["policy_temperature"] = torch.tensor(temperature)
        context = Context(settings, float(temperature), self._generator)
        return self.estimator.surrogate(q, evidence, context), stats

    def _running_std(self, q: Tensor, batch: TeamBatch) -> float:
        """Exponential mean, over updates, of the std of q over the available actions."""
        now = float(policy.utility_std(q, batch.avail[:, :-1], batch.alive[:, :-1], batch.mask))
        self._spread = now if self._spread == 0.0 else 0.99 * self._spread + 0.01 * now
        return max(self._spread, 1e-6)

    def get_state(self) -> dict[str, Any]:
        """Generator and running figures, for a checkpoint."""
        return {"generator": self._generator.get_state().numpy(), "spread": self._spread}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        self._generator.set_state(torch.from_numpy(state["generator"].copy()))
        self._spread = float(state["spread"])


def policy_utilities(online: TeamNetwork, batch: TeamBatch) -> Float[Tensor, "B T N A"]:
    """Expected utilities of every action wherever a transition starts; zeros in padding."""
    packing = pack_episodes(batch.mask)
    q = packing.unpack(online.utility.head.acting_mean(online.unroll(batch, packing)))
    return q[:, :-1]
