"""One finished episode of a team, as the runner emits it and the replay stores it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Integer
from numpy import ndarray


@dataclass(slots=True)
class TeamEpisode:
    """A whole episode of L steps; `[L+1, …]` arrays belong to states, `[L, …]` to transitions."""

    obs: Float32[ndarray, "L1 N O"]
    state: Float32[ndarray, "L1 S"]
    avail: Bool[ndarray, "L1 N A"]
    alive: Bool[ndarray, "L1 N"]
    deaths: Integer[ndarray, " L1"]  # agents that died on arrival in each state
    actions: Integer[ndarray, "L N"]
    behaviour_prob: Float32[ndarray, "L N"]
    reward: Float32[ndarray, " L"]
    terminated: bool
    truncated: bool
    outcome: str  # "win", "loss", "draw", "timeout" or "end"
    seed: int
    illegal_actions: int = 0

    def __len__(self) -> int:
        return len(self.reward)

    def env_steps(self) -> int:
        """Team steps played; RLlib counts with this."""
        return len(self.reward)

    def agent_steps(self) -> int:
        """Steps played by agents that were alive."""
        return int(self.alive[:-1].sum())

    def summary(self) -> dict[str, float | int | str | bool | None]:
        """What an evaluation reports of the episode; `won` is None where nothing can be won."""
        deaths = int(self.deaths.sum())
        return {
            "seed": self.seed,
            "return": float(np.sum(self.reward, dtype=np.float64)),
            "length": len(self),
            "outcome": self.outcome,
            "won": None if self.outcome == "end" else self.outcome == "win",
            "deaths": deaths,
            "first_death_step": int(np.argmax(self.deaths > 0)) if deaths else None,
            "survivors": int(self.alive[-1].sum()),
            "illegal_actions": self.illegal_actions,
        }


class EpisodeBundle(NamedTuple):
    """Several episodes as a few long arrays: cheap to send to another process."""

    fields: dict[str, ndarray]  # of all episodes, one after the other
    steps: list[int]  # L of each
    facts: list[dict[str, Any]]  # of each, what is no array

    @classmethod
    def of(cls, episodes: list[TeamEpisode]) -> EpisodeBundle:
        """Put episodes (at least one) together; copies them."""
        names = _OF_STATES + _OF_STEPS
        fields = {n: np.concatenate([getattr(e, n) for e in episodes]) for n in names}
        facts = [{name: getattr(e, name) for name in _FACTS} for e in episodes]
        return cls(fields, [len(e) for e in episodes], facts)

    def episodes(self) -> list[TeamEpisode]:
        """The episodes; their arrays are views of the bundle's."""
        ends = np.cumsum(self.steps)[:-1]
        starts = dict.fromkeys(_OF_STEPS, ends)
        starts |= {name: ends + np.arange(1, len(ends) + 1) for name in _OF_STATES}
        parts = {name: np.split(array, starts[name]) for name, array in self.fields.items()}
        return [
            TeamEpisode(**{name: part[i] for name, part in parts.items()}, **facts)
            for i, facts in enumerate(self.facts)
        ]


_OF_STATES = ("obs", "state", "avail", "alive", "deaths")
_OF_STEPS = ("actions", "behaviour_prob", "reward")
_FACTS = ("terminated", "truncated", "outcome", "seed", "illegal_actions")
