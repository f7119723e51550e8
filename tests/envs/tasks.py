"""Tiny environments of every kind that the doors take, whose behaviour follows from the actions."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_dbf.envs import EpisodeLostError, TaskStep, TeamSpec

WAIT, DIE, RAISE, KILL, HANG, LOSE = range(6)


class Walk:
    """A task of 2 agents and 5 steps; the actions above make things go wrong."""

    def __init__(self, length: int = 5, dead_sees: float = 0.0, safe: bool = False) -> None:
        self.spec = TeamSpec(2, 6, 3, 6, length, WAIT, True, False, 3)
        self._dead_sees = dead_sees
        self._avail = np.tile(np.arange(6) <= (DIE if safe else LOSE), (2, 1))

    def reset(self, seed: int) -> TaskStep:
        """The observation shows the seed."""
        self._time, self._seed, self._alive = 0, seed, np.ones(2, bool)
        return self._show(0.0)

    def step(self, actions: np.ndarray) -> TaskStep:
        """The reward counts the living."""
        if RAISE in actions:
            raise ZeroDivisionError("a defect of the simulator")
        if KILL in actions:
            os.kill(os.getpid(), signal.SIGKILL)
        if HANG in actions:
            time.sleep(1_000)
        if LOSE in actions:
            raise EpisodeLostError("connection to the game lost")
        self._time += 1
        self._alive = self._alive & (actions != DIE)
        return self._show(float(self._alive.sum()))

    def _show(self, reward: float) -> TaskStep:
        obs = np.full((2, 3), [self._seed % 97, self._time, 1.0])
        obs[~self._alive] = self._dead_sees
        over = "end" if not self._alive.any() else ""
        late = "timeout" if self._time >= self.spec.episode_limit else ""
        alive = self._alive.copy()
        return TaskStep(obs, None, self._avail, alive, reward, None, over or late)


class Pets:
    """A PettingZoo-like parallel environment: 3 agents of unequal spaces, up to 4 steps.

    An agent whose action is its last one terminates; the greatest action of "c" ends the game.
    """

    metadata: dict[str, Any] = {"name": "pets"}  # noqa: RUF012
    possible_agents = ["a", "b", "c"]  # noqa: RUF012
    max_cycles = 4

    def __init__(self, masks: str = "none", has_state: bool = False, respawn: bool = False) -> None:
        self._masks, self._has_state, self._respawn = masks, has_state, respawn
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> gym.Space:
        """Of 1, 2 and 3 numbers."""
        size = ord(agent) - ord("a") + 1
        seen = gym.spaces.Box(-9, 9, (size, 1), np.float64)
        if self._masks != "observation":
            return seen
        mask = gym.spaces.MultiBinary(2 + size)
        return gym.spaces.Dict({"observation": seen, "action_mask": mask})

    def action_space(self, agent: str) -> gym.spaces.Discrete:
        """Of 3, 4 and 5 actions, counted from 1."""
        return gym.spaces.Discrete(3 + ord(agent) - ord("a"), start=1)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        """Everybody sees the seed."""
        self.agents, self._time, self._seed = list(self.possible_agents), 0, (seed or 0) % 7
        return self._show(self.agents), self._infos(self.agents)

    def step(self, actions: dict) -> tuple[dict, dict, dict, dict, dict]:
        """Everybody earns their own action."""
        assert set(actions) == set(self.agents)
        self._time += 1
        over = actions.get("c") == 5
        late = self._time >= self.max_cycles
        before = self.agents
        fails = {a: a != "c" and actions[a] == self.action_space(a).n for a in before}
        terminated = {a: over or fails[a] for a in before}
        truncated = {a: late and not terminated[a] for a in before}
        self.agents = [a for a in before if not (terminated[a] or truncated[a])]
        if self._respawn and "a" not in before:
            self.agents = ["a", *self.agents]
        rewards = {a: float(actions[a]) for a in before}
        return self._show(before), rewards, terminated, truncated, self._infos(before)

    def _show(self, agents: list[str]) -> dict:
        seen = {a: np.full(self._size(a), self._seed + self._time) for a in agents}
        if self._masks != "observation":
            return seen
        return {a: {"observation": seen[a], "action_mask": self._mask(a)} for a in agents}

    def _size(self, agent: str) -> tuple[int, int]:
        return (ord(agent) - ord("a") + 1, 1)

    def _mask(self, agent: str) -> np.ndarray:
        return np.arange(self.action_space(agent).n) > 0

    def _infos(self, agents: list[str]) -> dict:
        return {a: {"action_mask": self._mask(a)} if self._masks == "info" else {} for a in agents}

    def state(self) -> np.ndarray:
        """Two numbers, if asked for."""
        if not self._has_state:
            raise NotImplementedError
        return np.array([[self._time], [self._seed]], np.float64)

    def close(self) -> None:
        """Nothing to free."""


class ParallelEnv:
    """Named like PettingZoo's base class."""


class OwnPets(Pets, ParallelEnv):
    """A class of a user's, recognised by its base class."""
