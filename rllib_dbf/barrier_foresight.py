"""What the barrier's critics learn: to foresee eq. 4 of the DBF paper, for the team or by agent."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.barrier_evidence import BarrierSettings, gather_evidence, values_of_agents
from rllib_dbf.team import TeamBatch


class Foresight(NamedTuple):
    """How well a critic foresees B(s_{t+1})."""

    error: Float[Tensor, "B T"]  # squared; 0 where nothing was played
    explained: Float[Tensor, ""]  # share of the variance of what it learns, at most 1


def foresight(
    critic: Any,
    batch: TeamBatch,
    settings: BarrierSettings,
    hidden: Float[Tensor, "B T N H"] | None = None,
) -> Foresight:
    """Compare what a critic says of episodes with what became of them.

    B of eq. 4 is linear in the deaths, so it is the sum over the agents of what their own deaths
    contribute, B_i. With `critic_target` "team" the error is (Σ_i b_i + b_0 - B)²; with "agents"
    it is Σ_i (b_i - B_i)² over the living, plus the former, which then moves b_0 alone.

    Args:
        critic: An entry of `BARRIER_CRITICS`; for "agents" one with `shares`.
        batch: The episodes.
        settings: Say what eq. 4 is.
        hidden: The utility network's hidden states at t, for a critic that reads them.
    """
    inputs = (batch,) if hidden is None else (batch, hidden)
    of_team = gather_evidence(batch, settings).values[:, 1:]
    if settings.critic_target == "team":
        said, known, counted = critic(*inputs), of_team, batch.mask
        error = (said - known).square()
    else:
        said, rest = critic.shares(*inputs)
        known = values_of_agents(batch, settings)[:, 1:]
        counted = batch.alive[:, :-1] & batch.mask.unsqueeze(-1)
        error = torch.where(counted, said - known, 0.0).square().sum(dim=-1)
        error = error + (said.detach().sum(dim=-1) + rest - of_team).square()
    return Foresight(torch.where(batch.mask, error, 0.0), _explained(said, known, counted))


@torch.no_grad()
def _explained(said: Tensor, known: Tensor, counted: Tensor) -> Float[Tensor, ""]:
    """1 - variance of the error / variance of what is to be foreseen; 0 if that does not vary."""
    count = counted.sum().clamp(min=1)

    def variance(x: Tensor) -> Tensor:
        mean = torch.where(counted, x, 0.0).sum() / count
        return torch.where(counted, (x - mean).square(), 0.0).sum() / count

    spread = variance(known)
    explained = 1.0 - variance(known - said) / spread.clamp(min=1e-8)
    return torch.where(spread > 1e-8, explained, 0.0)
