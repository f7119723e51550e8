"""How the probes make our trainings, samplers and episodes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray

from rllib_dbf.config import DBFConfig
from rllib_dbf.envs import make_env
from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.episode import TeamEpisode
from rllib_dbf.module import TeamRLModule, team_spaces
from rllib_dbf.registration import register
from rllib_dbf.sampler import Sampler
from rllib_dbf.team import TrainBatch


def connect() -> None:
    """Use the suite's Ray, or start one."""
    ray.init(log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    register()


def make_config(preset: str, env: str, seed: int, overrides: dict[str, Any]) -> DBFConfig:
    """A preset's defaults without evaluation, changed where asked for."""
    config = (
        DBFConfig(preset=preset)
        .environment(env)
        .evaluation(evaluation_interval=None)
        .debugging(seed=seed, log_level="ERROR")
    )
    config.update_from_dict(overrides)
    return config


def make_sampler(env_name: str, preset: str, num_envs: int, seed: int) -> Sampler:
    """A sampler with fresh weights that explores in three of ten choices."""
    env = make_env(env_name, num_envs)
    observation, action = team_spaces(env.spec)
    module = TeamRLModule(
        observation_space=observation,
        action_space=action,
        inference_only=True,
        model_config=DBFConfig(preset=preset)._model_config_auto_includes,
    )
    rng = np.random.default_rng(seed)
    return Sampler(env, module, lambda _: 0.3, rng, iter(rng.integers(2**31, size=10**7).tolist()))


def steps_per_second(step: Callable[[], int], seconds: float) -> float:
    """How many steps `step` counts per second of wall time."""
    began, played = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        played += step()
    return played / (time.perf_counter() - began)


def milliseconds(call: Callable[[], Any], seconds: float, at_least: int = 3) -> float:
    """Median time of a call, repeated for some seconds."""
    began, took = time.perf_counter(), []
    while len(took) < at_least or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return 1e3 * statistics.median(took)


def collect(algo: Any) -> Any:
    """The episodes that the algorithm would play next."""
    return algo._prepare()()


def train_batch(algo: Any) -> TrainBatch:
    """What the algorithm would learn from next: replayed and latest episodes."""
    return algo._batches()[0]


def update(algo: Any, batch: TrainBatch) -> None:
    """One update of the algorithm's learner; a GPU may still be at it when this returns."""
    algo.learner_group.update(
        batches=[batch], timesteps={}, episodes_sampled=0, reduce_metrics=False
    )


def invented_episode(spec: TeamSpec, length: int, rng: np.random.Generator) -> TeamEpisode:
    """An episode of noise: where only sizes matter, and the length is to be chosen."""
    n, actions = spec.n_agents, spec.n_actions
    return TeamEpisode(
        obs=rng.standard_normal((length + 1, n, spec.obs_dim), np.float32),
        state=rng.standard_normal((length + 1, spec.state_dim), np.float32),
        avail=np.ones((length + 1, n, actions), bool),
        alive=np.ones((length + 1, n), bool),
        deaths=np.zeros(length + 1, np.int16),
        actions=rng.integers(actions, size=(length, n)).astype(np.int16),
        behaviour_prob=np.full((length, n), 1 / actions, np.float32),
        reward=rng.standard_normal(length, np.float32),
        terminated=True,
        truncated=False,
        outcome="loss",
        seed=0,
    )
