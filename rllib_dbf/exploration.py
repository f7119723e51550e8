"""How much to explore, and from which seeds to start."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import c_double, c_int64
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from rllib_dbf.compiled import library


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


class Exploration(NamedTuple):
    """What agents do who explore."""

    explores: Bool[ndarray, "B N"]
    action: Int[ndarray, "B N"]  # of everybody, should it explore
    probabilities: Float[ndarray, "B N A"] | None  # drawn from; None for uniform over available


def draw_exploration(
    avail: Bool[ndarray, "B N A"],
    epsilon: float,
    rng: np.random.Generator,
    probabilities: Float[ndarray, "B N A"] | None = None,
) -> Exploration | None:
    """Which agents explore, an independent coin each, and an available action for all.

    Drawn from `probabilities`, or uniformly. None, and nothing drawn, where ε is 0.
    """
    if epsilon <= 0.0:
        return None
    coin = rng.random((2, *avail.shape[:-1]))
    if probabilities is None:
        pick = (coin[1] * avail.sum(axis=-1)).astype(np.int64)
        action = (avail.cumsum(axis=-1) <= pick[..., None]).sum(axis=-1)
    else:
        below = probabilities.cumsum(axis=-1)
        # Of the sum, which rounding keeps from being 1; never past the last action possible.
        action = (below <= (coin[1] * below[..., -1])[..., None]).sum(axis=-1)
    return Exploration(coin[0] < epsilon, action, probabilities)


def epsilon_greedy(
    greedy: Int[ndarray, "B N"],
    avail: Bool[ndarray, "B N A"],
    exploration: Exploration | None,
    epsilon: float,
) -> tuple[Int[ndarray, "B N"], Float[ndarray, "B N"]]:
    """Actions of agents that explore or act greedily, and the probability of each."""
    if exploration is None:
        return greedy, np.ones(greedy.shape, np.float32)
    actions = np.where(exploration.explores, exploration.action, greedy)
    if exploration.probabilities is None:
        drawn = 1.0 / avail.sum(axis=-1)
    else:
        chosen = np.take_along_axis(exploration.probabilities, actions[..., None], axis=-1)
        drawn = chosen.squeeze(-1)
    prob = epsilon * drawn + (1.0 - epsilon) * (actions == greedy)
    return actions, prob.astype(np.float32)


def choose(
    scores: Float[ndarray, "B N A"],
    avail: Bool[ndarray, "B N A"],
    epsilon: float,
    rng: np.random.Generator,
) -> tuple[Int[ndarray, "B N"], Float[ndarray, "B N"]]:
    """What `epsilon_greedy` makes of the available actions of greatest score.

    The same draws and numbers as by `draw_exploration`, in compiled code where there is any.
    """
    functions = library.library().functions
    fitting = scores.shape == avail.shape and (scores.dtype, avail.dtype) == (np.float32, np.bool_)
    if functions is None or not fitting:
        greedy = np.where(avail, scores, -np.inf).argmax(axis=-1)
        exploration = draw_exploration(avail, epsilon, rng)
        return epsilon_greedy(greedy, avail, exploration, epsilon)
    shape, n_actions = avail.shape[:-1], avail.shape[-1]
    coins = rng.random((2, *shape)) if epsilon > 0.0 else None
    actions, prob = np.empty(shape, np.int64), np.empty(shape, np.float32)
    given = np.ascontiguousarray(scores), np.ascontiguousarray(avail)
    functions.choose(
        *(c_int64(actions.size), c_int64(n_actions), *map(library.pointer, given)),
        *(c_double(epsilon), *map(library.pointer, (coins, actions, prob))),
    )
    return actions, prob
