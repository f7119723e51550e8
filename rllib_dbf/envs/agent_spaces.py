"""From every agent's own spaces to one row length and one list of actions for the team."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from numpy import ndarray

_OBSERVATION, _MASK = "observation", "action_mask"


class AgentSpaces:
    """Flattens and pads what agents observe, and reads their action masks.

    Args:
        agents: Their names, in the order of the slots.
        observation: Observation space of each; a Dict with "observation" and "action_mask" is
            taken apart.
        action: Action space of each; has to be Discrete.

    Raises:
        ValueError: If an action space is not Discrete; says what to do.
    """

    def __init__(
        self, agents: list[Any], observation: Mapping[Any, Any], action: Mapping[Any, Any]
    ) -> None:
        from gymnasium import spaces

        self.agents = agents
        self._masked = {a: _has_mask(observation[a]) for a in agents}
        self._seen = {
            a: observation[a][_OBSERVATION] if self._masked[a] else observation[a] for a in agents
        }
        self._counts, self._starts = {}, {}
        for agent in agents:
            space = action[agent]
            if not isinstance(space, spaces.Discrete):
                raise ValueError(
                    f"agent {agent!r} has the action space {space}; value factorisation needs a "
                    "Discrete one: choose the environment's discrete version, or map the actions"
                )
            self._counts[agent], self._starts[agent] = int(space.n), int(space.start)
        self.n_actions = max(self._counts.values())
        self._flatten = {
            a: None if isinstance(space, spaces.Box) else partial(spaces.flatten, space)
            for a, space in self._seen.items()
        }
        self._lengths = {a: spaces.flatdim(space) for a, space in self._seen.items()}
        self.obs_dim = max(self._lengths.values())
        self._legal = np.array([np.arange(self.n_actions) < self._counts[a] for a in agents])

    def observe(self, slot: int, shown: Any, row: Float32[ndarray, " O"]) -> None:
        """Write what an agent was shown into its row of zeros.

        Raises:
            ValueError: If that is of another length than its observation space.
        """
        agent = self.agents[slot]
        seen = shown[_OBSERVATION] if self._masked[agent] else shown
        flatten = self._flatten[agent]
        flat = np.asarray(flatten(seen) if flatten else seen, np.float32).ravel()
        if len(flat) != self._lengths[agent]:
            raise ValueError(
                f"agent {agent!r} was shown {len(flat)} numbers, and its observation space has "
                f"{self._lengths[agent]}"
            )
        row[: len(flat)] = flat

    def legal(self, slot: int, shown: Any, info: Mapping[str, Any]) -> Bool[ndarray, " A"]:
        """The agent's legal actions, from its observation, its info, or else all it has.

        Raises:
            ValueError: If a mask has another length than the action space.
        """
        agent = self.agents[slot]
        mask = shown[_MASK] if self._masked[agent] else info.get(_MASK)
        if mask is None:
            return self._legal[slot]
        mask = np.asarray(mask, np.bool_).ravel()
        if len(mask) != self._counts[agent]:
            raise ValueError(
                f"the action mask of agent {agent!r} has {len(mask)} entries for "
                f"{self._counts[agent]} actions"
            )
        return np.pad(mask, (0, self.n_actions - len(mask)))

    def action(self, slot: int, index: int) -> int:
        """The agent's own number for an action."""
        return index + self._starts[self.agents[slot]]


def _has_mask(space: Any) -> bool:
    parts = getattr(space, "spaces", ())
    return isinstance(parts, Mapping) and {_OBSERVATION, _MASK} <= set(parts)
