"""RLlib's view of the sampler: an EnvRunner that plays a batch of teams."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
import torch
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core import (
    COMPONENT_RL_MODULE,
    DEFAULT_AGENT_ID,
    DEFAULT_MODULE_ID,
)
from ray.rllib.env import INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils import force_list
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    WEIGHTS_SEQ_NO,
)

from rllib_dbf.config import DBFConfig
from rllib_dbf.envs import make_env
from rllib_dbf.envs.team_env import TeamSpec, VectorTeamEnv
from rllib_dbf.episode import EpisodeBundle, TeamEpisode
from rllib_dbf.evaluation import play_episodes
from rllib_dbf.exploration import EpisodeSeeds, EpsilonSchedule, always, never
from rllib_dbf.metrics import log_episodes
from rllib_dbf.module import TeamRLModule, team_spaces
from rllib_dbf.sampler import Sampler

_NO_LONGER_PLAYED = -1  # index for callbacks: the sub-environment plays another episode by then
_EVALUATION_STREAM = 1_000_003  # keeps evaluation seeds apart from training seeds


class TeamEnvRunner(EnvRunner, Checkpointable):
    """Plays `num_envs_per_env_runner` teams at once and returns whole episodes.

    Training keeps unfinished episodes for the next call; evaluation plays exactly the episodes
    asked for, each from its own seed, and drops none.
    """

    config: DBFConfig
    module: TeamRLModule
    env: VectorTeamEnv | None

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        if (self.worker_index or 0) > 0:
            torch.set_num_threads(1)
        self._spaces = kwargs.get("spaces")
        self._callbacks = [cls() for cls in force_list(self.config.callbacks_class)]
        self._weights_seq_no = 0
        self.num_envs = self.config.num_envs_per_env_runner
        self.sampler: Sampler | None = None
        self._recent: deque[TeamEpisode] = deque(
            maxlen=self.config.metrics_num_episodes_for_smoothing
        )
        self._new_episodes: list[TeamEpisode] = []
        self._new_steps = 0
        self._evaluations = 0
        self._is_new = not self.config.in_evaluation  # has neither played nor been told a state
        has_env = bool(self.worker_index) or self.config.num_env_runners == 0
        if has_env or self.config.create_env_on_local_worker:
            self.make_env()
        self.make_module()
        if self.env is not None:
            self._make_sampler()

    def make_env(self) -> None:
        """Build the batch of sub-environments, closing an earlier one."""
        if self.env is not None:
            self.env.close()
        self.env = make_env(self.config.env, self.num_envs, **self.config.env_config)
        self._call_back("on_environment_created", env=self.env, env_context=self.config.env_config)

    def _call_back(self, which: str, **more: Any) -> None:
        """Call the user's callbacks of this name."""
        make_callback(
            which,
            callbacks_objects=self._callbacks,
            callbacks_functions=getattr(self.config, f"callbacks_{which}"),
            kwargs={"env_runner": self, "metrics_logger": self.metrics, **more},
        )

    def make_module(self) -> None:
        """Build the acting part of the team's module."""
        spec = self.config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module = spec.build()

    def get_spaces(self) -> dict[str, Any] | None:
        """Team spaces, as RLlib asks for them."""
        if self.env is None:
            return self._spaces
        spaces = team_spaces(self.env.spec)
        return {INPUT_ENV_SPACES: spaces, DEFAULT_MODULE_ID: spaces}

    @property
    def spec(self) -> TeamSpec:
        """Facts of the task; only a runner with an environment knows them."""
        if self.env is None:
            raise RuntimeError("this team runner has no environment")
        return self.env.spec

    def assert_healthy(self) -> None:
        """Raise if the runner cannot sample."""
        if self.module is None:
            raise RuntimeError("the team runner has no module")

    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[TeamEpisode]:
        """Play until the given number of episodes (or team steps) is finished.

        Args:
            num_timesteps: Play at least so many team steps; returns what finished meanwhile.
            num_episodes: Return exactly so many episodes.
            explore: False plays greedily; None follows the configuration.
            random_actions: Play uniformly random legal actions.
            force_reset: Abandon running episodes first.
        """
        explore = self.config.explore if explore is None else explore
        if self.config.in_evaluation:
            episodes = self._evaluate(num_episodes, num_timesteps, explore)
        else:
            episodes = self._train(
                num_episodes, num_timesteps, explore, random_actions, force_reset
            )
        self._new_episodes += episodes
        for episode in episodes:
            told = {"episode": episode, "prev_episode_chunks": [], "env_index": _NO_LONGER_PLAYED}
            told |= {"env": self.env, "rl_module": self.module}
            self._call_back("on_episode_end", **told)
        self._call_back("on_sample_end", samples=episodes)
        return episodes

    def collect(self, num_episodes: int, state: dict[str, Any] | None = None) -> EpisodeBundle:
        """`set_state` and `sample` in one call, with the episodes put together for the journey."""
        if state is not None:
            self.set_state(state)
        return EpisodeBundle.of(self.sample(num_episodes=num_episodes))

    def _train(
        self,
        num_episodes: int | None,
        num_timesteps: int | None,
        explore: bool,
        random_actions: bool,
        force_reset: bool,
    ) -> list[TeamEpisode]:
        self._is_new = False
        sampler = self._with_exploration(explore, random_actions)
        if force_reset:
            sampler.abandon()
        if num_timesteps is None and num_episodes is None:
            num_episodes = self.num_envs
        played = 0
        while (num_episodes is not None and len(sampler.finished) < num_episodes) or (
            num_timesteps is not None and played < num_timesteps
        ):
            played += sampler.step()
        self._new_steps += played
        return sampler.take_finished(num_episodes)

    def _evaluate(
        self, num_episodes: int | None, num_timesteps: int | None, explore: bool
    ) -> list[TeamEpisode]:
        rng = np.random.default_rng(self._entropy(_EVALUATION_STREAM + self._evaluations))
        self._evaluations += 1
        epsilon = self._epsilon_of_now() if explore else never
        episodes: list[TeamEpisode] = []
        wanted = num_episodes if num_timesteps is None else self.num_envs
        while not episodes or (num_timesteps and _steps(episodes) < num_timesteps):
            seeds = rng.choice(2**31, size=wanted, replace=False).tolist()
            episodes += play_episodes(self.env, self.module, seeds, epsilon, rng)
        self._new_steps += _steps(episodes)
        return episodes

    def _epsilon_of_now(self) -> Callable[[float], float]:
        """ε where training is, of which evaluation has been told; it is not annealed meanwhile."""
        assert self.sampler is not None
        now = self._epsilon_schedule()(self.sampler.timestep)
        return lambda _: now

    def _with_exploration(self, explore: bool, random_actions: bool) -> Sampler:
        assert self.sampler is not None
        if random_actions:
            self.sampler.epsilon = always
        else:
            self.sampler.epsilon = self._epsilon_schedule() if explore else never
        return self.sampler

    def _make_sampler(self, *begun: int) -> None:
        rng = np.random.default_rng([*self._entropy(0), *begun])
        self._seeds = EpisodeSeeds(rng.spawn(1)[0])
        self.sampler = Sampler(
            self.env,
            self.module,
            self._epsilon_schedule(),
            rng,
            self._seeds,
            record_proposed=self.config.learn_from == "proposed",
        )
        self.sampler.timestep_scale = float(max(1, self.config.num_env_runners))

    def _entropy(self, stream: int) -> list[int]:
        seed = self.config.seed
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        return [seed, self.worker_index or 0, stream]

    def _epsilon_schedule(self) -> Callable[[float], float]:
        return EpsilonSchedule(self.config.epsilon)

    def get_metrics(self) -> dict[str, Any]:
        """Metrics since the last call: counts of what was played, means over recent episodes."""
        episodes, self._new_episodes = self._new_episodes, []
        self._recent.extend(episodes)
        shown = episodes if self.config.in_evaluation else list(self._recent)
        steps, self._new_steps = self._new_steps, 0
        agent_steps = sum(e.agent_steps() for e in episodes)
        log = self.metrics.log_value
        for key, value in (
            (NUM_ENV_STEPS_SAMPLED, steps),
            (NUM_EPISODES, len(episodes)),
            ((NUM_AGENT_STEPS_SAMPLED, DEFAULT_AGENT_ID), agent_steps),
        ):
            log(key, value, reduce="sum")
        # RLlib looks at the speed of evaluating where it is to take as long as training.
        key = NUM_ENV_STEPS_SAMPLED_LIFETIME
        log(key, steps, reduce="lifetime_sum", with_throughput=True)
        for key, value in (
            (NUM_EPISODES_LIFETIME, len(episodes)),
            ((NUM_AGENT_STEPS_SAMPLED_LIFETIME, DEFAULT_AGENT_ID), agent_steps),
        ):
            log(key, value, reduce="lifetime_sum")
        log_episodes(self.metrics, shown, has_win=self.env.spec.has_win if self.env else True)
        if self.sampler is not None and not self.config.in_evaluation:
            log("epsilon", self.sampler.epsilon(self.sampler.timestep), window=1)
            crashed, self.sampler.crashed = self.sampler.crashed, 0
            log("crashed_episodes", crashed, reduce="lifetime_sum")
        return self.metrics.reduce()

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Weights, counters, and (where the env allows it) all running episodes and generators."""
        state: dict[str, Any] = {
            WEIGHTS_SEQ_NO: self._weights_seq_no,
            "worker_index": self.worker_index or 0,
        }
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            state[COMPONENT_RL_MODULE] = {DEFAULT_MODULE_ID: self.module.get_state(**kwargs)}
        if self._check_component("sampler", components, not_components) and self.sampler:
            state["sampler"] = {
                "running": self.sampler.get_state(),
                "rng": self.sampler.rng.bit_generator.state,
                "seeds": self._seeds.rng.bit_generator.state,
                "timestep": self.sampler.timestep,
                "recent": list(self._recent),
                "evaluations": self._evaluations,
            }
        return state

    def set_state(self, state: Any) -> None:
        """Take over weights, step counts and (from a checkpoint) running episodes."""
        if isinstance(state, ray.ObjectRef):
            state = ray.get(state)
        if COMPONENT_RL_MODULE in state:
            # Also weights with a lower number than those of now: a learner may have gone back.
            weights = state[COMPONENT_RL_MODULE]
            weights = ray.get(weights) if isinstance(weights, ray.ObjectRef) else weights
            self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))
            self._weights_seq_no = state.get(WEIGHTS_SEQ_NO, 0)
        if NUM_ENV_STEPS_SAMPLED_LIFETIME in state and self.sampler is not None:
            steps = float(state[NUM_ENV_STEPS_SAMPLED_LIFETIME])
            if steps > 0 and self._is_new:  # in place of one that died: not to play its games again
                self._make_sampler(int(steps))
            self._is_new = False
            self.sampler.timestep = steps
        if "sampler" in state and self.sampler is not None:
            self._restore_sampler(state["sampler"])

    def _restore_sampler(self, state: dict[str, Any]) -> None:
        assert self.sampler is not None
        self._is_new = False
        if state["running"] is not None:
            self.sampler.set_state(state["running"])
        self.sampler.rng.bit_generator.state = state["rng"]
        self._seeds.rng.bit_generator.state = state["seeds"]
        self.sampler.timestep = state["timestep"]
        self._recent.extend(state["recent"])
        self._evaluations = state["evaluations"]

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        """Arguments that rebuild this runner."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Checkpointable]]:
        """The module is a component of its own."""
        return [(COMPONENT_RL_MODULE, self.module)]

    def stop(self) -> None:
        """Close the environment."""
        if self.env is not None:
            self.env.close()


def _steps(episodes: list[TeamEpisode]) -> int:
    return sum(e.env_steps() for e in episodes)
