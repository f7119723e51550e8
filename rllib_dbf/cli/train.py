"""`rllib train`: from options and files to experiments, then to Tune."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rllib_dbf.cli.errors import DONE, CommandError, one_line
from rllib_dbf.cli.experiment import STEPS, Experiment, Given
from rllib_dbf.cli.experiment_file import read_experiments
from rllib_dbf.cli.names import check_env, find_algorithm
from rllib_dbf.values import parse_mapping, parse_value

Option = typer.Option
RETURN = "env_runners/episode_return_mean"


def train(
    file: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG.yaml|.py]", help="Experiment file.")
    ] = None,
    algo: Annotated[
        str | None, Option("--algo", "--run", "-a", "-r", help="Algorithm.  [default: DBF]")
    ] = None,
    env: Annotated[
        str | None, Option("--env", "-e", help="Environment or module:Class.  [default: smax/3m]")
    ] = None,
    config: Annotated[
        str | None, Option("--config", "-c", metavar="JSON", help="Settings as a mapping.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="One setting, as gamma_b=0.5; repeatable."),
    ] = None,
    stop: Annotated[
        str | None, Option("--stop", "-s", metavar="JSON", help="Stop criteria by result key.")
    ] = None,
    stop_timesteps: Annotated[int | None, Option(min=1, help="Stop at N env steps.")] = None,
    stop_iters: Annotated[int | None, Option(min=1, help="Stop at N iterations.")] = None,
    stop_reward: Annotated[float | None, Option(help="Stop at this mean return.")] = None,
    seed: Annotated[int | None, Option(min=0, help="Seed of everything drawn.")] = None,
    num_samples: Annotated[int | None, Option(min=1, help="Repetitions.")] = None,
    num_env_runners: Annotated[int | None, Option(min=0, help="Sampling processes.")] = None,
    num_envs_per_env_runner: Annotated[int | None, Option(min=1, help="Envs in each.")] = None,
    storage_path: Annotated[Path, Option(help="Where runs are kept.")] = Path("results"),
    experiment_name: Annotated[
        str | None,
        Option("--experiment-name", "-n", help="The run's directory.  [default: with the time]"),
    ] = None,
    checkpoint_freq: Annotated[
        int | None,
        Option(min=0, help="Checkpoint every N iterations, keeping two (0: never).  [default: 10]"),
    ] = None,
    checkpoint_at_end: Annotated[bool | None, Option(help="Checkpoint at the end.")] = None,
    restore: Annotated[Path | None, Option(help="Start from this checkpoint.")] = None,
    as_test: Annotated[
        bool, Option("--as-test", help="Exit 3 if --stop-reward is never reached.")
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print every value with its origin; train nothing.")
    ] = False,
    progress: Annotated[
        Literal["rich", "plain", "json", "none"] | None,
        Option(help="Display.  [default: rich on a terminal, else plain]"),
    ] = None,
    traceback: Annotated[bool, Option("--traceback", help="Show more of an error.")] = False,
    verbose: Annotated[int, Option("--verbose", "-v", count=True, help="More of Ray's log.")] = 0,
) -> int:
    """Train an algorithm on an environment (default: DBF on smax/3m).

    Later ones win: defaults < file < --config < options < --set.
    """
    experiments = (
        read_experiments(file, algo, env) if file is not None else [_from_options(algo, env)]
    )
    flags = {
        "seed": seed,
        "num_env_runners": num_env_runners,
        "num_envs_per_env_runner": num_envs_per_env_runner,
    }
    stops = {STEPS: stop_timesteps, "training_iteration": stop_iters, RETURN: stop_reward}
    if as_test and stop_reward is None:
        raise CommandError("--as-test needs a target; add --stop-reward X")
    for experiment in experiments:
        experiment.given += _given(config, flags, sets or [])
        _set_stop(experiment, stop, stops)
        experiment.num_samples = num_samples or experiment.num_samples
        _set_checkpointing(experiment, checkpoint_freq, checkpoint_at_end)
        experiment.stop_criteria()
    directories = _directories(experiments, storage_path, experiment_name)
    if restore is not None:
        from rllib_dbf.cli.checkpoints import find_checkpoint

        restore = find_checkpoint(restore)
    if dry_run:
        from rllib_dbf.cli.dry_run import show

        for experiment in experiments:
            show(experiment, as_json=progress == "json")
        return DONE
    from rllib_dbf.cli.running import RunOptions, run_all

    target = stop_reward if as_test else None
    options = RunOptions(progress, verbose, restore, target, traceback)
    return run_all(list(zip(experiments, directories, strict=True)), options)


def _from_options(algo: str | None, env: str | None) -> Experiment:
    algorithm = find_algorithm(algo or "DBF")
    return Experiment(
        name="",
        algorithm=algorithm,
        env=Given(check_env(env, algorithm), "--env" if env else "default"),
    )


def _given(config: str | None, flags: dict[str, Any], sets: list[str]) -> list[tuple[str, Given]]:
    """Settings of the command line in rising precedence."""
    found: list[tuple[str, Given]] = []
    if config is not None:
        values = _mapping(config, "--config")
        found += [(key, Given(value, "--config")) for key, value in values.items()]
    for key, value in flags.items():
        if value is not None:
            found.append((key, Given(value, f"--{key.replace('_', '-')}")))
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise CommandError(f"--set {text!r} must read KEY=VALUE, as gamma_b=0.5")
        found.append((key.strip(), Given(parse_value(value), "--set")))
    return found


def _mapping(text: str, option: str) -> dict[str, Any]:
    try:
        return parse_mapping(text, option)
    except ValueError as error:
        raise CommandError(one_line(error)) from error


def _set_stop(experiment: Experiment, stop: str | None, flags: dict[str, Any]) -> None:
    """Criteria of the command line join the file's; the same key is replaced."""
    if stop is not None:
        experiment.stop |= _mapping(stop, "--stop")
    experiment.stop |= {key: value for key, value in flags.items() if value is not None}
    for key, value in experiment.stop.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CommandError(f"stop criterion {key}={value!r} must be a number")


def _set_checkpointing(experiment: Experiment, frequency: int | None, at_end: bool | None) -> None:
    if frequency is not None:
        experiment.checkpointing.frequency = frequency
    if at_end is not None:
        experiment.checkpointing.at_end = at_end


def _directories(experiments: list[Experiment], storage: Path, name: str | None) -> list[Path]:
    """One fresh directory per experiment.

    Raises:
        CommandError: If one exists already: nothing is ever overwritten.
    """
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    found = []
    for experiment in experiments:
        what = experiment.name or f"{experiment.algorithm.title}_{experiment.env.value}".lower()
        own = name or f"{what}_{stamp}"
        if name and len(experiments) > 1:
            own = f"{name}-{experiment.name}"
        if not own.strip("./\\ ") or (name and "/" in own.strip("/")):
            raise CommandError(f"--experiment-name {own!r} must be the name of a directory")
        directory = storage.expanduser().resolve() / own.replace("/", "-").replace(":", ".")
        if directory.exists():
            raise CommandError(
                f"{directory} exists already and would be overwritten; choose another"
                " --experiment-name, or move it away"
            )
        found.append(directory)
    return found
