"""Sampling and training with remote env runners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.probes.team import steps_per_second
from benchmarks.probes.training import Training

_STEPS_PER_CALL = 4_096  # of every runner


def prepare(
    env: str, preset: str, runners: int, seconds: float, seed: int, overrides: dict[str, Any]
) -> Callable[[], dict[str, float | None]]:
    """Measures one number of runners, 0 being the one in the learner's process.

    Returns:
        Figures `sampling`: env-steps/s of episodes that arrive at the learner's process, which
        does nothing else; `training`: end to end.
    """
    training = Training(env, preset, seed, overrides | {"num_env_runners": runners})
    algo = training.algo
    asked = {"num_timesteps": _STEPS_PER_CALL}

    def sample() -> int:
        if runners == 0:
            results = [algo.env_runner.sample(**asked)]
        else:
            results = algo.env_runner_group.foreach_env_runner(
                "sample", kwargs=asked, local_env_runner=False
            )
        return sum(episode.env_steps() for episodes in results for episode in episodes)

    sample()

    def measure() -> dict[str, float | None]:
        sampling = steps_per_second(sample, seconds)
        training.train()  # whose steps are counted as the training's
        return {"sampling": sampling, "training": training.measure(seconds)["steps_per_second"]}

    return measure
