"""One finished episode of a team, as the runner emits it and the replay stores it."""

from __future__ import annotations

from dataclasses import dataclass

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
