"""How much to explore, and from which seeds to start."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


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


def correct(
    proposed: Int[ndarray, "B N"],
    greedy: Int[ndarray, "B N"],
    scores: Float[ndarray, "B N A"],
    avail: Bool[ndarray, "B N A"],
    allowed: Bool[ndarray, "B N A"],
    epsilon: float,
) -> tuple[Int[ndarray, "B N"], Float[ndarray, "B N"]]:
    """ε-greedy proposals after correction, and the probability of what is executed.

    A proposal that is not allowed, greedy or explored, gives way to the allowed action of
    greatest score; that action is executed whenever any other proposal is overruled.

    Args:
        proposed: Actions drawn ε-greedily.
        greedy: Available actions of greatest score.
        scores: Of every action, -inf where it is unavailable.
        avail: Available actions.
        allowed: A subset of them, at least one per agent.
        epsilon: Rate with which the proposals explored.
    """
    best = np.where(allowed, scores, -np.inf).argmax(axis=-1)
    kept = np.take_along_axis(allowed, proposed[..., None], axis=-1)[..., 0]
    executed = np.where(kept, proposed, best)
    legal = avail.sum(axis=-1)
    prob = epsilon / legal + (1.0 - epsilon) * (executed == greedy)
    greedy_fails = ~np.take_along_axis(allowed, greedy[..., None], axis=-1)[..., 0]
    overruled = epsilon * (legal - allowed.sum(axis=-1)) / legal + (1.0 - epsilon) * greedy_fails
    return executed, (prob + overruled * (executed == best)).astype(np.float32)
