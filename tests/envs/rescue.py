"""An RLlib environment whose behaviour follows from the actions."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv


class Rescue(MultiAgentEnv):
    """An RLlib environment of 2 agents and 4 steps: action 1 fails, all at once end the game."""

    def __init__(self, config: dict | None = None) -> None:
        super().__init__()
        self._turns = bool((config or {}).get("turns"))
        self.possible_agents = ["x", "y"]
        self.agents = ["x", "y"]
        self.observation_spaces = dict.fromkeys(self.agents, gym.spaces.Box(-9, 9, (2,)))
        self.action_spaces = dict.fromkeys(self.agents, gym.spaces.Discrete(2))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        """The state is told in the infos."""
        self._time, self._seed, self._alive = 0, (seed or 0) % 5, ["x", "y"]
        return self._show(), self._infos()

    def step(self, actions: dict) -> tuple[dict, dict, dict, dict, dict]:
        """Who plays 1 is gone."""
        assert set(actions) <= set(self._alive)
        self._time += 1
        fails = {a: bool(actions[a]) for a in actions}
        shown, rewards = self._show(), dict.fromkeys(self._alive, 1.0)
        self._alive = [a for a in self._alive if not fails.get(a)]
        terminated = fails | {"__all__": not self._alive}
        truncated = {"__all__": self._time >= 4}
        return shown, rewards, terminated, truncated, self._infos()

    def _show(self) -> dict:
        acting = self._alive[self._time % 2 :][:1] if self._turns else self._alive
        return {a: np.array([self._time, self._seed], np.float32) for a in acting}

    def _infos(self) -> dict:
        return {"__common__": {"state": np.array([self._time, len(self._alive), self._seed])}}
