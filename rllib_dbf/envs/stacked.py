"""A batch of tasks that know nothing of batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from rllib_dbf.envs.catalogue import Option
from rllib_dbf.envs.lanes import InlineLane, Lane, LaneCrashedError
from rllib_dbf.envs.process_lane import ProcessLane
from rllib_dbf.envs.team_env import (
    CRASH,
    OUTCOMES,
    TeamStep,
    VectorTeamEnv,
    blank_step,
    copy_step,
    require_legal,
    require_reset_arguments,
)
from rllib_dbf.envs.team_task import FilledStep, TeamTask

STACK_OPTIONS = {
    "vectorisation": Option(
        "list",
        "sub-environments in one process, or in one each",
        ("list", "processes"),
    ),
    "step_timeout": Option(300.0, "seconds until a process that does not answer is ended"),
}


def stacking_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an environment's settings that `StackedTeamEnv` takes."""
    given = {key: settings.get(key, option.default) for key, option in STACK_OPTIONS.items()}
    return given | {"step_timeout": float(given["step_timeout"])}


_CRASHES = 5  # in a row, of one sub-environment, before it is not the simulator's bad luck
_CRASHES_OF_ALL = 2  # in a row, of every one of at least `_MANY`: starting them takes its time
_MANY = 3

logger = logging.getLogger(__name__)


class StackedTeamEnv(VectorTeamEnv):
    """B tasks, each in this process or in one of its own.

    A task in a process of its own that fails, dies or hangs costs its episode: that ends with
    outcome "crash" (truncated; samplers drop it), and the next reset starts a new process. After
    five crashes in a row, or two of each of three or more tasks, `RuntimeError` is raised with the
    last reason.

    Args:
        make: Makes one task; with processes, there.
        num_envs: Number of copies, B.
        vectorisation: "list" or "processes".
        step_timeout: Seconds until a process is taken for hanging.

    Raises:
        RuntimeError: If a process could not make its task.
    """

    def __init__(
        self,
        make: Callable[[], TeamTask],
        num_envs: int,
        vectorisation: str = "list",
        step_timeout: float = 300.0,
    ) -> None:
        self.num_envs = num_envs
        self._lanes: list[Lane] = []
        for _ in range(num_envs):
            alone = vectorisation == "processes"
            self._lanes.append(ProcessLane(make, step_timeout) if alone else InlineLane(make))
        try:
            self.spec = self._lanes[0].spec()
        except BaseException:
            self.close()
            raise
        self._now = blank_step(self.spec, num_envs)
        self._started = np.zeros(num_envs, np.bool_)
        self._crashes = np.zeros(num_envs, np.int64)

    def reset(self, mask: Bool[ndarray, " B"], seeds: Int[ndarray, " B"]) -> TeamStep:
        """Start new episodes where the mask says so.

        Raises:
            RuntimeError: If a sub-environment crashes five times in a row, or each of them twice.
        """
        mask, seeds = np.asarray(mask), np.asarray(seeds)
        require_reset_arguments(mask, seeds, self.num_envs)
        shown = copy_step(self._now)
        rows = np.flatnonzero(mask).tolist()
        for i in rows:
            self._lanes[i].begin_reset(int(seeds[i]))
        words = list(shown.outcome)
        for i in rows:
            words[i] = _put(shown, i, self._reset_again_and_again(i, int(seeds[i])))
        self._started |= mask
        return self._keep(shown, words)

    def _reset_again_and_again(self, i: int, seed: int) -> FilledStep:
        while True:
            try:
                return self._lanes[i].finish()
            except LaneCrashedError as error:
                self._note_crash(i, "could not be reset", error)
                self._lanes[i].begin_reset(seed)

    def step(self, actions: Int[ndarray, "B N"]) -> TeamStep:
        """Play one joint action in every running episode.

        Raises:
            RuntimeError: If a sub-environment was never reset or crashes five times in a row, or
                each of them twice.
        """
        actions = np.asarray(actions)
        if not self._started.all():
            raise RuntimeError("reset every sub-environment before the first step")
        running = ~(self._now.terminated | self._now.truncated)
        require_legal(actions, self._now.avail, running)
        shown = copy_step(self._now)
        shown.reward[:], shown.new_deaths[:] = 0.0, 0
        words, rows = list(shown.outcome), np.flatnonzero(running).tolist()
        for i in rows:
            self._lanes[i].begin_step(actions[i])
        for i in rows:
            try:
                words[i] = _put(shown, i, self._lanes[i].finish())
            except LaneCrashedError as error:
                self._note_crash(i, "lost its episode", error)
                words[i], shown.truncated[i] = OUTCOMES[CRASH], True
            else:
                self._crashes[i] = 0
        return self._keep(shown, words)

    def _note_crash(self, i: int, what: str, error: LaneCrashedError) -> None:
        self._crashes[i] += 1
        logger.warning("sub-environment %d %s: %s", i, what, error)
        all_of_them = self.num_envs >= _MANY and self._crashes.min() >= _CRASHES_OF_ALL
        if self._crashes[i] >= _CRASHES or all_of_them:
            who = "every sub-environment" if all_of_them else f"sub-environment {i}"
            times = _CRASHES_OF_ALL if all_of_them else _CRASHES
            raise RuntimeError(
                f"{who} crashed {times} times in a row; the last time: {error}"
            ) from error

    def _keep(self, shown: TeamStep, words: list[str]) -> TeamStep:
        self._now = shown._replace(outcome=tuple(words))
        return self._now

    def draw(self) -> np.ndarray | None:
        """Sub-environment 0 as its task draws it."""
        return self._lanes[0].draw()

    def close(self) -> None:
        """Close every task."""
        for lane in self._lanes:
            lane.close()
        self._lanes = []


def _put(shown: TeamStep, i: int, step: FilledStep) -> str:
    """Write a task's step into its row; returns the outcome."""
    for name in ("obs", "state", "avail", "alive", "reward", "new_deaths"):
        getattr(shown, name)[i] = getattr(step, name)
    shown.truncated[i] = step.outcome == "timeout"
    shown.terminated[i] = bool(step.outcome) and step.outcome != "timeout"
    return step.outcome
