"""The tuples that travel between the parts, and the axis legend.

Axes, always in this order: `B` episodes (or sub-environments), `T` steps, `N` agents,
`A` actions, `K` return quantiles (`K2` of the target), `G` groups (1 for a team value, N for
independent learners), `S` state features, `O` observation features, `H` hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


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

    def block(self, device: torch.device) -> UInt8[Tensor, " bytes"]:
        """All arrays as the bytes of one block, from which they go to a device in one copy.

        It is where they lie if `in_one_block` made them, else new: many copies cost more than
        their bytes do.
        """
        lies_at = self.obs.untyped_storage().data_ptr()
        if all(x.untyped_storage().data_ptr() == lies_at for x in self):
            return whole_block(self.obs)
        new = in_one_block([(x.shape, x.dtype) for x in self], pinned=device.type == "cuda")
        for to, x in zip(new, self, strict=True):
            to.copy_(x)
        return whole_block(new[0])

    def to(self, device: torch.device) -> TeamBatch:
        """The same episodes on another device."""
        block = self.block(device).to(device, non_blocking=True)
        shapes = [(x.shape, x.dtype) for x in self]
        return TeamBatch(*views_of(block, shapes))


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
                whole_block(there.mask).copy_(part.block(there.mask.device), non_blocking=True)

    def padded(self) -> TrainBatch:
        """Both parts with room for the same number of steps, one of few (see `padded_length`)."""
        steps = padded_length(max(part.mask.shape[1] for part in self if part is not None))
        return TrainBatch(*(part and part.padded(steps) for part in self))

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """Of all arrays of both parts."""
        return tuple(tuple(x.shape) for part in self if part is not None for x in part)


_ALIGNMENT = 16  # bytes


def in_one_block(shapes: Sequence[tuple[Sequence[int], torch.dtype]], pinned: bool) -> list[Tensor]:
    """New tensors side by side in one block of memory, so that one copy sends them all.

    Args:
        shapes: Of each, and its type.
        pinned: In page-locked memory, from which a GPU fetches while the processor goes on.
    """
    size = sum(_room(shape, kind) for shape, kind in shapes)
    return views_of(torch.empty(size, dtype=torch.uint8, pin_memory=pinned), shapes)


def views_of(
    block: UInt8[Tensor, " bytes"], shapes: Sequence[tuple[Sequence[int], torch.dtype]]
) -> list[Tensor]:
    """Tensors that lie side by side in a block of memory."""
    starts = accumulate((_room(shape, kind) for shape, kind in shapes), initial=0)
    return [
        block[start : start + math.prod(shape) * kind.itemsize].view(kind).view(*shape)
        for (shape, kind), start in zip(shapes, starts, strict=False)
    ]


def _room(shape: Sequence[int], kind: torch.dtype) -> int:
    size = math.prod(shape) * kind.itemsize
    return size + -size % _ALIGNMENT


def whole_block(x: Tensor) -> UInt8[Tensor, " bytes"]:
    """All bytes of the block in which a tensor lies."""
    return torch.empty(0, dtype=torch.uint8, device=x.device).set_(x.untyped_storage())


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
