"""Greatest memory of a process while it makes updates."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import NotMeasured
from benchmarks.probes.team import (
    collect,
    connect,
    invented_episode,
    make_config,
    train_batch,
    update,
)
from rllib_dbf.episode import TeamEpisode

_STATUS = Path("/proc/self/status")


def prepare(
    env: str, preset: str, seed: int, overrides: dict[str, Any], longest: bool = False
) -> Callable[[], dict[str, float | None]]:
    """Measures three updates on played episodes, or on invented ones as `longest` as they may be.

    Returns:
        Figures `before_mb` and `peak_mb` of the whole process, `added_mb`, their difference,
        `ms` of an update and `mean_length` of the episodes learnt from.
    """
    if not _STATUS.is_file():
        raise NotMeasured("only Linux tells the peak of a part of a process's life")
    connect()
    algo: Any = make_config(preset, env, seed, overrides).build_algo()
    while len(algo.replay) < algo.config.batch_episodes:
        algo.replay.add(_longest(algo, seed) if longest else collect(algo))

    def measure() -> dict[str, float | None]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now the present size
        before = _megabytes("VmRSS")
        began = time.perf_counter()
        for _ in range(3):
            update(algo, train_batch(algo))
        took = time.perf_counter() - began
        peak = _megabytes("VmHWM")
        return {
            "before_mb": before,
            "peak_mb": peak,
            "added_mb": peak - before,
            "ms": 1e3 * took / 3,
            "mean_length": algo.replay.stored_steps / len(algo.replay),
        }

    return measure


def _longest(algo: Any, seed: int) -> list[TeamEpisode]:
    spec = algo._task_spec()
    return [invented_episode(spec, spec.episode_limit, np.random.default_rng(seed))]


def _megabytes(name: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise NotMeasured(f"{_STATUS} has no {name}")
