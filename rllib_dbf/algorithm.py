"""The Algorithm: collect episodes, replay them, update, pass the weights on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.fs
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from rllib_dbf.collector import Collector
from rllib_dbf.config import DBFConfig
from rllib_dbf.device_rows import RowsBatch
from rllib_dbf.episode import EpisodeBundle
from rllib_dbf.memory import keep_freed_memory
from rllib_dbf.metrics import POLICY_LAG_UPDATES
from rllib_dbf.presets import PRESETS
from rllib_dbf.replay import EpisodeReplay
from rllib_dbf.runner import TeamEnvRunner
from rllib_dbf.team import TeamBatch, TrainBatch
from rllib_dbf.validation import validate_task

REPLAY_FILE = "replay.npz"

logger = logging.getLogger(__name__)
_REPLAY_STREAM = 17  # keeps the replay's draws apart from the runners'


class DBF(Algorithm):
    """Trains any preset: `updates_per_collection` updates per `episodes_per_update` episodes."""

    preset = "dbf"
    config: DBFConfig

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> DBFConfig:
        """The configuration of this class's preset."""
        return DBFConfig(algo_class=cls, preset=cls.preset)

    @override(Algorithm)
    def setup(self, config: DBFConfig) -> None:
        """Build runners, learner and replay."""
        keep_freed_memory()
        super().setup(config)
        spec = self._task_spec()
        validate_task(self.config, spec.reports_deaths)
        learner: Any = self.learner_group._learner  # None if there are remote ones
        device = "cpu" if learner is None else learner.device
        self.replay = EpisodeReplay(self.config.replay_capacity, spec.episode_limit, device)
        seed = self.config.seed
        self._replay_rng = np.random.default_rng(
            None if seed is None else [int(seed), _REPLAY_STREAM]
        )
        self._env_steps_sampled = 0
        self._updates_made = 0
        self._collector = Collector(self.env_runner_group, self.learner_group, self.config)
        self._background = ThreadPoolExecutor(1, thread_name_prefix="collect")

    def _task_spec(self) -> Any:
        local: Any = self.env_runner
        if local is not None and local.env is not None:
            return local.spec
        specs = self.env_runner_group.foreach_env_runner(
            lambda runner: cast(TeamEnvRunner, runner).spec,
            remote_worker_ids=self.env_runner_group.healthy_env_runner_ids()[:1],
            local_env_runner=False,
        )
        if not specs:
            raise RuntimeError(
                "no env runner could be built; the reason is the first error of a runner, above. "
                "What a script registers (environments, mixers) is unknown to runners in processes "
                "of their own: let the environment's module import it, or set num_env_runners=0"
            )
        return specs[0]

    @override(Algorithm)
    def training_step(self) -> None:
        """Collect, store and learn until a training step's worth of team steps is played.

        Where sampling overlaps, the next episodes are played while the learner works, by the
        policy of before those updates. A training step ends with nothing under way: what is
        saved, reported and evaluated between steps is complete, and resumes exactly.
        """
        target = min(_STEPS_PER_TRAINING_STEP, self.config.min_sample_timesteps_per_iteration or 1)
        played, last = 0, False
        episodes = self._wait_for(self._prepare())
        while episodes:  # none: no runner delivered; never learn on without new data
            played += sum(episodes.steps)
            last = played >= target
            if last or not self.config.overlaps:
                self._learn_from(episodes, last)
                episodes = None if last else self._wait_for(self._prepare())
            else:
                episodes = self._collect_while_learning_from(episodes)
        self._pass_weights_on()
        if last:
            self._log_runner_metrics()

    def _prepare(self, at_hand: int = 0) -> Callable[[], EpisodeBundle | None]:
        """What plays the next episodes by the weights of now, when called.

        Args:
            at_hand: Steps that have been played and are not counted yet.
        """
        config = self.config
        wanted = config.episodes_per_update * config.updates_at_a_time
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            return self._collector.prepare(wanted, self._env_steps_sampled + at_hand)

    def _collect_while_learning_from(self, episodes: EpisodeBundle) -> EpisodeBundle | None:
        """Update from the episodes at hand while the next are played: runners see old weights."""
        updates = self._updates_made
        upcoming = self._background.submit(self._prepare(sum(episodes.steps)))
        try:
            self._learn_from(episodes, last=False)
        finally:
            # Nothing may be under way when an error leaves this method.
            with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
                wait([upcoming])
        lag = self._updates_made - updates
        self.metrics.log_value(POLICY_LAG_UPDATES, lag, window=100)
        return upcoming.result()

    def _wait_for(self, episodes: Callable[[], EpisodeBundle | None]) -> EpisodeBundle | None:
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            return episodes()

    def _learn_from(self, episodes: EpisodeBundle, last: bool) -> None:
        """Store episodes, an update's worth at a time, and make the updates they pay for."""
        per_update, n = self.config.episodes_per_update, len(episodes)
        # A remainder goes with the last part: by itself it might pay for no update to report.
        stops = [*range(per_update, n - per_update + 1, per_update), n]
        for start, stop in pairwise([0, *stops]):
            arrived = episodes.part(start, stop)
            self.replay.add(arrived)
            self._env_steps_sampled += sum(arrived.steps)
            with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
                self._make_updates(last and stop == n)

    def _make_updates(self, last: bool) -> None:
        config, replay = self.config, self.replay
        if replay.episodes_added < config.learning_starts:
            return
        collections = (replay.episodes_added - config.learning_starts) // config.episodes_per_update
        owed = (collections + 1) * config.updates_per_collection - self._updates_made
        if len(replay) < min(config.learning_starts, replay.capacity):
            self._updates_made += owed  # a checkpoint without its replay: not to be made up for
            return
        for i in range(owed):
            results = self.learner_group.update(
                batches=self._batches(),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._env_steps_sampled},
                episodes_sampled=replay.episodes_added,
                reduce_metrics=last and i == owed - 1,
            )
            self._updates_made += 1
        if last and owed > 0:
            self.metrics.aggregate(results, key=LEARNER_RESULTS)

    def _batches(self) -> Sequence[TrainBatch | RowsBatch]:
        """One `TrainBatch` per learner; together they hold `batch_episodes` episodes."""
        config = self.config
        learners = max(1, config.num_learners)
        n = config.batch_episodes
        k = 0 if config.barrier_estimator == "off" else config.on_policy_episodes
        batch = self.replay.train_batch(n, k, self._replay_rng)
        if learners == 1:
            return [batch]
        assert isinstance(batch, TrainBatch)  # rows are for a learner in this process
        replayed, latest = batch
        # The K latest episodes go to every learner whole: K is small, and the barrier's baseline
        # is a mean over all of them.
        return [TrainBatch(_rows(replayed, i, learners), latest) for i in range(learners)]

    def _pass_weights_on(self) -> None:
        """Give runners the new weights and the step count that ε follows."""
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            self._collector.pass_weights_on(self._env_steps_sampled)

    def _log_runner_metrics(self) -> None:
        group = self.env_runner_group
        if group.num_remote_env_runners() == 0:
            metrics = [self.env_runner.get_metrics()]
        else:
            metrics = group.foreach_env_runner("get_metrics", local_env_runner=False)
        self.metrics.aggregate(metrics, key=ENV_RUNNER_RESULTS)

    @override(Algorithm)
    def cleanup(self) -> None:
        """As RLlib's, and end the collecting thread."""
        self._background.shutdown()
        super().cleanup()

    @override(Algorithm)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state plus the counters and the generator of the replay."""
        state = super().get_state(*args, **kwargs)
        state["team"] = {
            "runners": self._collector.runner_states(),
            "replay_rng": self._replay_rng.bit_generator.state,
            "env_steps_sampled": self._env_steps_sampled,
            "updates_made": self._updates_made,
            "episodes_added": self.replay.episodes_added,
        }
        return state

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        super().set_state(state)
        if "team" in state:
            team = state["team"]
            self._replay_rng.bit_generator.state = team["replay_rng"]
            self._env_steps_sampled = team["env_steps_sampled"]
            self._updates_made = team["updates_made"]
            # An earlier state does not say how many; its replay does, where there is one.
            paid_for = self._episodes_that_paid_for(self._updates_made)
            self.replay.episodes_added = team.get("episodes_added", paid_for)
            self._collector.restore_runners(team.get("runners", []))

    def _episodes_that_paid_for(self, updates: int) -> int:
        config = self.config
        if not updates:
            return 0
        collections = -(-updates // config.updates_per_collection) - 1
        return config.learning_starts + collections * config.episodes_per_update

    @override(Algorithm)
    def save_to_path(self, path: Any = None, **kwargs: Any) -> str:
        """As RLlib's, with the replay beside it (unless `checkpoint_replay` is False)."""
        saved = super().save_to_path(path, **kwargs)
        if self.config.checkpoint_replay:
            where, file = _replay_file(path or saved, kwargs.get("filesystem"))
            with where.open_output_stream(file) as stream:
                self.replay.save(stream)
        return saved

    @override(Algorithm)
    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """As RLlib's, with the replay where the checkpoint has one."""
        super().restore_from_path(path, *args, **kwargs)
        where, file = _replay_file(path, kwargs.get("filesystem"))
        if where.get_file_info(file).is_file:
            with where.open_input_file(file) as stream:
                self.replay.load(stream)
        elif self.config.checkpoint_replay and not kwargs.get("component"):
            logger.warning("%s has no replay: updates begin when enough is stored", path)
        if self.env_runner_group.num_remote_env_runners() > 0:
            self._pass_weights_on()  # with the step count, or exploration would start anew


# Where a training step ends the learner waits for episodes, and RLlib's bookkeeping costs
# milliseconds.
_STEPS_PER_TRAINING_STEP = 50_000


def _replay_file(path: Any, filesystem: pyarrow.fs.FileSystem | None) -> tuple[Any, str]:
    """Where the replay of a checkpoint lies: a file system, and the path in it."""
    path = path if isinstance(path, str) else Path(path).as_posix()
    if filesystem is None:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(path)
    return filesystem, f"{path.rstrip('/')}/{REPLAY_FILE}"


def _rows(batch: TeamBatch, i: int, n: int) -> TeamBatch:
    """Every n-th episode, starting at i."""
    return TeamBatch(*(x[i::n] for x in batch))


def preset_algorithm(name: str) -> type[DBF]:
    """The Algorithm class registered with Ray for a preset; the same class on every call."""
    return _CLASSES[PRESETS[name].title]


def _make_classes() -> dict[str, type[DBF]]:
    classes = {}
    for name, row in PRESETS.items():
        if name == DBF.preset:
            classes[row.title] = DBF
            continue
        body = {"preset": name, "__module__": __name__, "__doc__": f"Trains {row.title}."}
        classes[row.title] = type(row.title, (DBF,), body)
    return classes


_CLASSES = _make_classes()
globals().update(_CLASSES)  # importable by name, so that Ray can send them to workers
