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
    critic_target: str = "team"  # or "agents": what a critic foresees


class Evidence(NamedTuple):
    """Episodes, and what eqs 4 and 5 say about them."""

    batch: TeamBatch
    values: Float[Tensor, "B T1"]  # B of eq. 4
    violation: Float[Tensor, "B T"]  # δ, the element of eq. 5; 0 in episodes gated out
    active: Bool[Tensor, " B"]  # the gate: more than ω deaths


def gather_evidence(batch: TeamBatch, settings: BarrierSettings) -> Evidence:
    """Barrier values, violations and gate of a batch of episodes; no gradient."""
    in_episode = barrier.state_mask_of(batch.mask)
    deaths = _counted(batch.deaths, settings)
    values = barrier.barrier_values(deaths, in_episode, settings.gamma_b, settings.tail)
    active = barrier.omega_gate(barrier.deaths_total(batch.deaths, in_episode), settings.omega)
    violation = barrier.violations(values, batch.mask, settings.lambda_b) * active[:, None]
    return Evidence(batch, values, violation, active)


def values_of_agents(batch: TeamBatch, settings: BarrierSettings) -> Float[Tensor, "B T1 N"]:
    """What every agent's own deaths contribute to eq. 4; their sum is the team's value."""
    in_episode = barrier.state_mask_of(batch.mask)
    deaths = _counted(barrier.deaths_of_agents(batch.deaths, batch.alive), settings)
    rows = barrier.barrier_values(
        deaths.transpose(1, 2).flatten(0, 1),
        in_episode.repeat_interleave(deaths.shape[2], dim=0),
        settings.gamma_b,
        settings.tail,
    )
    return rows.unflatten(0, (len(deaths), -1)).transpose(1, 2)


def _counted(deaths: Float[Tensor, "B T1 *N"], settings: BarrierSettings) -> Tensor:
    """c of eq. 4 from new deaths."""
    return deaths if settings.deaths == "new" else deaths.cumsum(dim=1)
