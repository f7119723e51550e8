"""Start states of SMAX computed in bulk, so that a reset costs no dispatch of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

CHUNK = 128
"""Start states computed together. Always as many, so that there is one compiled function."""

CAPACITY = 2 * CHUNK

_REMEMBERED = 100_000  # announced seeds; more would mean that nobody asks for them


class StartPool:
    """The last `CAPACITY` start states, packed for the simulator and in numpy as shown.

    Args:
        task: The compiled functions of the task (`smax_kernels.Kernels`).
        place: Makes of packed start states [W, C] what the simulator takes.
    """

    def __init__(self, task: Any, place: Callable[[Int[ndarray, "W C"]], Any]) -> None:
        self._task, self._place = task, place
        self._slot_of: dict[int, int] = {}
        self._seed_in = np.full(CAPACITY, -1, dtype=np.int64)
        self._next = 0
        self._announced: deque[int] = deque(maxlen=_REMEMBERED)
        self._host = np.zeros((task.width, CAPACITY), dtype=np.int32)
        self.packed = place(self._host)
        self.obs = self.state = self.avail = np.zeros(0)

    def slots(self, seeds: Int[ndarray, " P"]) -> Int[ndarray, " P"]:
        """Rows of the start states of these seeds; -1 for those that are not in the pool."""
        found = [self._slot_of.get(seed, -1) for seed in seeds.tolist()]
        return np.array(found, dtype=np.int32)

    def announce(self, seeds: Int[ndarray, " P"]) -> None:
        """Seeds to fill up chunks with, in this order."""
        self._announced.extend(seeds.tolist())

    def add(self, seeds: Int[ndarray, " P"]) -> None:
        """Compute these start states, at most `CHUNK`, and announced ones while there is room.

        The oldest chunk makes room for them, so the caller must first install the start states
        that it still refers to by row.
        """
        wanted = list(dict.fromkeys(seeds.tolist()))
        known = {*self._slot_of, *wanted}
        while self._announced and len(wanted) < CHUNK:
            seed = self._announced.popleft()
            if seed not in known:
                wanted.append(seed)
                known.add(seed)
        padded = np.resize(np.array(wanted, np.uint32), CHUNK)
        packed, *shown = (np.asarray(part) for part in self._task.start(padded))
        if not self.obs.size:
            self.obs, self.state, self.avail = (
                np.zeros((CAPACITY, *part.shape[1:]), part.dtype) for part in shown
            )
        rows = slice(self._next, self._next + CHUNK)
        self._host = self._host.copy()  # JAX may share the memory of the array it was given
        self._host[:, rows] = packed
        self.packed = self._place(self._host)
        self.obs[rows], self.state[rows], self.avail[rows] = shown
        self._seed_in[rows] = padded
        self._slot_of = {s: row for row, s in enumerate(self._seed_in.tolist()) if s >= 0}
        self._slot_of.update({s: self._next + i for i, s in enumerate(padded.tolist())})
        self._next = (self._next + CHUNK) % CAPACITY
