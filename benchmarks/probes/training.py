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
    connect()
    algo = make_config(preset, env, seed, overrides).build_algo()
    counts = _counts(algo.train())
    while not counts[1]:
        counts = _counts(algo.train())

    def measure() -> dict[str, float | None]:
        nonlocal counts
        steps, updates = counts
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            counts = _counts(algo.train())
        took = time.perf_counter() - began
        steps, updates = counts[0] - steps, counts[1] - updates
        return {
            "steps_per_second": steps / took,
            "updates_per_second": updates / took,
            "steps_per_update": steps / max(1, updates),
        }

    return measure


def _counts(results: dict[str, Any]) -> tuple[int, int]:
    """Lifetime env steps and updates."""
    steps = results["env_runners"]["num_env_steps_sampled_lifetime"]
    learner = results.get("learners", {}).get("default_policy", {})
    return int(steps), int(learner.get("num_updates_lifetime", 0))
