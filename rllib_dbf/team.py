"""The tuples that travel between the parts, and the axis legend.

Axes, always in this order: `B` episodes (or sub-environments), `T` steps, `N` agents,
`A` actions, `K` return quantiles (`K2` of the target), `G` groups (1 for a team value, N for
independent learners), `S` state features, `O` observation features, `H` hidden units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rllib_dbf.blocks import moved, overwrite


class TeamBatch(NamedTuple):
    """Whole episodes as Torch tensors, padded to the longest of them.

    Row `t` of the `[B, T+1, …]` arrays belongs to state s_t (s_0 … s_L are real), row `t` of the
    `[B, T, …]` arrays to the transition s_t → s_{t+1}. Padding is zeros, with one legal action
    per agent so that no maximum is taken over nothing.
    """

    obs: Float[Tensor, "B T1 N O"]
    state: Float[Tensor, "B T1 S"]
    avail: Bool[Tensor, "B T1 N A"]
    alive: Bool[Tensor, "B T1 N"]
    deaths: Float[Tensor, "B T1"]  # agents that died on arrival in s_t
    actions: Int[Tensor, "B T N"]
    behaviour_prob: Float[Tensor, "B T N"]  # probability with which each action was taken
    reward: Float[Tensor, "B T"]
    terminated: Bool[Tensor, "B T"]  # s_{t+1} is a true end: nothing to bootstrap from
    mask: Bool[Tensor, "B T"]  # the transition was played (not padding)

    def padded(self, steps: int) -> TeamBatch:
        """The same episodes with room for so many steps, at least T."""
        missing = steps - self.mask.shape[1]
        if not missing:
            return self
        arrays = (F.pad(x, (0, 0) * (x.dim() - 2) + (0, missing)) for x in self)
        longer = TeamBatch(*arrays)
        longer.avail[:, -missing:, :, 0] = True
        return longer

    def to(self, device: torch.device) -> TeamBatch:
        """The same episodes on another device."""
        return TeamBatch(*moved(self, device))


def padded_length(steps: int) -> int:
    """The least of few lengths that holds so many steps: multiples of 8, of 16 from 33 on, …"""
    unit = max(8, 1 << ((steps - 1).bit_length() - 2))
    return -(-steps // unit) * unit


class TrainBatch(NamedTuple):
    """What one update learns from.

    The two parts never mix: the TD loss sees `replay` only, the barrier `on_policy` only. Networks
    beside the team's learn from either.
    """

    replay: TeamBatch  # sampled uniformly from the episode store
    on_policy: TeamBatch | None  # the latest K episodes; None when no part asks for them

    def to(self, device: torch.device | str) -> TrainBatch:
        """The same batch on another device."""
        if torch.device(device) == self.replay.mask.device:
            return self
        return TrainBatch(*(part and part.to(torch.device(device)) for part in self))

    def overwrite(self, earlier: TrainBatch) -> None:
        """Put this batch where an earlier one of the same shape lies, which `to` has made."""
        for part, there in zip(self, earlier, strict=True):
            if part is not None:
                overwrite(there, part)

    @property
    def steps(self) -> int:
        """Replayed transitions."""
        return int(self.replay.mask.sum())

    def episodes(self) -> TrainBatch:
        """The batch itself; see `RowsBatch`."""
        return self

    def padded(self) -> TrainBatch:
        """Both parts with room for the same number of steps, one of few (see `padded_length`)."""
        steps = padded_length(max(part.mask.shape[1] for part in self if part is not None))
        return TrainBatch(*(part and part.padded(steps) for part in self))

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """Of all arrays of both parts."""
        return tuple(tuple(x.shape) for part in self if part is not None for x in part)


class Utilities(NamedTuple):
    """What the agents say about a joint action; everything a mixer may look at.

    `z` holds return quantiles (K = 1 for expected values); `q_max` is the greatest expected
    utility among the available actions and carries no gradient, None if the mixer's
    `reads_maximum` is False.
    """

    z: Float[Tensor, "B T N K"]
    q_max: Float[Tensor, "B T N"] | None
    actions: Int[Tensor, "B T N"]
    hidden: Float[Tensor, "B T N H"]
