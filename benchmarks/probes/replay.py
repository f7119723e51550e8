"""What an update costs as the replay grows, and how much memory the replay takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.probes.team import (
    connect,
    invented_episode,
    make_config,
    milliseconds,
    train_batch,
    update,
)
from rllib_dbf.replay import EpisodeReplay


def prepare(
    env: str, preset: str, sizes: list[int], seconds: float, seed: int
) -> Callable[[], dict[str, float | None]]:
    """Measures replays that hold different numbers of episodes of 18 steps, or the time limit.

    Returns:
        Figures `sample_ms_E`, `update_ms_E` (sampling included) and `megabytes_E`.
    """
    connect()
    algo: Any = make_config(preset, env, seed, {}).build_algo()
    spec, rng = algo._task_spec(), np.random.default_rng(seed)
    length = min(18, spec.episode_limit)
    episodes = [invented_episode(spec, length, rng) for _ in range(100)]
    replays = {size: EpisodeReplay(size, spec.episode_limit) for size in sizes}
    for size, replay in replays.items():
        for _ in range(size // len(episodes)):
            replay.add(episodes)

    def measure() -> dict[str, float | None]:
        figures: dict[str, float | None] = {}
        for size, replay in replays.items():
            algo.replay = replay
            figures |= {
                f"sample_ms_{size}": milliseconds(lambda: train_batch(algo), seconds / 4),
                f"update_ms_{size}": milliseconds(lambda: update(algo, train_batch(algo)), seconds),
                f"megabytes_{size}": replay.nbytes / 1e6,
            }
        return figures

    algo.replay = replays[sizes[0]]
    for _ in range(3):
        update(algo, train_batch(algo))
    return measure
