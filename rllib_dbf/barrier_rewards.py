"""The rewards that a team learns from where the barrier speaks through them.

Each takes a batch, the settings, the critic of the barrier and the Lagrange multiplier.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.barrier_evidence import BarrierSettings, gather_evidence
from rllib_dbf.team import TeamBatch


def less_violations(
    batch: TeamBatch, settings: BarrierSettings, critic: Any, multiplier: float
) -> Float[Tensor, "B T"]:
    """r - η δ."""
    return batch.reward - settings.penalty * gather_evidence(batch, settings).violation


@torch.no_grad()
def with_potential(
    batch: TeamBatch, settings: BarrierSettings, critic: Any, multiplier: float
) -> Float[Tensor, "B T"]:
    """r + γ Φ(s') - Φ(s), Φ = -η B̂ and 0 at true ends: Ng, Harada and Russell (1999)."""
    potential = -settings.penalty * critic.values(batch.state)
    after = torch.where(batch.terminated, 0.0, potential[:, 1:])
    shaped = batch.reward + settings.gamma * after - potential[:, :-1]
    return torch.where(batch.mask, shaped, 0.0)


def less_priced_deaths(
    batch: TeamBatch, settings: BarrierSettings, critic: Any, multiplier: float
) -> Float[Tensor, "B T"]:
    """r - ν (deaths of the step), ν the multiplier."""
    return batch.reward - multiplier * torch.where(batch.mask, batch.deaths[:, 1:], 0.0)
