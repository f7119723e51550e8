"""A team's networks: the utility every agent shares, and the mixer that makes a team value."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.nets.mixers import make_mixer
from rllib_dbf.nets.quantile_heads import RiskPairHead
from rllib_dbf.nets.unrolling import unroll_together
from rllib_dbf.nets.utility import RecurrentUtility
from rllib_dbf.packing import Grid, Packing
from rllib_dbf.team import TeamBatch, Utilities


class NetworkShape(NamedTuple):
    """Sizes that the task dictates."""

    n_agents: int
    n_actions: int
    obs_dim: int
    state_dim: int
    unit_dim: int = 0  # see `TeamSpec.unit_dim`


class NormalisedMixer(nn.Module):
    """A mixer that sees the layer-normalised state.

    Without it QMIX diverges on raw positions and cooldowns; the norm has no parameters, so the
    mixer's equations stay those of its paper.
    """

    def __init__(self, mixer: nn.Module, state_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(state_dim, elementwise_affine=False)
        self.mixer = mixer
        self.reads_maximum = getattr(mixer, "reads_maximum", True)

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T G K"]:
        """Mix chosen return quantiles into team (or, unmixed, per-agent) return quantiles."""
        return self.mixer(utilities, self.norm(state))


NOTHING = nn.Sequential()


class TeamNetwork(NamedTuple):
    """A team's networks as one thing; the target copy is another `TeamNetwork`."""

    utility: RecurrentUtility
    mixer: nn.Module
    joint: Any = NOTHING  # nn.Module: what the objective needs beside these two

    def unroll(self, batch: TeamBatch, packing: Packing | Grid) -> Float[Tensor, "P N H"]:
        """Hidden states of every agent at every real state, in packed order."""
        return unroll(self.utility, batch, packing)

    def normalised(self, state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L S"]:
        """The state as the inner mixer sees it."""
        return self.mixer.norm(state) if isinstance(self.mixer, NormalisedMixer) else state

    @property
    def inner_mixer(self) -> nn.Module:
        """The mixer that sees `normalised` states."""
        return self.mixer.mixer if isinstance(self.mixer, NormalisedMixer) else self.mixer

    def detached_copy(self) -> TeamNetwork:
        """A copy that takes no gradient (a target network)."""
        return TeamNetwork(*(copy.deepcopy(part).requires_grad_(False) for part in self))

    @torch.no_grad()
    def copy_from(self, source: TeamNetwork) -> None:
        """Take over all weights of `source` (hard target update)."""
        for mine, theirs in zip(self, source, strict=True):
            ours = list(mine.parameters()) + list(mine.buffers())
            others = list(theirs.parameters()) + list(theirs.buffers())
            if ours:
                torch._foreach_copy_(ours, others)


def unroll(
    utility: RecurrentUtility, batch: TeamBatch, packing: Packing | Grid
) -> Float[Tensor, "P N H"]:
    """Hidden states of a utility network at every real state, in packed order."""
    return unroll_all([utility], batch, packing)[0]


def unroll_all(
    utilities: Sequence[RecurrentUtility], batch: TeamBatch, packing: Packing | Grid
) -> list[Float[Tensor, "P N H"]]:
    """Hidden states of alike networks, in packed order; gradients for the first of them only."""
    return unroll_together(
        utilities,
        packing.pack(batch.obs),
        packing.pack(last_actions(batch)),
        packing.pack(batch.avail),
        packing.counts,
    )


def last_actions(batch: TeamBatch) -> Tensor:
    """The action before each state: int64 [B, T+1, N], -1 at t = 0."""
    return torch.nn.functional.pad(batch.actions, (0, 0, 1, 0), value=-1)


def build_utility(
    shape: NetworkShape, agent_risk: float = 0.75, **options: Any
) -> RecurrentUtility:
    """The shared utility network of a team; `options` as in `RecurrentUtility`.

    `agent_risk` is w of a head that has one (see `RiskPairHead`).
    """
    utility = RecurrentUtility(shape.obs_dim, shape.n_agents, shape.n_actions, **options)
    if isinstance(utility.head, RiskPairHead):
        utility.head.agent_risk = agent_risk
    return utility


def build_mixer(shape: NetworkShape, mixer: str, hidden_dim: int, **options: int) -> nn.Module:
    """The mixer called `mixer` behind state normalisation; `options` are its layer sizes."""
    sizes = (shape.n_agents, shape.n_actions, shape.state_dim, hidden_dim)
    inner = make_mixer(mixer, *sizes, unit_dim=shape.unit_dim, **options)
    return NormalisedMixer(inner, shape.state_dim)
