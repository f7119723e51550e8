"""What the replay stores, on a GPU: an update is then told rows and need not be sent them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray
from torch import Tensor

from rllib_dbf.episode import STEP_FIELDS
from rllib_dbf.team import TeamBatch, TrainBatch

_SHARE = 0.5  # of the free memory that rows may take


class DeviceRows:
    """A copy of the replay's rows on a device, kept up to date as episodes come.

    Args:
        layout: Type of a row, a structure whose fields are aligned.
        rows: Greatest number of them; row 0 is the padding row.
        device: Where to.
    """

    def __init__(self, layout: np.dtype, rows: int, device: torch.device) -> None:
        self._layout, self._device = layout, device
        self._bytes = torch.zeros(rows, layout.itemsize, dtype=torch.uint8, device=device)
        self._field(self._bytes, "avail")[0, ..., 0] = True

    @classmethod
    def of(cls, layout: np.dtype, rows: int, device: torch.device) -> DeviceRows | None:
        """The copy, or None if the device is no GPU, or has no room for all rows there may be."""
        if device.type != "cuda":
            return None
        torch.cuda.empty_cache()  # what an earlier copy took is free
        free, _ = torch.cuda.mem_get_info(device)
        return cls(layout, rows, device) if rows * layout.itemsize <= _SHARE * free else None

    def write(self, rows: Int[ndarray, " P"], records: UInt8[ndarray, "P bytes"]) -> None:
        """Take over rows of the replay: their numbers, and what stands there."""
        numbers = _pinned(rows, self._device).to(self._device, non_blocking=True)
        self._bytes.index_copy_(
            0, numbers, _pinned(records, self._device).to(self._device, non_blocking=True)
        )

    def episodes(self, index: Int[Tensor, "B T1"]) -> dict[str, Tensor]:
        """What lies in rows, by field; those of transitions have a row less."""
        records = self._bytes.index_select(0, index.flatten()).unflatten(0, index.shape)
        found = {name: self._field(records, name) for name in self._layout.names or ()}
        for name in STEP_FIELDS:
            found[name] = found[name][:, :-1]
        return found

    def _field(self, records: UInt8[Tensor, "*L bytes"], name: str) -> Tensor:
        kind, start = (self._layout.fields or {})[name][:2]
        part = records[..., start : start + kind.itemsize]
        sample = torch.from_numpy(np.empty(0, kind.base))
        return part.view(sample.dtype).view(*records.shape[:-1], *kind.shape)


def _pinned(array: ndarray, device: torch.device) -> Tensor:
    """In page-locked memory, from which a GPU fetches while the processor goes on."""
    if device.type != "cuda":
        return torch.from_numpy(array)
    pinned = torch.empty(array.shape, dtype=torch.from_numpy(array[:0]).dtype, pin_memory=True)
    pinned.numpy()[...] = array
    return pinned


class RowsBatch(NamedTuple):
    """A `TrainBatch` whose episodes are on the device already: here is where.

    An episode is a row of `told`: whether it has ended, and the numbers of its rows in the store,
    padded with 0. The replayed come first, the latest after them.
    """

    store: DeviceRows
    told: Int[Tensor, "E T1+1"]
    replayed: int

    @classmethod
    def of(
        cls,
        store: DeviceRows,
        index: Int[ndarray, "E T1"],
        terminated: Bool[ndarray, " E"],
        replayed: int,
    ) -> RowsBatch:
        """Put rows and ends of episodes together."""
        told = np.concatenate([terminated[:, None], index], axis=1, dtype=np.int64)
        return cls(store, torch.from_numpy(told), replayed)

    @property
    def steps(self) -> int:
        """Replayed transitions."""
        return int(torch.count_nonzero(self.told[: self.replayed, 2:]))

    def to(self, device: torch.device) -> RowsBatch:
        """The same, with row numbers on the device."""
        return self._replace(told=_pinned(self.told.numpy(), device).to(device, non_blocking=True))

    def overwrite(self, earlier: RowsBatch) -> None:
        """Put these rows where earlier ones of the same shape lie, which `to` has made."""
        told = _pinned(self.told.numpy(), earlier.told.device)
        earlier.told.copy_(told, non_blocking=True)

    def episodes(self) -> TrainBatch:
        """The episodes; row numbers have to be on the device."""
        ended, index = self.told[:, :1] > 0, self.told[:, 1:]
        mask = index[:, 1:] > 0
        last = mask & ~torch.nn.functional.pad(mask[:, 1:], (0, 1))
        found = self.store.episodes(index) | {"mask": mask, "terminated": last & ended}
        found["deaths"], found["actions"] = found["deaths"].float(), found["actions"].long()
        parts = (slice(self.replayed), slice(self.replayed, None))
        replay, latest = (TeamBatch(**{n: x[part] for n, x in found.items()}) for part in parts)
        return TrainBatch(replay, latest if len(latest.mask) else None)

    def padded(self) -> RowsBatch:
        """The batch itself: the replay pads for a GPU."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Which store it is, and of all episodes."""
        return id(self.store), self.replayed, *self.told.shape
