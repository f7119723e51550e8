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


@dataclass(slots=True)
class EpisodeBundle:
    """Several episodes as a few long arrays: cheap to send, and to store."""

    fields: dict[str, ndarray]  # of all episodes, one after the other
    steps: list[int]  # L of each
    terminated: list[bool]  # of each

    @classmethod
    def of(cls, episodes: list[TeamEpisode]) -> EpisodeBundle:
        """Put episodes (at least one) together; copies them."""
        fields = {n: np.concatenate([getattr(e, n) for e in episodes]) for n in FIELDS}
        return cls(fields, [len(e) for e in episodes], [e.terminated for e in episodes])

    @classmethod
    def join(cls, bundles: list[EpisodeBundle]) -> EpisodeBundle:
        """All episodes of several bundles (at least one)."""
        if len(bundles) == 1:
            return bundles[0]
        fields = {n: np.concatenate([b.fields[n] for b in bundles]) for n in FIELDS}
        steps = [length for bundle in bundles for length in bundle.steps]
        return cls(fields, steps, [ended for bundle in bundles for ended in bundle.terminated])

    def __len__(self) -> int:
        return len(self.steps)

    def part(self, start: int, stop: int) -> EpisodeBundle:
        """Some of the episodes, as views."""
        stop = min(stop, len(self))
        before, steps = sum(self.steps[:start]), self.steps[start:stop]
        of_steps = slice(before, before + sum(steps))
        of_states = slice(before + start, before + start + sum(steps) + len(steps))
        fields = {name: self.fields[name][of_states] for name in STATE_FIELDS}
        fields |= {name: self.fields[name][of_steps] for name in STEP_FIELDS}
        return EpisodeBundle(fields, steps, self.terminated[start:stop])


STATE_FIELDS = ("obs", "state", "avail", "alive", "deaths")
STEP_FIELDS = ("actions", "behaviour_prob", "reward")
FIELDS = STATE_FIELDS + STEP_FIELDS
