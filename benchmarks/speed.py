"""Speed and memory of the main job, with its ratios taken within one run.

`./run bench speed` measures on SMAX 3m (or `--map`), medians of `--repeats`:
raw environment, sampling with the QMIX and DBF networks, RLlib's stock runner on the same
environment, one update, training end to end, and the memory of a full replay.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import ray
import torch
from raw_env import measure as measure_raw
from stock_runner import measure_stock

from rllib_dbf.config import DBFConfig
from rllib_dbf.envs import make_env
from rllib_dbf.module import TeamRLModule, team_spaces
from rllib_dbf.registration import register
from rllib_dbf.replay import EpisodeReplay
from rllib_dbf.sampler import Sampler

PRESETS = ("qmix", "dbf")


def make_sampler(env_name: str, preset: str, num_envs: int) -> Sampler:
    env = make_env(env_name, num_envs)
    observation, action = team_spaces(env.spec)
    module = TeamRLModule(
        observation_space=observation,
        action_space=action,
        inference_only=True,
        model_config=DBFConfig(preset=preset)._model_config_auto_includes,
    )
    rng = np.random.default_rng(0)
    return Sampler(env, module, lambda _: 0.3, rng, iter(rng.integers(2**31, size=10**7).tolist()))


def steps_per_second(step: Callable[[], int], seconds: float) -> float:
    began, played = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        played += step()
    return played / (time.perf_counter() - began)


def measure_replay(env_name: str, capacity: int) -> dict[str, float]:
    """Fill the replay with real episodes and time a sample of 32 from it."""
    sampler = make_sampler(env_name, "qmix", 32)
    sampler.epsilon = lambda _: 1.0
    replay = EpisodeReplay(capacity, sampler.env.spec.episode_limit)
    while len(replay) < capacity:
        sampler.step()
        replay.add(sampler.take_finished())
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    for _ in range(100):
        replay.sample(32, rng)
    return {
        "episodes": len(replay),
        "mean_length": round(replay.stored_steps / len(replay), 1),
        "megabytes": round(replay.nbytes / 1e6),
        "sample_of_32_ms": round((time.perf_counter() - began) * 10, 3),
    }


def measure_training(env_name: str, preset: str, steps: int) -> dict[str, float]:
    """Env-steps/s of `train()` after a warm-up, evaluation off, one update per 8 episodes."""
    config = (
        DBFConfig(preset=preset)
        .environment(env_name)
        .evaluation(evaluation_interval=None)
        .debugging(seed=0, log_level="ERROR")
    )
    algo = config.build_algo()
    for _ in range(2):
        results = algo.train()
    first = results["env_runners"]["num_env_steps_sampled_lifetime"]
    updates = results["learners"]["default_policy"]["num_updates_lifetime"]
    began, done = time.perf_counter(), 0
    while done < steps:
        results = algo.train()
        done = results["env_runners"]["num_env_steps_sampled_lifetime"] - first
    seconds = time.perf_counter() - began
    updates = results["learners"]["default_policy"]["num_updates_lifetime"] - updates
    algo.stop()
    return {
        "steps_per_second": round(done / seconds),
        "updates_per_second": round(updates / seconds, 1),
        "steps_per_update": round(done / updates, 1),
    }


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {k: statistics.median(row[k] for row in rows) for k in rows[0]}


def round_of_measurements(args: argparse.Namespace, samplers: dict[str, Sampler]) -> dict[str, Any]:
    """One measurement of everything, one thing after the other."""
    env_name = f"smax/{args.map}"
    row: dict[str, Any] = {
        "raw": measure_raw(args.map, 32, args.seconds)["steps_per_second"],
        "stock": round(measure_stock(env_name, 32, args.seconds)),
    }
    for preset, sampler in samplers.items():
        row[f"sampling_{preset}"] = round(steps_per_second(sampler.step, args.seconds))
        sampler.take_finished()
    for preset in PRESETS:
        training = measure_training(env_name, preset, args.steps)
        row |= {f"training_{preset}_{k}": v for k, v in training.items()}
    row["sampling_of_raw"] = round(row["sampling_qmix"] / row["raw"], 2)
    row["sampling_of_stock"] = round(row["sampling_qmix"] / row["stock"], 1)
    row["training_dbf_of_qmix"] = round(
        row["training_dbf_steps_per_second"] / row["training_qmix_steps_per_second"], 2
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map", default="3m")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each sampling measurement")
    parser.add_argument("--steps", type=int, default=30_000, help="of each training measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="Torch threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    register()
    samplers = {p: make_sampler(f"smax/{args.map}", p, 32) for p in PRESETS}
    for sampler in samplers.values():
        for _ in itertools.repeat(None, 100):
            sampler.step()
    rounds = [round_of_measurements(args, samplers) for _ in range(args.repeats)]
    report = {
        "map": args.map,
        "machine": f"{os.cpu_count()} x {platform.processor() or platform.machine()}",
        "versions": {p: version(p) for p in ("torch", "ray", "jax", "jaxmarl", "numpy")},
        "torch_threads": args.threads,
        "repeats": args.repeats,
        "medians": medians(rounds),
        "replay": measure_replay(f"smax/{args.map}", 5_000),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
