"""`rllib resume`: goes on with a run that was interrupted, killed, or whose trials failed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rllib_dbf.cli import options as o
from rllib_dbf.cli.errors import DONE, FAILED, CommandError, cause_of
from rllib_dbf.cli.experiment import Experiment, Given
from rllib_dbf.cli.names import trainable_of
from rllib_dbf.cli.places import Place
from rllib_dbf.cli.record import RESUMABLE, asked_for, differences, read_record, update_record
from rllib_dbf.cli.running import RunOptions, load_ray, start_ray
from rllib_dbf.cli.tune_state import revive
from rllib_dbf.cli.tuned import Resumable, fit


def resume(
    run: Annotated[
        Path,
        typer.Argument(parser=o.path_of("RUN_DIR"), metavar="RUN_DIR", help="The run's directory."),
    ],
    errored: Annotated[
        bool, typer.Option("--errored", help="Failed trials go on from their last checkpoint.")
    ] = False,
    restart_errored: Annotated[
        bool, typer.Option("--restart-errored", help="Failed trials start anew.")
    ] = False,
    ray_address: o.RayAddress = None,
    progress: o.Display = None,
    traceback: o.Traceback = False,
    verbose: o.Verbose = 0,
) -> int:
    """Go on with a run: interrupted and killed trials continue from their last checkpoint."""
    if errored and restart_errored:
        raise CommandError("--errored and --restart-errored exclude each other")
    directory = run.expanduser().resolve()
    if not directory.is_dir():
        raise CommandError(f"run {str(run)!r} does not exist")
    read_record(directory)
    load_ray(verbose)
    kept = _kept(directory)
    start_ray(verbose, {"address": ray_address} if ray_address else {})
    options = kept.options._replace(progress=progress, verbose=verbose, traceback=traceback)
    failed = "resume" if errored else "restart" if restart_errored else "leave"
    return go_on(kept, _place(directory, kept), options, failed)


def go_on_if_same(
    experiment: Experiment, place: Place, given: Mapping[str, Given], options: RunOptions
) -> int:
    """`rllib train --resume`: the run of that name goes on if it was asked for the same.

    Raises:
        CommandError: If it was asked for something else.
    """
    record = read_record(place.local)
    changed = differences(record["asked"], asked_for(experiment, given))
    if changed:
        raise CommandError(
            f"{place} was started with other settings ({'; '.join(changed[:5])}); give those, or"
            " another --experiment-name"
        )
    return go_on(_kept(place.local), place, options, "resume")


def go_on(kept: Resumable, place: Place, options: RunOptions, failed: str) -> int:
    """Let the unfinished trials of a run continue.

    Args:
        kept: What the run is.
        place: Where it lies.
        options: How it goes on.
        failed: What becomes of failed trials: "resume", "restart" or "leave".

    Returns:
        The exit code.
    """
    from ray import tune

    config = kept.space
    trainable = config.get("algo_class") or trainable_of(kept.experiment.algorithm)
    trials = revive(place, read_record(place.local)["finished"])
    if trials is None:
        raise CommandError(f"{place} holds no state of Tune: it ended before its first trial began")
    waiting = sum(status not in ("TERMINATED", "ERROR") for status in trials)
    waiting += kept.trials - len(trials)  # those that Tune had not made yet
    errors = trials.count("ERROR")
    if waiting <= 0 and not (errors and failed != "leave"):
        if errors:
            raise CommandError(
                f"{errors} of {len(trials)} trials failed and none is unfinished; add --errored or"
                " --restart-errored"
            )
        typer.echo(f"nothing is left to do in {place}: all {len(trials)} trials are done")
        return DONE

    def make(callbacks: list[Any], stopper: Any) -> Any:
        tuner = tune.Tuner.restore(
            place.path,
            trainable=trainable,
            param_space=kept.space,
            resume_errored=failed == "resume",
            restart_errored=failed == "restart",
        )
        # Those that were pickled know nothing of this process's display and signals.
        run_config = tuner._local_tuner.get_run_config()
        run_config.callbacks, run_config.stop = callbacks, stopper
        return tuner

    update_record(place.local, status="running")
    try:
        return fit(make, place, kept, options)
    except CommandError:
        raise
    except Exception as error:  # whatever a damaged run makes Tune raise
        typer.echo(f"rllib: error: {place} cannot go on: {cause_of(error)}", err=True)
        return FAILED


def _place(directory: Path, kept: Resumable) -> Place:
    storage = kept.storage if "://" in kept.storage else str(directory.parent)
    return Place(storage, directory)


def _kept(directory: Path) -> Resumable:
    try:
        return pickle.loads((directory / RESUMABLE).read_bytes())
    except FileNotFoundError:
        raise CommandError(
            f"{str(directory)!r} holds no {RESUMABLE}; only runs of Tune can go on, others start"
            " from a checkpoint with `rllib train --restore`"
        ) from None
    except Exception as error:  # a module that is not here, another version's classes
        raise CommandError(
            f"{str(directory / RESUMABLE)!r} cannot be read ({cause_of(error)}); resume where the"
            " run was started, with the same packages"
        ) from error
