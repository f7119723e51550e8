"""A team's arrays in memory that two processes share."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy import ndarray

from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.envs.team_task import FilledStep


class SharedRow:
    """Actions in one direction, a step's arrays in the other.

    Args:
        file: Descriptor of a file made by `anonymous_file`; the arrays live in it.
        spec: Sizes.
    """

    def __init__(self, file: int, spec: TeamSpec) -> None:
        n = spec.n_agents
        layout = {
            "actions": ((n,), np.int64),
            "obs": ((n, spec.obs_dim), np.float32),
            "state": ((spec.state_dim,), np.float32),
            "avail": ((n, spec.n_actions), np.bool_),
            "alive": ((n,), np.bool_),
        }
        sizes = {key: _bytes(shape, dtype) for key, (shape, dtype) in layout.items()}
        total = sum(sizes.values())
        if os.fstat(file).st_size < total:
            os.ftruncate(file, total)
        memory = mmap.mmap(file, total)
        self._arrays: dict[str, ndarray] = {}
        offset = 0
        for key, (shape, dtype) in layout.items():
            count = int(np.prod(shape))
            self._arrays[key] = np.frombuffer(memory, dtype, count, offset).reshape(shape)
            offset += sizes[key]

    @property
    def actions(self) -> ndarray:
        """The joint action to play."""
        return self._arrays["actions"]

    def write(self, step: FilledStep) -> tuple[float, int, str]:
        """Store the arrays; returns what is small enough to be sent."""
        for key in ("obs", "state", "avail", "alive"):
            self._arrays[key][...] = getattr(step, key)
        return step.reward, step.new_deaths, step.outcome

    def read(self, rest: tuple[float, int, str]) -> FilledStep:
        """The step that was written; its arrays are views that the next step overwrites."""
        a = self._arrays
        return FilledStep(a["obs"], a["state"], a["avail"], a["alive"], *rest)


def _bytes(shape: tuple[int, ...], dtype: type) -> int:
    """Bytes of an array, rounded up so that the next one is aligned."""
    return -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // 8) * 8


def anonymous_file() -> int:
    """Descriptor of an empty file without a name, in memory where the system offers that."""
    memory = Path("/dev/shm")
    folder = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())
