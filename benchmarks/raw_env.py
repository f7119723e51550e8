"""How many environment steps per second SMAX itself makes, numpy conversion included.

`python benchmarks/raw_env.py --map 3m --num-envs 32 --seconds 5` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from rllib_dbf.envs import VectorTeamEnv, make_env


def random_legal_actions(avail: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One action per row of `avail`, uniform over its legal ones.

    Args:
        avail: Legal actions, bool [B, N, A].
        generator: Where the numbers come from.
    """
    counts = np.cumsum(avail, axis=-1, dtype=np.int32)  # [B, N, A]
    rank = (generator.random(avail.shape[:-1]) * counts[..., -1]).astype(np.int32)
    return np.argmax(counts > rank[..., None], axis=-1)


def measure(map: str, num_envs: int, seconds: float) -> dict[str, Any]:
    """Play random legal actions for some seconds, restarting every episode that ends.

    Args:
        map: SMAX map ("3m") or full name of any environment ("toy/pit_corridor").
        num_envs: Number of sub-environments.
        seconds: How long to measure, after a warm-up that compiles everything.

    Returns:
        Environment steps per second of wall time and per second of processor time, the share of
        either spent in `step` alone, and the counts behind them.
    """
    name = map if "/" in map else f"smax/{map}"
    began = time.perf_counter()
    env = make_env(name, num_envs)
    player = _Player(env)
    player.play(batches=130)
    warm_up = time.perf_counter() - began
    wall, cpu, batches = time.perf_counter(), time.process_time(), 0
    player.in_env, player.episodes = 0.0, 0
    while time.perf_counter() - wall < seconds:
        player.play(batches=20)
        batches += 20
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    env.close()
    steps = batches * num_envs
    return {
        "env": name,
        "num_envs": num_envs,
        "steps_per_second": round(steps / wall),
        "steps_per_cpu_second": round(steps / cpu),
        "steps_per_second_in_env": round(steps / player.in_env),
        "steps": steps,
        "episodes": player.episodes,
        "wall_seconds": round(wall, 3),
        "cpu_seconds": round(cpu, 3),
        "warm_up_seconds": round(warm_up, 3),
    }


class _Player:
    """Plays an environment at random; knows how long it waited for it."""

    def __init__(self, env: VectorTeamEnv) -> None:
        self.env, self.generator = env, np.random.default_rng(0)
        self.next_seed, self.in_env, self.episodes = env.num_envs, 0.0, 0
        self.prepared = 0
        everyone = np.ones(env.num_envs, np.bool_)
        self.shown = env.reset(everyone, np.arange(env.num_envs))

    def play(self, batches: int) -> None:
        """Step the batch some times."""
        for _ in range(batches):
            actions = random_legal_actions(self.shown.avail, self.generator)
            began = time.perf_counter()
            self.shown = self.env.step(actions)
            ended = self.shown.terminated | self.shown.truncated
            if ended.any():
                self._restart(ended)
            self.in_env += time.perf_counter() - began

    def _restart(self, ended: np.ndarray) -> None:
        """New seeds for the sub-environments whose episodes ended."""
        count = int(ended.sum())
        seeds = np.zeros(self.env.num_envs, np.int64)
        seeds[ended] = self.next_seed + np.arange(count)
        self.next_seed, self.episodes = self.next_seed + count, self.episodes + count
        if self.next_seed > self.prepared:
            first = self.next_seed - count
            self.env.prepare(np.arange(first, first + 128))
            self.prepared = first + 128
        self.shown = self.env.reset(ended, seeds)


def main() -> None:
    """Measure what the command line asks for and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map", default="3m")
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    print(json.dumps(measure(given.map, given.num_envs, given.seconds)))


if __name__ == "__main__":
    main()
