"""Where one task of a stack lives: in this process, or in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.envs.team_task import EpisodeLostError, FilledStep, TeamTask, fill


class LaneCrashedError(Exception):
    """The episode of a lane is lost; the text says why. A reset starts the lane anew."""


@runtime_checkable
class Lane(Protocol):
    """One task, asked in two halves so that several can work at once."""

    def spec(self) -> TeamSpec:
        """Sizes and facts; waits until the task is there."""
        ...

    def begin_reset(self, seed: int) -> None:
        """Ask for a new episode."""
        ...

    def begin_step(self, actions: Int[ndarray, " N"]) -> None:
        """Ask for a step."""
        ...

    def finish(self) -> FilledStep:
        """What was asked for.

        Raises:
            LaneCrashedError: If the episode is lost.
        """
        ...

    def draw(self) -> ndarray | None:
        """A picture."""
        ...

    def close(self) -> None:
        """Free the task."""
        ...


class Player:
    """A task with who was alive: turns what it shows into rows of a batch.

    Args:
        make: Makes the task.
    """

    def __init__(self, make: Callable[[], TeamTask]) -> None:
        self.task = make()
        self._alive: Bool[ndarray, " N"] | None = None

    def reset(self, seed: int) -> FilledStep:
        """Start an episode."""
        self._alive = None
        return self._filled(self.task.reset(seed))

    def step(self, actions: Int[ndarray, " N"]) -> FilledStep:
        """Play a joint action."""
        return self._filled(self.task.step(actions))

    def draw(self) -> ndarray | None:
        """A picture, if the task makes any."""
        draw = getattr(self.task, "draw", None)
        return draw() if draw else None

    def close(self) -> None:
        """Close the task, if it has something to close."""
        close = getattr(self.task, "close", None)
        if close:
            close()

    def _filled(self, step: Any) -> FilledStep:
        filled = fill(step, self.task.spec, self._alive)
        self._alive = filled.alive
        return filled


class InlineLane:
    """A task in this process. Its errors are shown as they are; only lost episodes are caught.

    Args:
        make: Makes the task.
    """

    def __init__(self, make: Callable[[], TeamTask]) -> None:
        self._player = Player(make)
        self._asked: tuple[str, Any] = ("reset", 0)

    def spec(self) -> TeamSpec:
        """Sizes and facts."""
        return self._player.task.spec

    def begin_reset(self, seed: int) -> None:
        """Note a reset."""
        self._asked = ("reset", seed)

    def begin_step(self, actions: Int[ndarray, " N"]) -> None:
        """Note a step."""
        self._asked = ("step", np.array(actions))

    def finish(self) -> FilledStep:
        """Do what was asked for.

        Raises:
            LaneCrashedError: If the task lost the episode.
        """
        what, argument = self._asked
        try:
            return getattr(self._player, what)(argument)
        except EpisodeLostError as error:
            raise LaneCrashedError(str(error)) from error

    def draw(self) -> ndarray | None:
        """A picture."""
        return self._player.draw()

    def close(self) -> None:
        """Free the task."""
        self._player.close()
