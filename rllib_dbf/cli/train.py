"""`rllib train`: from options and files to experiments, then to Tune."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from rllib_dbf.cli import options as o
from rllib_dbf.cli.errors import DONE, CommandError, one_line
from rllib_dbf.cli.experiment import STEPS, Experiment, Given
from rllib_dbf.cli.experiment_file import read_experiments
from rllib_dbf.cli.names import DEFAULT_ALGORITHM, check_env, find_algorithm
from rllib_dbf.cli.old_files import renewed_stop
from rllib_dbf.cli.places import places_of
from rllib_dbf.cli.sweeps import parse_sweep
from rllib_dbf.cli.trackers import Trackers
from rllib_dbf.cli.tuning import RETURN, Tuning
from rllib_dbf.values import parse_mapping, parse_value


def train(
    ctx: typer.Context,
    file: o.File = None,
    algo: o.Algo = None,
    env: o.Env = None,
    config: o.Config = None,
    sets: o.Sets = None,
    seed: o.Seed = None,
    num_env_runners: o.NumEnvRunners = None,
    num_envs_per_env_runner: o.NumEnvs = None,
    num_learners: o.NumLearners = None,
    num_cpus_per_learner: o.CpusPerLearner = None,
    num_gpus_per_learner: o.GpusPerLearner = None,
    evaluation_interval: o.EvaluationInterval = None,
    evaluation_duration: o.EvaluationDuration = None,
    evaluation_duration_unit: o.EvaluationUnit = None,
    evaluation_num_env_runners: o.EvaluationRunners = None,
    evaluation_parallel_to_training: o.EvaluationParallel = None,
    log_level: o.LogLevel = None,
    stop: o.Stop = None,
    stop_timesteps: o.StopSteps = None,
    stop_iters: o.StopIters = None,
    stop_reward: o.StopReward = None,
    as_test: o.AsTest = False,
    num_samples: o.NumSamples = None,
    sweeps: o.Sweeps = None,
    metric: o.Metric = None,
    mode: o.Mode = "max",
    max_concurrent_trials: o.MaxConcurrent = None,
    scheduler: o.SchedulerName = None,
    scheduler_config: o.SchedulerConfig = None,
    search: o.SearcherName = None,
    search_config: o.SearcherConfig = None,
    no_tune: o.NoTune = False,
    storage_path: o.StoragePath = None,
    experiment_name: o.Name = None,
    checkpoint_freq: o.CheckpointFreq = None,
    checkpoint_at_end: o.CheckpointAtEnd = None,
    keep_checkpoints_num: o.KeepCheckpoints = None,
    checkpoint_score_attr: o.CheckpointScore = None,
    restore: o.Restore = None,
    resume: o.Resume = False,
    ray_address: o.RayAddress = None,
    ray_num_cpus: o.RayCpus = None,
    ray_num_gpus: o.RayGpus = None,
    ray_object_store_memory: o.RayMemory = None,
    wandb_project: o.WandbProject = None,
    wandb_key: o.WandbKey = None,
    wandb_run_name: o.WandbRunName = None,
    mlflow_experiment: o.MlflowExperiment = None,
    mlflow_uri: o.MlflowUri = None,
    tensorboard: o.Tensorboard = True,
    dry_run: o.DryRun = False,
    progress: o.Display = None,
    traceback: o.Traceback = False,
    verbose: o.Verbose = 0,
) -> int:
    """Train an algorithm on an environment (default: DBF on smax/3m).

    Later ones win: defaults < file < --config < options < --set < --sweep.
    """
    given = ctx.params
    if as_test and stop_reward is None:
        raise CommandError("--as-test needs a target; add --stop-reward X")
    if resume and experiment_name is None:
        raise CommandError("--resume needs the run's name; add --experiment-name NAME")
    trackers = trackers_of(given)
    experiments = experiments_of(given, ctx.args)
    places = places_of(experiments, storage_path, experiment_name, may_exist=resume or dry_run)
    if restore is not None:
        from rllib_dbf.cli.checkpoints import find_checkpoint

        restore = find_checkpoint(restore)
    if dry_run:
        from rllib_dbf.cli.dry_run import show

        for experiment in experiments:
            show(experiment, as_json=progress == "json")
        return DONE
    from rllib_dbf.cli.running import RunOptions, run_all

    return run_all(
        list(zip(experiments, places, strict=True)),
        RunOptions(
            progress,
            verbose,
            restore,
            target=stop_reward if as_test else None,
            traceback=traceback,
            trackers=trackers,
            ray=ray_of(given),
            resume=resume,
            in_process=no_tune,
        ),
    )


def experiments_of(given: dict[str, Any], further: Sequence[str] = ()) -> list[Experiment]:
    """The experiments that a command line means.

    Args:
        given: The arguments of `train`, or those of them that a command has.
        further: What follows the file.

    Raises:
        CommandError: If something is unknown, or does not fit; nothing has been started.
    """
    file = _file_of([given["file"], *further])
    algo, env = given["algo"], given["env"]
    experiments = [_from_options(algo, env)] if file is None else read_experiments(file, algo, env)
    for experiment in experiments:
        experiment.given += settings_of_line(given)
        _set_stop(experiment, given)
        experiment.num_samples = given.get("num_samples") or experiment.num_samples
        _set_checkpointing(experiment, given)
        experiment.tuning = _tuning_of(given)
        experiment.stop_criteria()
        experiment.check_samples()
    return experiments


def _file_of(words: list[str | None]) -> Path | None:
    """The experiment file; `train file FILE`, as the old command had it, is understood."""
    names = [word for word in words if word is not None]
    if len(names) == 2 and names[0] == "file":
        names = names[1:]
    if len(names) > 1:
        raise CommandError(f"one experiment file at a time, not {len(names)}: {' '.join(names)}")
    return Path(names[0]) if names else None


def _from_options(algo: str | None, env: str | None) -> Experiment:
    algorithm = find_algorithm(algo or DEFAULT_ALGORITHM)
    return Experiment(
        name="",
        algorithm=algorithm,
        env=Given(check_env(env, algorithm), "--env" if env else "default"),
    )


_SETTINGS = (
    *("seed", "num_env_runners", "num_envs_per_env_runner"),
    *("num_learners", "num_cpus_per_learner", "num_gpus_per_learner"),
    *("evaluation_interval", "evaluation_duration", "evaluation_duration_unit"),
    *("evaluation_num_env_runners", "evaluation_parallel_to_training", "log_level"),
)
"""Options that are settings of the same name."""


def settings_of_line(given: dict[str, Any]) -> list[tuple[str, Given]]:
    """Settings of the command line in rising precedence."""
    found: list[tuple[str, Given]] = []
    if given.get("config") is not None:
        values = _mapping(given["config"], "--config")
        found += [(key, Given(value, "--config")) for key, value in values.items()]
    for key in _SETTINGS:
        value = given.get(key)
        if value is not None:
            value = parse_value(value) if key == "evaluation_duration" else value
            found.append((key, Given(value, f"--{key.replace('_', '-')}")))
    for text in given.get("sets") or []:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise CommandError(f"--set {text!r} must read KEY=VALUE, as gamma_b=0.5")
        found.append((key.strip(), Given(parse_value(value), "--set")))
    for text in given.get("sweeps") or []:
        key, sweep = parse_sweep(text)
        found.append((key, Given(sweep, "--sweep")))
    return found


def _mapping(text: str, option: str) -> dict[str, Any]:
    try:
        return parse_mapping(text, option)
    except ValueError as error:
        raise CommandError(one_line(error)) from error


def _set_stop(experiment: Experiment, given: dict[str, Any]) -> None:
    """Criteria of the command line join the file's; the same key is replaced."""
    if given.get("stop") is not None:
        experiment.stop |= renewed_stop(_mapping(given["stop"], "--stop"))
    limits = {
        STEPS: given.get("stop_timesteps"),
        "training_iteration": given.get("stop_iters"),
        RETURN: given.get("stop_reward"),
    }
    experiment.stop |= {key: value for key, value in limits.items() if value is not None}
    for key, value in experiment.stop.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CommandError(f"stop criterion {key}={value!r} must be a number")


def _set_checkpointing(experiment: Experiment, given: dict[str, Any]) -> None:
    saving = experiment.checkpointing
    if given.get("checkpoint_freq") is not None:
        saving.frequency = given["checkpoint_freq"]
    if given.get("checkpoint_at_end") is not None:
        saving.at_end = given["checkpoint_at_end"]
    if given.get("keep_checkpoints_num") is not None:
        saving.keep = given["keep_checkpoints_num"]
    if given.get("checkpoint_score_attr") is not None:
        saving.score_by(given["checkpoint_score_attr"])


def _tuning_of(given: dict[str, Any]) -> Tuning:
    """What the command line says of trials."""
    named = {
        "metric": given.get("metric"),
        "mode": given.get("mode"),
        "scheduler": given.get("scheduler"),
        "search": given.get("search"),
        "max_concurrent": given.get("max_concurrent_trials"),
    }
    for option in ("scheduler_config", "search_config"):
        text = given.get(option)
        named[option] = None if text is None else _mapping(text, f"--{option.replace('_', '-')}")
    tuning = Tuning(**{k: v for k, v in named.items() if v is not None})
    tuning.check()
    return tuning


def trackers_of(given: dict[str, Any]) -> Trackers:
    """The trackers asked for.

    Raises:
        CommandError: If an option of one is given without what it belongs to.
    """
    trackers = Trackers(
        wandb_project=given["wandb_project"],
        wandb_key=given["wandb_key"],
        wandb_run_name=given["wandb_run_name"],
        mlflow_experiment=given["mlflow_experiment"],
        mlflow_uri=given["mlflow_uri"],
        tensorboard=given["tensorboard"],
    )
    trackers.check()
    return trackers


def ray_of(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `ray.init`.

    Raises:
        CommandError: If resources are given for a cluster, which has its own.
    """
    names = ("num_cpus", "num_gpus", "object_store_memory")
    own = {n: given[f"ray_{n}"] for n in names if given.get(f"ray_{n}") is not None}
    address = given["ray_address"] or os.environ.get("RAY_ADDRESS")
    if own and address:
        option = f"--ray-{next(iter(own)).replace('_', '-')}"
        raise CommandError(f"{option} is for a Ray of its own; the cluster {address!r} has its own")
    return own | ({"address": given["ray_address"]} if given["ray_address"] else {})
