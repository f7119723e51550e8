"""Store of whole episodes: preallocated rows, uniform samples, and a view of the latest K."""

from __future__ import annotations

import mmap
import sys
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray
from numpy.random import Generator
from pyarrow import NativeFile

from rllib_dbf.device_rows import DeviceRows, RowsBatch
from rllib_dbf.episode import STATE_FIELDS, STEP_FIELDS, EpisodeBundle, TeamEpisode
from rllib_dbf.functional.devices import is_wide
from rllib_dbf.team import TeamBatch, TrainBatch, padded_length

# Reserve address space without committing memory: rows cost RAM only once they are written.
_ROWS_AT_ONCE = 4096
_ALIGNMENT = 16  # bytes, of the fields of a row
_MAP_NORESERVE = 0x4000 if sys.platform == "linux" else 0


class _StoredEpisode(NamedTuple):
    rows: np.ndarray  # int64 [L + 1]: where each state of the episode lies
    terminated: bool


class EpisodeReplay:
    """The latest `capacity` episodes, stored row by row: exactly what was played, no padding.

    A row is a record of a state and of the transition from it; an episode owns any L + 1 free
    rows. Row 0 is the padding row: zeros, with action 0 legal. Memory is committed as rows are
    first used.

    Args:
        capacity: Greatest number of episodes kept, at least 1.
        episode_limit: Greatest number of steps of an episode.
        device: Of the learner in this process. For a GPU, batches have room for one of few numbers
            of steps (see `padded_length`), and what is stored is there too if it fits.
    """

    def __init__(
        self,
        capacity: int,
        episode_limit: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.capacity = capacity
        self.episode_limit = episode_limit
        self._device = torch.device(device)
        self._for_gpu = is_wide(self._device)
        self._there: DeviceRows | None = None
        self._records: np.ndarray | None = None  # a structure per row
        self._bytes = np.empty((0, 0), np.uint8)  # of the records
        self._episodes: deque[_StoredEpisode] = deque()
        self._free: list[np.ndarray] = []  # rows given back by evicted episodes
        self._used_rows = 1
        self.episodes_added = 0

    def __len__(self) -> int:
        return len(self._episodes)

    @property
    def stored_steps(self) -> int:
        """Transitions now in the store."""
        return sum(len(e.rows) - 1 for e in self._episodes)

    @property
    def nbytes(self) -> int:
        """Bytes of memory committed to rows."""
        return self._bytes_per_row * self._used_rows

    @property
    def _bytes_per_row(self) -> int:
        return 0 if self._records is None else self._records.itemsize

    def add(self, episodes: EpisodeBundle | list[TeamEpisode]) -> None:
        """Store finished episodes; the oldest make room."""
        if not isinstance(episodes, EpisodeBundle):
            if not episodes:
                return
            episodes = EpisodeBundle.of(episodes)
        # So many at a time that none makes room for one that came with it.
        for i in range(0, len(episodes), self.capacity):
            self._add(episodes.part(i, i + self.capacity))

    def _add(self, bundle: EpisodeBundle) -> None:
        if self._records is None:
            types = {"deaths": np.int16, "actions": _small(bundle.fields["avail"].shape[-1])}
            found = {n: (types.get(n, x.dtype), x.shape[1:]) for n, x in bundle.fields.items()}
            self._allocate(found)
        taken = []
        for length, terminated in zip(bundle.steps, bundle.terminated, strict=True):
            while len(self._episodes) >= self.capacity:
                self._free.append(self._episodes.popleft().rows)
            rows = self._take_rows(length + 1)
            taken.append(rows)
            self._episodes.append(_StoredEpisode(rows, terminated))
        self.episodes_added += len(bundle)
        rows, written = np.concatenate(taken), self._packed(bundle)
        self._bytes[rows] = written
        if self._there is not None:
            self._there.write(rows, written)

    def _packed(self, bundle: EpisodeBundle) -> UInt8[ndarray, "P bytes"]:
        """The rows of episodes; an episode's last has no transition, and zeros in its place."""
        assert self._records is not None
        ends = np.cumsum(np.asarray(bundle.steps) + 1) - 1
        starts_step = np.ones(ends[-1] + 1, np.bool_)
        starts_step[ends] = False
        packed = np.empty(len(starts_step), self._records.dtype)
        for name in STATE_FIELDS:
            packed[name] = bundle.fields[name]
        for name in STEP_FIELDS:
            packed[name][starts_step] = bundle.fields[name]
            packed[name][ends] = 0
        return packed.view(np.uint8).reshape(len(packed), -1)

    def sample(self, n: int, rng: Generator, at_least: int = 0) -> TeamBatch:
        """`n` episodes drawn uniformly without replacement, trimmed to the longest of them.

        Args:
            n: How many.
            rng: Draws them.
            at_least: Steps for which there is to be room anyway.

        Raises:
            ValueError: If fewer than `n` episodes are stored.
        """
        return self._gather(self._draw(n, rng), at_least)

    def latest(self, n: int, at_least: int = 0) -> TeamBatch:
        """The `n` episodes added last (fewer if fewer are stored), oldest of them first.

        Args:
            n: How many.
            at_least: Steps for which there is to be room anyway.
        """
        return self._gather(self._last(n), at_least)

    def train_batch(self, n: int, latest: int, rng: Generator) -> TrainBatch | RowsBatch:
        """`sample` and `latest` (none if that is 0) for an update in this process."""
        last = self._last(latest)
        if self._there is not None:
            drawn = self._draw(n, rng)
            index, _, terminated = self._where(drawn + last)
            return RowsBatch.of(self._there, index, terminated, len(drawn))
        at_least = max((len(e.rows) - 1 for e in last), default=0) if self._for_gpu else 0
        sample = self.sample(n, rng, at_least)
        if not latest:
            return TrainBatch(sample, None)
        at_least = sample.mask.shape[1] if self._for_gpu else 0
        return TrainBatch(sample, self.latest(latest, at_least))

    def _draw(self, n: int, rng: Generator) -> list[_StoredEpisode]:
        if n > len(self):
            raise ValueError(f"asked for {n} episodes, but only {len(self)} are stored")
        return [self._episodes[i] for i in rng.choice(len(self), n, replace=False)]

    def _last(self, n: int) -> list[_StoredEpisode]:
        stored = len(self._episodes)
        return [self._episodes[i] for i in range(max(0, stored - n), stored)]

    def get_state(self) -> dict[str, Any]:
        """Everything stored, compacted to the rows in use."""
        rows = [e.rows for e in self._episodes]
        order = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return {
            "lengths": np.array([len(r) for r in rows], np.int64),
            "terminated": np.array([e.terminated for e in self._episodes], bool),
            "episodes_added": self.episodes_added,
            "fields": {name: self._records[name][order] for name in self._names},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Replace everything stored by what `get_state` returned."""
        self._episodes.clear()
        self._free, self._used_rows = [], 1
        self._records = self._there = None
        self.episodes_added = int(state["episodes_added"])
        if state["fields"]:
            self._allocate({n: (x.dtype, x.shape[1:]) for n, x in state["fields"].items()})
        for name, values in state["fields"].items():
            self._records[name][1 : len(values) + 1] = values
        for length, ended in zip(state["lengths"], state["terminated"], strict=True):
            rows = np.arange(self._used_rows, self._used_rows + int(length))
            self._used_rows += int(length)
            self._episodes.append(_StoredEpisode(rows, bool(ended)))
        self._copy_to_device()

    def _copy_to_device(self) -> None:
        if self._there is not None:
            for start in range(1, self._used_rows, _ROWS_AT_ONCE):
                rows = np.arange(start, min(start + _ROWS_AT_ONCE, self._used_rows))
                self._there.write(rows, self._bytes[rows])

    @property
    def _names(self) -> tuple[str, ...]:
        return () if self._records is None else self._records.dtype.names or ()

    def save(self, to: Path | NativeFile) -> None:
        """Write the store to an uncompressed `.npz` file, or into one that is open."""
        state = self.get_state()
        fields = {f"field/{name}": array for name, array in state.pop("fields").items()}
        np.savez(to, **state, **fields)

    def load(self, source: Path | NativeFile) -> None:
        """Replace everything stored by a file that `save` wrote."""
        with np.load(source) as file:
            fields = {n.removeprefix("field/"): file[n] for n in file if n.startswith("field/")}
            self.set_state(
                {
                    "lengths": file["lengths"],
                    "terminated": file["terminated"],
                    "episodes_added": file["episodes_added"],
                    "fields": fields,
                }
            )

    def _allocate(self, fields: dict[str, tuple[Any, tuple[int, ...]]]) -> None:
        """Reserve rows of fields of these types and shapes."""
        offsets, size = {}, 0
        for name, (kind, shape) in fields.items():
            offsets[name] = size
            bytes_ = np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64))
            size += bytes_ + -bytes_ % _ALIGNMENT
        layout = np.dtype(
            {
                "names": list(fields),
                "formats": list(fields.values()),
                "offsets": list(offsets.values()),
                "itemsize": size,
            }
        )
        rows = self.capacity * (self.episode_limit + 1) + 1
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        memory = mmap.mmap(-1, rows * size, flags=flags)
        self._records = np.frombuffer(memory, layout, count=rows)
        self._bytes = np.frombuffer(memory, np.uint8).reshape(rows, size)
        self._records["avail"][0, ..., 0] = True
        self._there = DeviceRows.of(layout, rows, self._device)

    def _take_rows(self, n: int) -> np.ndarray:
        taken: list[np.ndarray] = []
        missing = n
        while missing and self._free:
            rows = self._free.pop()
            if len(rows) > missing:
                self._free.append(rows[missing:])
                rows = rows[:missing]
            taken.append(rows)
            missing -= len(rows)
        if missing:
            taken.append(np.arange(self._used_rows, self._used_rows + missing))
            self._used_rows += missing
        return np.concatenate(taken) if len(taken) > 1 else taken[0]

    def _where(
        self, episodes: list[_StoredEpisode], at_least: int = 0
    ) -> tuple[Int[ndarray, "E T1"], Int[ndarray, " E"], Bool[ndarray, " E"]]:
        """Rows of the states of episodes, lengths, and which have ended."""
        lengths = np.array([len(e.rows) - 1 for e in episodes])
        longest = max(at_least, int(lengths.max()))
        longest = padded_length(longest) if self._for_gpu else longest
        index = np.zeros((len(episodes), longest + 1), np.int64)
        for i, episode in enumerate(episodes):
            index[i, : len(episode.rows)] = episode.rows
        return index, lengths, np.array([e.terminated for e in episodes])

    def _gather(self, episodes: list[_StoredEpisode], at_least: int = 0) -> TeamBatch:
        index, lengths, terminated = self._where(episodes, at_least)
        mask = np.arange(index.shape[1] - 1) < lengths[:, None]
        ended = np.zeros_like(mask)
        ended[np.arange(len(episodes)), lengths - 1] = terminated
        rows = dict.fromkeys(STATE_FIELDS, index) | dict.fromkeys(
            STEP_FIELDS, np.where(mask, index[:, :-1], 0)
        )
        assert self._records is not None
        parts = {name: torch.from_numpy(self._records[name][i]) for name, i in rows.items()}
        parts["deaths"], parts["actions"] = parts["deaths"].float(), parts["actions"].long()
        flags = {"terminated": torch.from_numpy(ended), "mask": torch.from_numpy(mask)}
        return TeamBatch(**parts, **flags)


def _small(actions: int) -> type[np.generic]:
    """A type that holds the numbers of so many actions."""
    return np.uint8 if actions <= 256 else np.int16
