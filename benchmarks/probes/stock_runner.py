"""RLlib's own `SingleAgentEnvRunner` on the same batched environment, for comparison.

The team becomes one gymnasium agent: flat observation, MultiDiscrete action, RLlib's default
network. Illegal choices are replaced by legal ones, since stock modules know no masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import ray
from gymnasium.vector import AutoresetMode, VectorEnv
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.registry import register_env

from benchmarks.probes.team import steps_per_second
from rllib_dbf.envs import make_env


class StockTeamVectorEnv(VectorEnv):
    """A batch of teams as a gymnasium vector environment that resets on the next step."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, name: str, num_envs: int) -> None:
        self.team = make_env(name, num_envs)
        self.num_envs = num_envs
        spec = self.team.spec
        size = spec.n_agents * spec.obs_dim
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.single_action_space = gym.spaces.MultiDiscrete([spec.n_actions] * spec.n_agents)
        self.observation_space = gym.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)
        self._rng = np.random.default_rng(0)
        self._ended = np.zeros(num_envs, bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict]:
        step = self._restart(np.ones(self.num_envs, bool))
        return step.obs.reshape(self.num_envs, -1).copy(), {}

    def step(self, actions: np.ndarray) -> tuple:
        legal = np.take_along_axis(self._avail, actions[..., None], axis=-1)[..., 0]
        restarting = self._ended
        step = self.team.step(np.where(legal, actions, self._avail.argmax(axis=-1)))
        ended = (step.terminated | step.truncated) & ~restarting
        terminated, truncated = step.terminated & ended, step.truncated & ended
        reward = np.where(restarting, 0.0, step.reward)
        if restarting.any():
            step = self._restart(restarting)
        self._avail, self._ended = step.avail.copy(), ended
        return step.obs.reshape(self.num_envs, -1).copy(), reward, terminated, truncated, {}

    def _restart(self, mask: np.ndarray) -> Any:
        seeds = self._rng.integers(2**31, size=self.num_envs)
        self.team.prepare(seeds)
        step = self.team.reset(mask, seeds)
        self._avail = step.avail.copy()
        return step


def prepare(
    env: str, num_envs: int, seconds: float, seed: int = 0
) -> Callable[[], dict[str, float | None]]:
    """Measures team steps per second of the stock runner with its default (MLP) module."""
    ray.init(log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    register_env("stock-team", lambda ctx: StockTeamVectorEnv(env, int(ctx["num_envs"])))
    config = (
        PPOConfig()
        .environment("stock-team")
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=num_envs,
            gym_env_vectorize_mode="vector_entry_point",
        )
        .debugging(seed=seed, log_level="ERROR")
    )
    runner = config.build_algo().env_runner
    assert isinstance(runner, SingleAgentEnvRunner)

    def sample() -> int:
        return sum(len(e) for e in runner.sample(num_timesteps=20 * num_envs))

    for _ in range(3):
        sample()
    return lambda: {"steps_per_second": steps_per_second(sample, seconds)}
