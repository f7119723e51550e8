"""Start states of SMAX computed in bulk, so that a reset costs no dispatch of its own."""

from __future__ import annotations

from collections import deque

import numpy as np
from jaxtyping import Int
from numpy import ndarray

CHUNK = 128
"""Start states computed together. Always as many, so that there is one compiled function."""

CAPACITY = 2 * CHUNK

_REMEMBERED = 100_000  # announced seeds; more would mean that nobody asks for them


class StartPool:
    """The last `CAPACITY` start states, on the JAX side packed and on the numpy side as shown.

    Args:
        task: The compiled functions of the task (`smax_kernels.Kernels`).
    """

    def __init__(self, task) -> None:
        self._task = task
        self._slot_of: dict[int, int] = {}
        self._seed_in = np.full(CAPACITY, -1, dtype=np.int64)
        self._next = 0
        self._announced: deque[int] = deque(maxlen=_REMEMBERED)
        self._host = np.zeros((task.width, CAPACITY), dtype=np.int32)
        self.packed = task.place(self._host)
        self.obs = self.state = self.avail = np.zeros(0)

    def has(self, seeds: Int[ndarray, " P"]) -> bool:
        """Whether all these seeds can be answered without computing anything."""
        return all(int(seed) in self._slot_of for seed in seeds)

    def slots(self, seeds: Int[ndarray, " P"]) -> Int[ndarray, " P"]:
        """Rows of the start states of these seeds, which must be in the pool."""
        return np.array([self._slot_of[int(seed)] for seed in seeds], dtype=np.int32)

    def announce(self, seeds: Int[ndarray, " P"]) -> None:
        """Seeds to fill up chunks with, in this order."""
        self._announced.extend(int(seed) for seed in seeds)

    def add(self, seeds: Int[ndarray, " P"]) -> None:
        """Compute these start states, at most `CHUNK`, and announced ones while there is room.

        The oldest chunk makes room for them, so the caller must first install the start states
        that it still refers to by row.
        """
        wanted = list(dict.fromkeys(int(seed) for seed in seeds))
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
        self.packed = self._task.place(self._host)
        self.obs[rows], self.state[rows], self.avail[rows] = shown
        self._seed_in[rows] = padded
        self._slot_of = {int(s): row for row, s in enumerate(self._seed_in) if s >= 0}
        self._slot_of.update({int(s): self._next + i for i, s in enumerate(padded)})
        self._next = (self._next + CHUNK) % CAPACITY
