"""`rllib train --no-tune`: one trial in this very process, where a debugger can stop."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rllib_dbf.cli.errors import DONE, FAILED, INTERRUPTED
from rllib_dbf.cli.experiment import Experiment, Given
from rllib_dbf.cli.places import Place
from rllib_dbf.cli.readings import flatten
from rllib_dbf.cli.record import STATUS, asked_for, update_record, write_record
from rllib_dbf.cli.running import Restore, RunOptions, exit_code


class _Trial(NamedTuple):
    """As much of a Tune trial as the progress display reads."""

    config: dict[str, Any]
    trial_id: str = "in_process"
    experiment_tag: str = "0"


def run_in_process(
    experiment: Experiment,
    place: Place,
    config: Any,
    given: Mapping[str, Given],
    options: RunOptions,
) -> int:
    """Train until a criterion is met; exceptions pass through, for a debugger to catch.

    Returns:
        The exit code.
    """
    from ray.tune import Checkpoint, Result

    from rllib_dbf.cli.progress import Progress
    from rllib_dbf.cli.stopping import Criteria, Interruption
    from rllib_dbf.cli.summary import summarise

    stop = experiment.stop_criteria()
    if options.restore is not None:
        config.callbacks(on_algorithm_init=Restore(options.restore))
    interruption = Interruption()
    criteria = Criteria(stop, interruption)
    progress = Progress(options.display, stop, interruption)
    write_record(place.local, asked_for(experiment, given))
    directory = place.local / "trial_001"
    directory.mkdir()
    rows: list[dict[str, Any]] = []
    code = FAILED
    progress.setup()
    try:
        algorithm = config.build_algo()
        checkpoint = _train(algorithm, experiment, directory, criteria, progress, rows)
        algorithm.stop()
        code = INTERRUPTED if interruption.asked else DONE
    finally:
        progress.close()
        frame = _write(rows, directory)
        update_record(place.local, status=STATUS[code])
    criteria.check()
    last = rows[-1]
    kept = None if checkpoint is None else Checkpoint(str(checkpoint))
    results = [Result(last, kept, None, str(directory), metrics_dataframe=frame)]
    code = exit_code(results, place, interruption.asked, options)
    summarise(experiment, place, results, options.display)
    return code


def _train(
    algorithm: Any,
    experiment: Experiment,
    directory: Path,
    criteria: Any,
    progress: Any,
    rows: list[dict[str, Any]],
) -> Path | None:
    """Train to the end; returns the last checkpoint."""
    trial, saving, done = _Trial({"seed": algorithm.config.seed}), experiment.checkpointing, False
    checkpoints: list[Path] = []
    while not done:
        result = algorithm.train()
        rows.append(result)
        with (directory / "result.json").open("a", encoding="utf-8") as file:
            file.write(json.dumps(flatten(result), default=str) + "\n")
        progress.on_trial_result(len(rows), [trial], trial, result)
        done = criteria(trial.trial_id, result)
        due = saving.frequency and len(rows) % saving.frequency == 0
        if due or (done and saving.at_end):
            checkpoints.append(directory / f"checkpoint_{len(rows):06d}")
            algorithm.save_to_path(str(checkpoints[-1]))
        kept = saving.kept(trials_are_copied=False)
        if kept is not None and len(checkpoints) > kept:
            shutil.rmtree(checkpoints.pop(0))
    progress.on_trial_complete(len(rows), [trial], trial)
    return checkpoints[-1] if checkpoints else None


def _write(rows: list[dict[str, Any]], directory: Path) -> Any:
    """`progress.csv` as Tune writes it, and the same as a data frame."""
    import pandas as pd

    flat = [flatten(row) for row in rows]
    names = sorted({name for row in flat for name in row if not name.startswith("config/")})
    with (directory / "progress.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(flat)
    return pd.DataFrame(flat, columns=names)
