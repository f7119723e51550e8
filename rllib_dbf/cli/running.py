"""Runs experiments through Tune, quietly, and turns what happened into an exit code."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import typer

from rllib_dbf.cli.errors import DONE, FAILED, INTERRUPTED, TARGET_MISSED, cause_of
from rllib_dbf.cli.experiment import Experiment, resolve
from rllib_dbf.cli.names import trainable_of

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0: Tune's own tables stay away
    "RAY_USAGE_STATS_ENABLED": "0",  # no prompt, and nobody is told
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # takes the new default, so no warning about it
    "RAY_enable_metrics_collection": "0",  # no agent to export to without the dashboard
    "RAY_enable_open_telemetry": "0",
}


class RunOptions(NamedTuple):
    """How to run, as opposed to what."""

    progress: str | None = None
    verbose: int = 0
    restore: Path | None = None
    target: float | None = None  # --as-test: the mean return that has to be reached
    traceback: bool = False


class Restore:
    """Starts an algorithm from a checkpoint; an `on_algorithm_init` callback."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __call__(self, *, algorithm: Any, **info: Any) -> None:
        """Load the checkpoint into the fresh algorithm."""
        algorithm.restore_from_path(self.path)


def run_all(experiments: list[tuple[Experiment, Path]], options: RunOptions) -> int:
    """Run experiments one after the other; the worst exit code counts.

    Raises:
        CommandError: If an experiment's settings are wrong, before any of them starts.
    """
    load_ray(options.verbose)
    resolved = [resolve(experiment) for experiment, _ in experiments]
    start_ray(options.verbose)
    codes = []
    for (experiment, directory), (config, given, searched) in zip(
        experiments, resolved, strict=True
    ):
        if spreads(experiment, searched):
            chosen = {*given, *experiment.base_changes}
            config.update_from_dict(idle_core_settings(config, chosen, _cores()))
        codes.append(_run(experiment, directory, config, searched, options))
        if codes[-1] == INTERRUPTED:
            break
    return max(codes)


def spreads(experiment: Experiment, searched: dict[str, Any]) -> bool:
    """Whether the experiment is one team trial, which may have all cores to itself."""
    return experiment.algorithm.is_team and experiment.num_samples == 1 and not searched


def _cores() -> int:
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


def load_ray(verbose: int) -> None:
    """Import Ray quietly and make our names known to it."""
    quieten(verbose)
    import rllib_dbf

    rllib_dbf.register()
    quieten(verbose)  # Ray sets the levels of its loggers when it is imported


def quieten(verbose: int) -> None:
    """Keep Ray's own chatter off the screen; before Ray is imported, and again after."""
    if verbose:
        return
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    warnings.filterwarnings("ignore")
    for logger in ("ray", "ray.rllib", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)


def start_ray(verbose: int) -> None:
    """Start Ray here, or join the cluster that RAY_ADDRESS names."""
    import ray

    level = logging.INFO if verbose else logging.CRITICAL
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"logging_level": level, "log_to_driver": verbose > 0}
    if not os.environ.get("RAY_ADDRESS"):  # resources and services belong to a fresh Ray only
        options["include_dashboard"] = False
    ray.init(**options)


def idle_core_settings(config: Any, given: Collection[str], cores: int) -> dict[str, int]:
    """How a lone trial spreads over the cores: sampling in a process of its own, then threads.

    Ray gives a trial as many Torch threads as it reserves cores. What was given stands.
    """
    settings: dict[str, int] = {}
    given_main = "num_cpus_for_main_process" in given
    main = config.num_cpus_for_main_process if given_main else 1
    runners = config.num_env_runners
    others = (config.evaluation_num_env_runners or 0) + config.num_learners
    idle = cores - main - others - runners * config.num_cpus_per_env_runner
    if "num_env_runners" not in given and runners == 0 and idle >= config.num_cpus_per_env_runner:
        settings["num_env_runners"] = 1
        idle -= config.num_cpus_per_env_runner
    if not given_main:
        settings["num_cpus_for_main_process"] = min(main + max(0, int(idle)), _MOST_CORES)
    return settings


_MOST_CORES = 4  # a team's networks are small; more threads wait for each other


def _run(
    experiment: Experiment,
    directory: Path,
    config: Any,
    searched: dict[str, Any],
    options: RunOptions,
) -> int:
    from ray import tune

    from rllib_dbf.cli.progress import Progress
    from rllib_dbf.cli.stopping import Criteria, Interruption
    from rllib_dbf.cli.summary import summarise

    stop = experiment.stop_criteria()
    interruption = Interruption()
    criteria = Criteria(stop, interruption)
    display = options.progress or ("rich" if sys.stdout.isatty() else "plain")
    progress = Progress(display, stop, interruption)
    if options.restore is not None:
        config.callbacks(on_algorithm_init=Restore(options.restore))
    saving = experiment.checkpointing
    tuner = tune.Tuner(
        config.algo_class or trainable_of(experiment.algorithm),
        param_space=config.to_dict() | searched,
        tune_config=tune.TuneConfig(num_samples=experiment.num_samples),
        run_config=tune.RunConfig(
            name=directory.name,
            storage_path=str(directory.parent),
            stop=criteria,
            callbacks=[progress],
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=saving.frequency,
                checkpoint_at_end=saving.at_end,
                num_to_keep=saving.keep,
            ),
        ),
    )
    try:
        results = tuner.fit()
    finally:
        progress.close()
    quieten(options.verbose)  # Tune resets its loggers
    code = _exit_code(results, directory, interruption.asked, options)
    criteria.check()
    summarise(experiment, directory, results, display)
    return code


def _exit_code(results: Any, directory: Path, interrupted: bool, options: RunOptions) -> int:
    """What the results mean; says in one line why trials failed."""
    failed = [result for result in results if result.error is not None]
    for result in failed[:3]:
        typer.echo(
            f"rllib: error: {Path(result.path).name} failed: {cause_of(result.error)}", err=True
        )
        if options.traceback:
            typer.echo(str(result.error), err=True)
    if failed:
        where = Path(failed[0].path) / "error.txt"
        typer.echo(f"rllib: {len(failed)} of {len(results)} trials failed; see {where}", err=True)
    if interrupted:
        typer.echo(f"rllib: interrupted; what was saved lies in {directory}", err=True)
        return INTERRUPTED
    if failed:
        return FAILED
    return _target_code(results, options.target)


def _target_code(results: Any, target: float | None) -> int:
    if target is None:
        return DONE
    from rllib_dbf.cli.train import RETURN

    best = [frame[RETURN].max() for frame in _frames(results) if RETURN in frame]
    if best and min(best) >= target:
        return DONE
    reached = f"{min(best):.2f}" if best else "none"
    typer.echo(f"rllib: --as-test: mean return {reached} of {target} reached", err=True)
    return TARGET_MISSED


def _frames(results: Any) -> list[Any]:
    return [r.metrics_dataframe for r in results if r.metrics_dataframe is not None]
