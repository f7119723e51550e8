"""What eqs 4 and 5 of the DBF paper say about whole episodes; the settings that decide it."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.functional import barrier
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
    multiplier_rate: float = 0.01
    gamma: float = 0.99  # discount of the return, for potentials


class Evidence(NamedTuple):
    """Episodes, and what eqs 4 and 5 say about them."""

    batch: TeamBatch
    values: Float[Tensor, "B T1"]  # B of eq. 4
    violation: Float[Tensor, "B T"]  # δ, the element of eq. 5; 0 in episodes gated out
    active: Bool[Tensor, " B"]  # the gate: more than ω deaths


def gather_evidence(batch: TeamBatch, settings: BarrierSettings) -> Evidence:
    """Barrier values, violations and gate of a batch of episodes; no gradient."""
    in_episode = barrier.state_mask_of(batch.mask)
    deaths = batch.deaths if settings.deaths == "new" else batch.deaths.cumsum(dim=1)
    values = barrier.barrier_values(deaths, in_episode, settings.gamma_b, settings.tail)
    active = barrier.omega_gate(barrier.deaths_total(batch.deaths, in_episode), settings.omega)
    violation = barrier.violations(values, batch.mask, settings.lambda_b) * active[:, None]
    return Evidence(batch, values, violation, active)
