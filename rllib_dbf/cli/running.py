"""Runs experiments one after the other and turns what happened into an exit code."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import typer

from rllib_dbf.cli.errors import DONE, FAILED, INTERRUPTED, TARGET_MISSED, CommandError, cause_of
from rllib_dbf.cli.experiment import Experiment, resolve
from rllib_dbf.cli.places import Place, check_storage
from rllib_dbf.cli.trackers import Trackers
from rllib_dbf.cli.tuning import RETURN

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
    trackers: Trackers = Trackers()
    ray: Mapping[str, Any] = MappingProxyType({})  # arguments of ray.init
    resume: bool = False  # go on with the run if it exists
    in_process: bool = False  # without Tune

    @property
    def display(self) -> str:
        """How progress is shown."""
        return self.progress or ("rich" if sys.stdout.isatty() else "plain")


class Restore:
    """Starts an algorithm from a checkpoint; an `on_algorithm_init` callback."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __call__(self, *, algorithm: Any, **info: Any) -> None:
        """Load the checkpoint into the fresh algorithm."""
        algorithm.restore_from_path(self.path)


def run_all(experiments: list[tuple[Experiment, Place]], options: RunOptions) -> int:
    """Run experiments one after the other; the worst exit code counts.

    Raises:
        CommandError: If an experiment's settings are wrong, or it cannot be kept, before any
            of them starts.
    """
    from rllib_dbf.cli.resume import go_on_if_same
    from rllib_dbf.cli.tuned import run_tuned
    from rllib_dbf.cli.untuned import run_in_process

    load_ray(options.verbose)
    resolved = [resolve(experiment) for experiment, _ in experiments]
    if options.in_process:
        _check_one_trial(experiments, [searched for _, _, searched in resolved], options.trackers)
    for _, place in experiments:
        check_storage(place)
    start_ray(options.verbose, options.ray)
    codes = []
    for (experiment, place), (config, given, searched) in zip(experiments, resolved, strict=True):
        if options.resume and place.local.exists():
            codes.append(go_on_if_same(experiment, place, given, options))
        elif options.in_process:
            codes.append(run_in_process(experiment, place, config, given, options))
        else:
            chosen = {*given, *experiment.base_changes}
            if spreads(experiment, searched):
                config.update_from_dict(idle_core_settings(config, chosen, _cores()))
            if not (options.ray.get("address") or os.environ.get("RAY_ADDRESS")):
                config.update_from_dict(fewer_runners(config, chosen, _cores()))
            codes.append(run_tuned(experiment, place, config, given, searched, options))
        if codes[-1] == INTERRUPTED:
            break
    return max(codes)


def _check_one_trial(
    experiments: list[tuple[Experiment, Place]], searched: list[dict], trackers: Trackers
) -> None:
    """`--no-tune` runs one trial after the other in this process; it cannot search.

    Raises:
        CommandError: If there is more than one trial, or something only Tune does.
    """
    for (experiment, place), spaces in zip(experiments, searched, strict=True):
        tuning = experiment.tuning
        if spaces or experiment.samples > 1 or tuning.scheduler or tuning.search:
            raise CommandError(
                "--no-tune runs a single trial in this process; leave out --num-samples, sweeps,"
                " --scheduler and --search, or --no-tune"
            )
        if trackers.wandb_project or trackers.mlflow_experiment or experiment.checkpointing.score:
            raise CommandError(
                "--no-tune has neither trackers nor --checkpoint-score-attr; leave these out, or it"
            )
        if place.is_remote:
            raise CommandError("--no-tune keeps its run here; give --storage-path a directory")


def spreads(experiment: Experiment, searched: dict[str, Any]) -> bool:
    """Whether the experiment is one team trial, which may have all cores to itself."""
    return experiment.algorithm.is_team and experiment.samples == 1 and not searched


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


def start_ray(verbose: int, given: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Start Ray here, or join the cluster that is given or that RAY_ADDRESS names.

    Args:
        verbose: 0 keeps Ray's log off the screen.
        given: Arguments of `ray.init`.

    Raises:
        CommandError: If the cluster cannot be joined.
    """
    import ray

    level = logging.INFO if verbose else logging.CRITICAL
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"logging_level": level, "log_to_driver": verbose > 0}
    address = given.get("address") or os.environ.get("RAY_ADDRESS")
    if not address:  # one of its own, whatever else runs on this machine
        options |= {"address": "local", "include_dashboard": False}
    missing = nobody_at(address) if address else ""
    if missing:
        raise CommandError(f"the Ray cluster {address!r} cannot be joined: {missing}")
    try:
        ray.init(**options | dict(given))
    except (ConnectionError, RuntimeError, ValueError) as error:
        if not address:
            raise
        raise CommandError(
            f"the Ray cluster {address!r} cannot be joined ({cause_of(error)}); is it running, and"
            " do RAY_AUTH_MODE and its token agree with it?"
        ) from error


def nobody_at(address: str) -> str:
    """Why an address cannot be that of a cluster; "" if somebody listens there.

    Ray itself takes two minutes to find out, and says so to nobody.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():  # "", "local", "auto", or what Ray will refuse
        return ""
    hosts = [host]
    if host in ("localhost", "127.0.0.1"):
        import ray

        hosts.append(ray.util.get_node_ip_address())  # what Ray makes of it
    why = ""
    for name in hosts:
        try:
            socket.create_connection((name, int(port)), _PATIENCE).close()
            return ""
        except OSError as error:
            why = f"nobody answers at {host}:{port} ({error})"
    return why


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


def fewer_runners(config: Any, given: Collection[str], cores: int) -> dict[str, int]:
    """Fewer sampling processes where a trial wants more cores than there are.

    Ray would let it wait for ever. RLlib's own algorithms ask for two processes by default.

    Raises:
        CommandError: If it is what was given that is too much.
    """
    runners, each = config.num_env_runners, config.num_cpus_per_env_runner
    others = (config.evaluation_num_env_runners or 0) * each + config.num_cpus_for_main_process
    if config.num_learners and isinstance(config.num_cpus_per_learner, int | float):
        others += config.num_learners * config.num_cpus_per_learner
    if others + runners * each <= cores:
        return {}
    if "num_env_runners" in given or others > cores:
        raise CommandError(
            f"a trial needs {others + runners * each:g} cores and there are {cores}; lower"
            " --num-env-runners, --evaluation-num-env-runners or --num-learners"
        )
    return {"num_env_runners": int((cores - others) // each)}


_PATIENCE = 5.0  # seconds for somebody to answer
_MOST_CORES = 4  # a team's networks are small; more threads wait for each other


def exit_code(results: Any, place: Place, interrupted: bool, options: RunOptions) -> int:
    """What the results mean; says in one line why trials failed."""
    failed = [result for result in results if result.error is not None]
    for result in failed[:3]:
        typer.echo(
            f"rllib: error: {Path(result.path).name} failed: {cause_of(result.error)}", err=True
        )
        if options.traceback:
            typer.echo(str(result.error), err=True)
    if failed:
        where = f"{failed[0].path}/error.txt"
        typer.echo(f"rllib: {len(failed)} of {len(results)} trials failed; see {where}", err=True)
    if interrupted:
        typer.echo(
            f"rllib: interrupted; what was saved lies in {place}; `rllib resume {place}` goes on",
            err=True,
        )
        return INTERRUPTED
    if failed:
        return FAILED
    return _target_code(results, options.target)


def _target_code(results: Any, target: float | None) -> int:
    if target is None:
        return DONE
    frames = [r.metrics_dataframe for r in results if r.metrics_dataframe is not None]
    best = [frame[RETURN].max() for frame in frames if RETURN in frame]
    if best and min(best) >= target:
        return DONE
    reached = f"{min(best):.2f}" if best else "none"
    typer.echo(f"rllib: --as-test: mean return {reached} of {target} reached", err=True)
    return TARGET_MISSED
