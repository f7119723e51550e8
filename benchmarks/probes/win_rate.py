"""Wall-clock time from the first sample to a win rate."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from benchmarks.probes.team import connect, make_config

_EVALUATIONS = {
    "evaluation_interval": 2,
    "evaluation_duration": 64,
    "evaluation_duration_unit": "episodes",
}


def prepare(
    env: str, preset: str, wins: float, give_up: float, seed: int, overrides: dict[str, Any]
) -> Callable[[], dict[str, float | None]]:
    """Measures one training per call, each with the next seed, until two evaluations in a row win.

    The clock starts when the built algorithm begins to sample, and runs through evaluations and
    through all compilation that first steps cause.

    Args:
        env: Environment.
        preset: Preset.
        wins: Win rate to reach in two successive evaluations of 64 greedy episodes.
        give_up: Seconds after which it counts as not reached.
        seed: Of the first training.
        overrides: Settings of the training.

    Returns:
        Figures `seconds` and `env_steps` (None: not reached), `seconds_evaluating` and
        `last_win_rate`.
    """
    connect()
    seeds = itertools.count(seed)

    def measure() -> dict[str, float | None]:
        config = make_config(preset, env, next(seeds), _EVALUATIONS | overrides)
        algo: Any = config.build_algo()
        try:
            return _train(algo, wins, give_up)
        finally:
            algo.stop()

    return measure


def _train(algo: Any, wins: float, give_up: float) -> dict[str, float | None]:
    began, evaluating, rates = time.perf_counter(), 0.0, [0.0]
    while True:
        results = algo.train()
        took = time.perf_counter() - began
        found = results.get("evaluation", {}).get("env_runners", {})
        if "win_rate" in found:
            rates.append(float(found["win_rate"]))
            evaluating += float(results.get("timers", {}).get("evaluation_iteration", 0.0))
        reached = len(rates) > 2 and min(rates[-2:]) >= wins
        if reached or took > give_up:
            steps = float(results["env_runners"]["num_env_steps_sampled_lifetime"])
            return {
                "seconds": took if reached else None,
                "env_steps": steps if reached else None,
                "seconds_evaluating": evaluating,
                "last_win_rate": rates[-1],
            }
