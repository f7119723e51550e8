"""Our QMIX on PettingZoo's simple_spread, through an adapter as small as the task allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.probes import raw_env, training
from rllib_dbf.envs import register_team_env
from rllib_dbf.envs.team_env import TeamSpec, TeamStep, VectorTeamEnv, blank_step

_LIMIT = 25


class SpreadTeamEnv(VectorTeamEnv):
    """A list of simple_spread games: nobody dies, nothing is won, every episode has 25 steps."""

    def __init__(self, num_envs: int) -> None:
        from pettingzoo.mpe import simple_spread_v3

        self.num_envs = num_envs
        self._games = [
            simple_spread_v3.parallel_env(N=3, max_cycles=_LIMIT, continuous_actions=False)
            for _ in range(num_envs)
        ]
        self._names = self._games[0].possible_agents
        self._games[0].reset(seed=0)
        self.spec = TeamSpec(
            n_agents=len(self._names),
            n_actions=int(self._games[0].action_space(self._names[0]).n),
            obs_dim=self._games[0].observation_space(self._names[0]).shape[0],
            state_dim=len(self._games[0].state()),
            episode_limit=_LIMIT,
            noop_action=0,
            reports_deaths=False,
            has_win=False,
        )
        self._shown = blank_step(self.spec, num_envs)
        self._shown.avail[:] = self._shown.alive[:] = True

    def reset(self, mask: np.ndarray, seeds: np.ndarray) -> TeamStep:
        """Start new games where the mask says so."""
        shown = self._copy()
        for i in np.flatnonzero(mask):
            observations, _ = self._games[i].reset(seed=int(seeds[i]))
            self._show(shown, i, observations, 0.0, ended=False)
        return self._keep(shown)

    def step(self, actions: np.ndarray) -> TeamStep:
        """Play one joint action in every game that runs."""
        shown = self._copy()
        for i in np.flatnonzero(~self._shown.truncated):
            chosen = dict(zip(self._names, actions[i].tolist(), strict=True))
            observations, rewards, _, truncations, _ = self._games[i].step(chosen)
            self._show(shown, i, observations, sum(rewards.values()), any(truncations.values()))
        return self._keep(shown)

    def _copy(self) -> TeamStep:
        copied = [part if isinstance(part, tuple) else part.copy() for part in self._shown]
        return TeamStep(*copied)._replace(reward=np.zeros(self.num_envs, np.float32))

    def _show(self, shown: TeamStep, i: Any, seen: Any, reward: float, ended: bool) -> None:
        shown.obs[i] = [seen[name] for name in self._names]
        shown.state[i] = shown.obs[i].ravel()  # as PettingZoo's state(): all observations
        shown.reward[i], shown.truncated[i] = reward, ended

    def _keep(self, shown: TeamStep) -> TeamStep:
        outcome = tuple("end" if ended else "" for ended in shown.truncated)
        self._shown = shown._replace(outcome=outcome)
        return self._shown


def prepare(seconds: float, seed: int, num_envs: int) -> Callable[[], dict[str, float | None]]:
    """Measures training end to end, and the game alone under random actions: `alone`."""
    register_team_env("bench/simple_spread", SpreadTeamEnv)
    overrides = {"num_envs_per_env_runner": num_envs, "min_sample_timesteps_per_iteration": 2_000}
    train = training.prepare("bench/simple_spread", "qmix", seconds, seed, overrides)
    alone = raw_env.prepare("bench/simple_spread", [num_envs], seconds / 2, seed)
    return lambda: train() | {"alone": alone()[f"steps_per_second_{num_envs}"]}
