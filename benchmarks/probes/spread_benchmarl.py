"""BenchMARL's QMIX on simple_spread: GRU 64, one update of 32 × 25 steps per 8 × 25 collected.

The training loop is BenchMARL's own; logging to disk and evaluation are off.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable

from benchmarl.algorithms import QmixConfig
from benchmarl.environments import PettingZooTask
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models import GruConfig

_LIMIT = 25


class _Clock(Callback):
    """Notes when each iteration's update was done; ends the training after a while."""

    def __init__(self, warm_up: int, seconds: float) -> None:
        super().__init__()
        self.times: list[float] = []
        self._warm_up, self._seconds = warm_up, seconds

    def on_train_end(self, training_td: object, group: str) -> None:
        """Called after the update of every iteration."""
        self.times.append(time.perf_counter())
        if len(self.times) > self._warm_up + 2 and self.measured() > self._seconds:
            raise _Enough

    def measured(self) -> float:
        """Seconds since the warm-up."""
        return self.times[-1] - self.times[self._warm_up]


class _Enough(Exception):
    pass


def prepare(seconds: float, seed: int, num_envs: int) -> Callable[[], dict[str, float | None]]:
    """Measures a training of its own per call, after five iterations of warm-up."""
    config = ExperimentConfig.get_from_yaml()
    frames = num_envs * _LIMIT
    config.prefer_continuous_actions = False
    config.off_policy_n_envs_per_worker = num_envs
    config.off_policy_collected_frames_per_batch = frames
    config.off_policy_n_optimizer_steps = 1
    config.off_policy_train_batch_size = 32 * _LIMIT
    config.off_policy_memory_size = 5_000 * _LIMIT
    config.max_n_frames = frames * 10**6
    config.exploration_anneal_frames = 50_000
    config.evaluation, config.render = False, False
    config.loggers, config.create_json = [], False
    config.save_folder = tempfile.mkdtemp()
    task = PettingZooTask.SIMPLE_SPREAD.get_from_yaml()
    task.config["max_cycles"] = _LIMIT
    model = GruConfig.get_from_yaml()
    model.hidden_size, model.mlp_num_cells = 64, [64]
    warm_up = 5

    def measure() -> dict[str, float | None]:
        clock = _Clock(warm_up, seconds)
        experiment = Experiment(
            task=task,
            algorithm_config=QmixConfig.get_from_yaml(),
            model_config=model,
            critic_model_config=model,
            seed=seed,
            config=config,
            callbacks=[clock],
        )
        with contextlib.suppress(_Enough):
            experiment.run()
        iterations = len(clock.times) - 1 - warm_up
        return {"steps_per_second": iterations * frames / clock.measured()}

    return measure
