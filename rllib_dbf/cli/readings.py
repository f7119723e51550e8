"""Picks the numbers people look at out of a Tune result; absent ones stay absent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rllib_dbf.cli.experiment import STEPS

EPISODES = {
    "win_rate": "win rate",
    "deaths_mean": "deaths",
    "episode_return_mean": "return",
    "episode_len_mean": "length",
}
LEARNER = {
    "td_loss": "TD loss",
    "barrier_loss": "barrier loss",
    "gradient_conflict_rate": "conflict rate",
    "total_loss": "loss",
}


def flatten(result: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested result with keys such as `env_runners/win_rate`."""
    flat: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def readings(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers to show for a result, by short name; `eval_…` for the greedy evaluation."""
    flat = result if STEPS in result and "env_runners/episode_return_mean" in result else None
    flat = flatten(result) if flat is None else flat
    wanted = {
        "iterations": "training_iteration",
        "steps": STEPS,
        "seconds": "time_total_s",
        "epsilon": "env_runners/epsilon",
        "illegal_actions": "env_runners/illegal_actions",
    }
    wanted |= {name: f"env_runners/{name}" for name in EPISODES}
    wanted |= {f"eval_{name}": f"evaluation/env_runners/{name}" for name in EPISODES}
    wanted |= {name: f"learners/default_policy/{name}" for name in LEARNER}
    found = {name: number(flat.get(key)) for name, key in wanted.items()}
    return {name: value for name, value in found.items() if value is not None}


def number(value: Any) -> float | None:
    """A finite number, or None for whatever else stands there."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def fraction_done(flat: Mapping[str, Any], stop: Mapping[str, Any]) -> float | None:
    """How far a trial is towards the first counter among its stop criteria."""
    counters = ("training_iteration", "time_total_s")
    parts = [
        float(flat[key]) / float(limit)
        for key, limit in stop.items()
        if (key in counters or key.endswith("_lifetime")) and key in flat and limit > 0
    ]
    return min(1.0, max(parts)) if parts else None


def text_of(name: str, value: float) -> str:
    """A reading as people read it: no more digits than mean something."""
    if name.endswith(("win_rate", "conflict_rate")):
        return f"{value:.0%}"
    if name in ("steps", "iterations", "illegal_actions"):
        return f"{value:,.0f}"
    if name in ("epsilon",) or name.endswith("deaths_mean"):
        return f"{value:.2f}"
    if name.endswith("len_mean"):
        return f"{value:.1f}"
    return f"{value:.2f}" if 0.1 <= abs(value) < 10_000 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
