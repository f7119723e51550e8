"""`rllib config`: what would be trained, as an experiment file."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml

from rllib_dbf.cli import options as o
from rllib_dbf.cli.dry_run import values_of
from rllib_dbf.cli.errors import DONE
from rllib_dbf.cli.train import experiments_of


class Format(StrEnum):
    """How the configuration is written."""

    yaml = "yaml"
    json = "json"


def config(
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
    num_samples: o.NumSamples = None,
    sweeps: o.Sweeps = None,
    form: Annotated[
        Format, typer.Option("--format", help="yaml: an experiment file that `train` reads.")
    ] = Format.yaml,
    every: Annotated[
        bool, typer.Option("--all", help="Defaults as well, not only what was given.")
    ] = False,
    traceback: o.Traceback = False,
) -> int:
    """Print an experiment as a file, every value with its origin; trains nothing."""
    experiments = experiments_of(ctx.params, ctx.args)
    found = [values_of(experiment) for experiment in experiments]
    if form is Format.json:
        rows = [
            {"name": e.name or None, "values": rows}
            for e, rows in zip(experiments, found, strict=True)
        ]
        typer.echo(json.dumps(rows if len(rows) > 1 else rows[0], default=str))
        return DONE
    for experiment, rows in zip(experiments, found, strict=True):
        typer.echo("\n".join(_lines(experiment, rows, every)))
    return DONE


def _lines(experiment: Any, rows: list[dict[str, Any]], every: bool) -> list[str]:
    """An experiment file: one line per value, with its origin as a comment."""
    name = experiment.name or "experiment"
    env = next(row for row in rows if row["key"] == "environment.env")
    lines = [f"{name}:", f"  run: {_run(experiment)}", f"  env: {_flow(env['value'])}"]
    stops = [row for row in rows if row["key"].startswith("stop.")]
    limits = {row["key"].removeprefix("stop."): row["value"] for row in stops}
    lines.append(f"  stop: {_flow(limits)}")
    if experiment.samples > 1:
        lines.append(f"  num_samples: {experiment.samples}")
    lines.append("  config:")
    for row in rows:
        section, _, key = row["key"].partition(".")
        if section in ("run", "stop", "num_samples") or row["key"] == "environment.env":
            continue
        if not every and row["origin"] == "default":
            continue
        value = row["value"]
        if is_plain(value):
            lines.append(f"    {key}: {_flow(value)}  # {row['origin']}")
        elif row["origin"] != "default":
            lines.append(f"    # {key}: {value!r} ({row['origin']}) cannot stand in a file")
    return lines if len(lines) > 5 or every else [*lines[:-1], "  config: {}"]


def _run(experiment: Any) -> str:
    algorithm = experiment.algorithm
    from rllib_dbf.cli.names import RAY_PREFIX, find_algorithm

    alone = find_algorithm(algorithm.title) == algorithm
    return algorithm.title if alone else f"{RAY_PREFIX}{algorithm.title}"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def is_plain(value: Any) -> bool:
    """Whether a file can hold it: no classes, functions, or Tune's search spaces."""
    try:
        yaml.safe_dump(value)
    except yaml.YAMLError:
        return False
    return True
