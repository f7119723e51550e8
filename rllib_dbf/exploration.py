"""How much to explore, and from which seeds to start."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class EpisodeSeeds(Iterator[int]):
    """Endless stream of episode seeds in [0, 2**31)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __next__(self) -> int:
        """The next seed."""
        return int(self.rng.integers(2**31))


class EpsilonSchedule:
    """Piecewise linear ε over lifetime team steps; constant before the first and after the last."""

    def __init__(self, points: float | list) -> None:
        pairs = [(0, points)] if isinstance(points, int | float) else points
        self._steps = [float(step) for step, _ in pairs]
        self._values = [float(value) for _, value in pairs]

    def __call__(self, timestep: float) -> float:
        """ε after `timestep` lifetime team steps."""
        return float(np.interp(timestep, self._steps, self._values))


def never(timestep: float) -> float:
    """Always greedy."""
    return 0.0


def always(timestep: float) -> float:
    """Always random."""
    return 1.0
