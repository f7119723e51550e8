"""Environments whose dictionaries hold "__all__" (RLlib, MetaDrive), without it."""

from __future__ import annotations

from typing import Any

_ALL, _COMMON = "__all__", "__common__"


class DictsWithAll:
    """Speaks like PettingZoo's ParallelEnv; keeps track of who is still in the game.

    Args:
        env: Has reset(seed=…), step(actions) and possible agents with their spaces.
        possible_agents: All agents.
        spaces: Observation and action space of each agent.
    """

    def __init__(
        self, env: Any, possible_agents: list[Any], spaces: dict[Any, tuple[Any, Any]]
    ) -> None:
        self.env, self.possible_agents, self._spaces = env, possible_agents, spaces
        self.agents: list[Any] = []
        self._state: Any = None

    @property
    def unwrapped(self) -> Any:
        """The environment itself."""
        return self.env

    def observation_space(self, agent: Any) -> Any:
        """Observation space of an agent."""
        return self._spaces[agent][0]

    def action_space(self, agent: Any) -> Any:
        """Action space of an agent."""
        return self._spaces[agent][1]

    def reset(self, seed: int | None = None) -> tuple[dict, dict]:
        """Observations and infos of a new episode."""
        obs, infos = self.env.reset(seed=seed)
        self.agents = [agent for agent in self.possible_agents if agent in obs]
        self._note_state(infos)
        return obs, infos

    def step(self, actions: dict) -> tuple[dict, dict, dict, dict, dict]:
        """As the environment's, with "__all__" spelled out for everybody in the game."""
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        over, cut = terminated.get(_ALL, False), truncated.get(_ALL, False)
        # Who is marked both ways was cut, not ended; "__all__" says nothing of who ended alone.
        own = {a for a in self.agents if terminated.get(a) and not truncated.get(a)}
        late = {a for a in self.agents if (cut or truncated.get(a)) and a not in own}
        terminated = {a: a in own or (over and a not in late) for a in self.agents}
        truncated = {a: a in late for a in self.agents}
        self.agents = [a for a in self.agents if not (terminated[a] or truncated[a] or over or cut)]
        self._note_state(infos)
        return obs, rewards, terminated, truncated, infos

    def _note_state(self, infos: dict) -> None:
        self._state = infos.get(_COMMON, {}).get("state")

    def state(self) -> Any:
        """What the infos call state, for everybody; None if there is no such entry."""
        return self._state

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
