"""SMAClite in the clothes of SMAC's StarCraft2Env; imported where a battle is made."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
import smaclite  # noqa: F401  # pyright: ignore[reportMissingImports]  (registers its maps)


class Unit(NamedTuple):
    """A unit as far as it is asked for."""

    health: float


class SmacLiteBattle:
    """What `SmacTask` needs, out of SMAClite.

    Args:
        map_name: A map that SMAClite has registered, or "custom" with `map_file`.
        episode_limit: Steps until a battle is cut; SMAClite knows no limit.
        **settings: SMAClite's own, `seed` among them.
    """

    def __init__(self, map_name: str, episode_limit: int, **settings: Any) -> None:
        name = f"smaclite/{map_name}-v0"
        self._env: Any = gymnasium.make(name, disable_env_checker=True, **settings).unwrapped
        self._limit, self._time = episode_limit, 0
        self.n_agents, self.n_enemies = self._env.n_agents, self._env.n_enemies
        self._obs: Any = ()

    def get_env_info(self) -> dict[str, int]:
        """Sizes."""
        return {
            "n_agents": self.n_agents,
            "n_actions": self._env.n_actions,
            "obs_shape": self._env.obs_size,
            "state_shape": self._env.state_size,
            "episode_limit": self._limit,
        }

    def reset(self) -> None:
        """Start a battle."""
        self._time, (self._obs, _) = 0, self._env.reset()

    def step(self, actions: list[int]) -> tuple[float, bool, dict[str, Any]]:
        """Reward, whether the battle is over, and how."""
        self._obs, reward, over, _, shown = self._env.step(actions)
        self._time += 1
        info = {
            "battle_won": bool(shown.get("battle_won", False)),
            "dead_allies": self.n_agents - len(self._env.agents),
            "dead_enemies": self.n_enemies - len(self._env.enemies),
        }
        if self._time >= self._limit and not over:
            over, info["episode_limit"] = True, True
        return float(reward), bool(over), info

    @property
    def agents(self) -> dict[int, Unit]:
        """The team; SMAClite only has the living."""
        return {i: Unit(float(i in self._env.agents)) for i in range(self.n_agents)}

    def get_obs(self) -> tuple[np.ndarray, ...]:
        """What everybody sees."""
        return self._obs

    def get_state(self) -> np.ndarray:
        """The world."""
        return self._env.get_state()

    def get_avail_actions(self) -> list[np.ndarray]:
        """Legal actions."""
        return self._env.get_avail_actions()

    def close(self) -> None:
        """Free everything."""
        self._env.close()
