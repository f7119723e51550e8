"""Time of one update through RLlib's learner group, on real or on invented episodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.child import NotMeasured
from benchmarks.probes.team import (
    collect,
    connect,
    invented_episode,
    make_config,
    milliseconds,
    train_batch,
    update,
)
from rllib_dbf.replay import EpisodeReplay

_BATCHES = 8  # different batches to take turns, since their shapes differ


def prepare(
    env: str,
    preset: str,
    seconds: float,
    seed: int,
    overrides: dict[str, Any],
    lengths: list[int] | None = None,
    gpu: bool = False,
) -> Callable[[], dict[str, float | None]]:
    """Measures updates: `ms`, or `ms_L` for batches of invented episodes, all L steps long.

    Batches are made beforehand; with `gpu` their way to the device counts, or telling it the rows.
    """
    if gpu and not torch.cuda.is_available():
        raise NotMeasured("no CUDA device, or a Torch without CUDA")
    connect()
    config = make_config(preset, env, seed, overrides)
    if gpu:
        config.learners(num_learners=0, num_gpus_per_learner=1)
    algo = config.build_algo()
    batches = {"ms": _real(algo)} if lengths is None else _invented(algo, lengths, seed)
    turns = {key: itertools.cycle(each) for key, each in batches.items()}

    def one(key: str) -> None:
        update(algo, next(turns[key]))
        if gpu:
            torch.cuda.synchronize()

    for key in turns:
        for _ in range(3):
            one(key)
    return lambda: {key: milliseconds(lambda k=key: one(k), seconds) for key in turns}


def _real(algo: Any) -> list[Any]:
    """Batches of episodes played with the first weights."""
    while len(algo.replay) < 2 * algo.config.batch_episodes:
        algo.replay.add(collect(algo))
    return [train_batch(algo) for _ in range(_BATCHES)]


def _invented(algo: Any, lengths: list[int], seed: int) -> dict[str, list[Any]]:
    rng, spec = np.random.default_rng(seed), algo._task_spec()
    batches = {}
    for length in lengths:
        algo.replay = EpisodeReplay(2 * algo.config.batch_episodes, length)
        algo.replay.add([invented_episode(spec, length, rng) for _ in range(algo.replay.capacity)])
        batches[f"ms_{length}"] = [train_batch(algo)]
    return batches
