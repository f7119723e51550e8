"""Getting episodes from the runners, and weights to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import ray
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_dbf.config import DBFConfig
from rllib_dbf.episode import EpisodeBundle
from rllib_dbf.runner import TeamEnvRunner


class Collector:
    """Asks the local runner, or all remote ones, for whole episodes.

    Remote runners get the weights with the question and answer with bundles of long arrays: one
    call a runner and collection, because a call costs as much as an update's forward pass.

    Args:
        runners: The training runners.
        learners: Whose weights play.
        config: Says how long a runner may take.
    """

    def __init__(self, runners: EnvRunnerGroup, learners: LearnerGroup, config: DBFConfig) -> None:
        self._runners, self._learners, self._config = runners, learners, config

    def prepare(self, episodes: int, env_steps: int) -> Callable[[], EpisodeBundle | None]:
        """Take the weights as they are now; what is returned plays by them when called.

        Args:
            episodes: How many to play; remote runners share them out and round up.
            env_steps: Team steps sampled so far, which ε follows.

        Returns:
            May be called in another thread while the learner goes on. Its result is None if no
            runner delivered.
        """
        if self._remote:
            # Put once: as an argument it would be sent to every runner anew.
            state = ray.put(self._acting_state(env_steps))
            return lambda: self._play_remotely(episodes, state)
        self.pass_weights_on(env_steps)
        local = cast(TeamEnvRunner, self._runners.local_env_runner)
        return lambda: local.collect(episodes)

    def pass_weights_on(self, env_steps: int) -> None:
        """Give the runners the learner's weights now."""
        local: Any = self._runners.local_env_runner
        if self._remote:
            self._ask("set_state", {"state": self._acting_state(env_steps)})
        elif self._learners.is_local:
            learner: Any = self._learners._learner
            local.module.copy_weights_from(learner.module[DEFAULT_MODULE_ID])
            local.sampler.timestep = float(env_steps)
        else:
            local.set_state(self._acting_state(env_steps))

    def runner_states(self) -> list[dict[str, Any]]:
        """Running episodes, generators and counters of every remote runner.

        RLlib saves those of the local runner, and weights, itself.
        """
        if not self._remote:
            return []
        return self._ask("get_state", {"not_components": [COMPONENT_RL_MODULE]})

    def restore_runners(self, states: list[dict[str, Any]]) -> None:
        """Give what `runner_states` returned to the runners of the same number."""
        present = self._runners.healthy_env_runner_ids()
        for state in states:
            if state["worker_index"] in present:
                self._ask("set_state", {"state": state}, [state["worker_index"]])

    @property
    def _remote(self) -> bool:
        return self._runners.num_remote_env_runners() > 0

    def _acting_state(self, env_steps: int) -> dict[str, Any]:
        component = f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"
        state = self._learners.get_state(components=component, inference_only=True)
        state = state[COMPONENT_LEARNER]
        state[NUM_ENV_STEPS_SAMPLED_LIFETIME] = env_steps
        return state

    def _play_remotely(self, episodes: int, state: ray.ObjectRef) -> EpisodeBundle | None:
        share = -(-episodes // max(1, self._runners.num_healthy_remote_workers()))
        bundles: list[EpisodeBundle] = self._ask("collect", {"num_episodes": share, "state": state})
        return EpisodeBundle.join(bundles) if bundles else None

    def _ask(
        self, method: str, kwargs: dict[str, Any], numbers: list[int] | None = None
    ) -> list[Any]:
        return self._runners.foreach_env_runner(
            method,
            kwargs=kwargs,
            remote_worker_ids=numbers,
            local_env_runner=False,
            timeout_seconds=self._config.sample_timeout_s,
        )
