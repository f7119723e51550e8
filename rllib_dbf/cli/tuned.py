"""An experiment run by Tune: fresh, or gone on with."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rllib_dbf.cli.errors import CommandError
from rllib_dbf.cli.experiment import Experiment, Given
from rllib_dbf.cli.names import trainable_of
from rllib_dbf.cli.places import Place
from rllib_dbf.cli.record import (
    RESUMABLE,
    STATUS,
    asked_for,
    read_record,
    update_record,
    write_record,
)
from rllib_dbf.cli.running import Restore, RunOptions, exit_code, quieten


class Resumable(NamedTuple):
    """What going on with a run needs besides what Tune saves."""

    experiment: Experiment
    space: dict[str, Any]  # Tune's param_space
    searched: list[str]  # the settings that are searched
    options: RunOptions
    storage: str  # what Tune calls storage_path

    @property
    def trials(self) -> int:
        """How many there are in the end."""
        grids = [self.space[name] for name in self.searched]
        sizes = [len(grid["grid_search"]) for grid in grids if isinstance(grid, Mapping)]
        return self.experiment.samples * math.prod(sizes)


def run_tuned(
    experiment: Experiment,
    place: Place,
    config: Any,
    given: Mapping[str, Given],
    searched: Mapping[str, Any],
    options: RunOptions,
) -> int:
    """Run a fresh experiment.

    Returns:
        The exit code.
    """
    from ray import tune

    stop = experiment.stop_criteria()
    if options.restore is not None:
        config.callbacks(on_algorithm_init=Restore(options.restore))
    space = config.to_dict() | dict(searched)
    seed = given["seed"].value if "seed" in given else None
    seed = seed if isinstance(seed, int) else None
    tune_config = experiment.tuning.tune_config(experiment.samples, stop, searched, seed)
    trainable = config.algo_class or trainable_of(experiment.algorithm)
    saving = experiment.checkpointing

    def make(callbacks: list[Any], stopper: Any) -> Any:
        return tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune_config,
            run_config=tune.RunConfig(
                name=place.name,
                storage_path=place.storage,
                stop=stopper,
                callbacks=callbacks,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=saving.frequency,
                    checkpoint_at_end=saving.at_end,
                    num_to_keep=saving.kept(experiment.tuning.copies_trials),
                    checkpoint_score_attribute=saving.score,
                    checkpoint_score_order=saving.order,
                ),
            ),
        )

    write_record(place.local, asked_for(experiment, given))
    keyless = options._replace(trackers=options.trackers._replace(wandb_key=None))
    resumable = Resumable(experiment, space, list(searched), keyless, place.storage)
    _keep(place, resumable)
    return fit(make, place, resumable, options)


def fit(
    make: Callable[[list[Any], Any], Any], place: Place, run: Resumable, options: RunOptions
) -> int:
    """Let a Tuner run, say how it ended, and keep the run's record.

    Args:
        make: Makes the Tuner from callbacks and a stopper.
        place: Where the run lies.
        run: What is run.
        options: How, this time.

    Returns:
        The exit code.

    Raises:
        CommandError: If a criterion is a key that no result has.
    """
    from rllib_dbf.cli.progress import Progress
    from rllib_dbf.cli.stopping import Criteria, Interruption
    from rllib_dbf.cli.summary import summarise

    stop = run.experiment.stop_criteria()
    tuning = run.experiment.tuning
    interruption = Interruption()
    criteria = Criteria(stop, interruption, needed=[tuning.metric] if tuning.metric else [])
    progress = Progress(options.display, stop, interruption, run.searched)

    def note_end(trial_id: str, failed: bool) -> None:
        criteria.ended(trial_id)
        if not failed and (trial_id in criteria.met or not interruption.asked):  # not cut off
            finished = {*read_record(place.local)["finished"], trial_id}
            update_record(place.local, finished=sorted(finished))

    progress.when_ended = note_end
    tuner = make([progress, *options.trackers.callbacks(place.name)], criteria)
    try:
        results = tuner.fit()
    except BaseException:
        update_record(place.local, status="failed")
        raise
    finally:
        progress.close()
    quieten(options.verbose)  # Tune resets its loggers
    code = exit_code(results, place, interruption.asked, options)
    update_record(place.local, status=STATUS[code])
    criteria.check()
    summarise(run.experiment, place, results, options.display, run.searched)
    return code


def _keep(place: Place, resumable: Resumable) -> None:
    from ray import cloudpickle

    try:
        content = cloudpickle.dumps(resumable)
    except (TypeError, pickle.PicklingError) as error:
        raise CommandError(f"the settings cannot be kept with the run: {error}") from error
    (place.local / RESUMABLE).write_bytes(content)
