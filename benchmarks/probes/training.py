"""Training end to end: collecting, storing, learning, passing weights on; no evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.probes.team import connect, make_config


def prepare(
    env: str, preset: str, seconds: float, seed: int, overrides: dict[str, Any]
) -> Callable[[], dict[str, float | None]]:
    """Measures `train()` for some seconds once the first updates are made.

    Returns:
        Figures `steps_per_second`, `updates_per_second` and `steps_per_update`.
    """
    training = Training(env, preset, seed, overrides)
    return lambda: training.measure(seconds)


class Training:
    """An algorithm that has made its first updates, trained for a while whenever asked to."""

    def __init__(self, env: str, preset: str, seed: int, overrides: dict[str, Any]) -> None:
        connect()
        self.algo: Any = make_config(preset, env, seed, overrides).build_algo()
        self.counts = 0, 0  # lifetime env steps and updates
        while not self.counts[1]:
            self.train()

    def train(self) -> None:
        """One iteration."""
        results = self.algo.train()
        steps = results["env_runners"]["num_env_steps_sampled_lifetime"]
        learner = results.get("learners", {}).get("default_policy", {})
        self.counts = int(steps), int(learner.get("num_updates_lifetime", 0))

    def measure(self, seconds: float) -> dict[str, float | None]:
        """Train for some seconds."""
        steps, updates = self.counts
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            self.train()
        took = time.perf_counter() - began
        steps, updates = self.counts[0] - steps, self.counts[1] - updates
        return {
            "steps_per_second": steps / took,
            "updates_per_second": updates / took,
            "steps_per_update": steps / max(1, updates),
        }
