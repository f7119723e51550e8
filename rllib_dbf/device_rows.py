"""What the replay stores, on a GPU: an update is then told rows and need not be sent them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray
from torch import Tensor

from rllib_dbf.blocks import in_one_block, moved, overwrite
from rllib_dbf.episode import FIELDS, STATE_FIELDS, STEP_FIELDS
from rllib_dbf.team import TeamBatch, TrainBatch

_SHARE = 0.5  # of the free memory that rows may take


class Rows(NamedTuple):
    """Where episodes lie in the store, padded with its row 0."""

    index: Int[Tensor, "B T1"]
    terminated: Bool[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]


class DeviceRows:
    """A copy of the replay's rows on a device, kept up to date as episodes come.

    Args:
        fields: The replay's arrays, a row per state.
        device: Where to.
    """

    def __init__(self, fields: dict[str, ndarray], device: torch.device) -> None:
        self._device = device
        self._fields = {
            name: torch.zeros(array.shape, dtype=_type(array), device=device)
            for name, array in fields.items()
        }
        self._fields["avail"][0, ..., 0] = True

    @classmethod
    def of(cls, fields: dict[str, ndarray], device: torch.device) -> DeviceRows | None:
        """The copy, or None if the device is no GPU, or has no room for all rows there may be."""
        if device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(device)
        wanted = sum(array.nbytes for array in fields.values())
        return cls(fields, device) if wanted <= _SHARE * free else None

    def write(
        self,
        of_states: Int[ndarray, " P"],
        of_steps: Int[ndarray, " M"],
        values: dict[str, ndarray],
    ) -> None:
        """Take over rows of the replay.

        Args:
            of_states: Rows of states.
            of_steps: Rows of transitions.
            values: What stands there, in the order of the rows.
        """
        arrays = [of_states, of_steps, *(values[name] for name in FIELDS)]
        kinds = [torch.int64] * 2 + [self._fields[name].dtype for name in FIELDS]
        shapes = [(x.shape, kind) for x, kind in zip(arrays, kinds, strict=True)]
        here = in_one_block(shapes, pinned=self._device.type == "cuda")
        for to, x in zip(here, arrays, strict=True):
            to.numpy()[...] = x
        states, steps, *there = moved(here, self._device)
        for name, x in zip(FIELDS, there, strict=True):
            self._fields[name].index_copy_(0, states if name in STATE_FIELDS else steps, x)

    def episodes(self, rows: Rows) -> TeamBatch:
        """What lies in rows, on the device."""
        steps = torch.where(rows.mask, rows.index[:, :-1], 0)
        where = dict.fromkeys(STATE_FIELDS, rows.index) | dict.fromkeys(STEP_FIELDS, steps)
        parts = {
            name: self._fields[name].index_select(0, at.flatten()).unflatten(0, at.shape)
            for name, at in where.items()
        }
        parts["deaths"], parts["actions"] = parts["deaths"].float(), parts["actions"].long()
        return TeamBatch(**parts, terminated=rows.terminated, mask=rows.mask)


def _type(array: ndarray) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype


class RowsBatch(NamedTuple):
    """A `TrainBatch` whose episodes are on the device already: here is where."""

    store: DeviceRows
    replay: Rows
    on_policy: Rows | None

    def to(self, device: torch.device) -> RowsBatch:
        """The same, with row numbers on the device."""
        parts = (part and Rows(*moved(part, device)) for part in self[1:])
        return RowsBatch(self.store, *parts)

    def overwrite(self, earlier: RowsBatch) -> None:
        """Put these rows where earlier ones of the same shape lie, which `to` has made."""
        for part, there in zip(self[1:], earlier[1:], strict=True):
            if part is not None:
                overwrite(there, part)

    def episodes(self) -> TrainBatch:
        """The episodes; row numbers have to be on the device."""
        return TrainBatch(*(part and self.store.episodes(part) for part in self[1:]))

    def padded(self) -> RowsBatch:
        """The batch itself: the replay pads for a GPU."""
        return self

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """Which store it is, and of all arrays of both parts."""
        shapes = (tuple(x.shape) for part in self[1:] if part is not None for x in part)
        return (id(self.store),), *shapes
