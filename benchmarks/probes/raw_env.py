"""Env-steps per second of an environment itself: random legal actions, NumPy in and out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from rllib_dbf.compiled.library import SWITCH
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


def prepare(
    env: str, num_envs: list[int], seconds: float, seed: int = 0, compiled: bool = True
) -> Callable[[], dict[str, float | None]]:
    """Measures batches of several sizes, one after the other.

    Without `compiled`, in a process that uses no compiled code: SMAX is then stepped by JAX.

    Returns:
        Figures `steps_per_second_B`, restarts and the choice of actions included, and
        `in_env_B`, per second spent in the environment.
    """
    if not compiled:
        os.environ[SWITCH] = "0"
    players = {n: _Player(make_env(env, n), seed) for n in num_envs}
    for player in players.values():
        player.play(batches=130)

    def measure() -> dict[str, float | None]:
        figures: dict[str, float | None] = {}
        for n, player in players.items():
            wall, in_env = player.play_for(seconds)
            figures |= {f"steps_per_second_{n}": wall, f"in_env_{n}": in_env}
        return figures

    return measure


class _Player:
    """Plays an environment at random; knows how long it waited for it."""

    def __init__(self, env: VectorTeamEnv, seed: int) -> None:
        self.env, self.generator = env, np.random.default_rng(seed)
        self.next_seed, self.in_env = env.num_envs, 0.0
        self.prepared = 0
        everyone = np.ones(env.num_envs, np.bool_)
        self.shown = env.reset(everyone, np.arange(env.num_envs))

    def play_for(self, seconds: float) -> tuple[float, float]:
        """Steps per second of wall time, and of the time spent in the environment."""
        began, played, self.in_env = time.perf_counter(), 0, 0.0
        while time.perf_counter() - began < seconds:
            self.play(batches=20)
            played += 20 * self.env.num_envs
        return played / (time.perf_counter() - began), played / self.in_env

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
        self.next_seed += count
        if self.next_seed > self.prepared:
            first = self.next_seed - count
            self.env.prepare(np.arange(first, first + 128))
            self.prepared = first + 128
        self.shown = self.env.reset(ended, seeds)
