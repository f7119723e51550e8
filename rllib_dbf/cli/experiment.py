"""An experiment: what to train, with every value's origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rllib_dbf.cli.errors import CommandError, one_line
from rllib_dbf.cli.names import Algorithm, config_of, environment_of
from rllib_dbf.cli.old_files import refuse_old_setting
from rllib_dbf.cli.sweeps import Sweep
from rllib_dbf.cli.tuning import Tuning
from rllib_dbf.settings import (
    SettingError,
    check_setting,
    find_setting,
    is_search_space,
    samples_of,
    settings_of,
)
from rllib_dbf.settings import apply_settings as apply

STEPS = "num_env_steps_sampled_lifetime"
DEFAULT_TEAM_STOP = {STEPS: 600_000}
"""Where a team's training ends if nobody says otherwise: some minutes of SMAX on two cores."""


class Given(NamedTuple):
    """A value and where it was given."""

    value: Any
    origin: str


_KEPT = 2


@dataclass
class Checkpointing:
    """When a trial saves itself: now and then, so that a crash costs minutes, and at the end."""

    frequency: int = 10
    at_end: bool = True
    keep: int | None = None  # how many, if that was said
    score: str | None = None  # result key whose best checkpoints are kept, not the latest
    order: str = "max"

    def kept(self, trials_are_copied: bool) -> int | None:
        """How many checkpoints to keep, None for all: those that others go on from must stay."""
        usual = None if trials_are_copied else _KEPT
        return usual if self.keep is None else self.keep

    def score_by(self, attribute: str) -> None:
        """Take RLlib's notation: `min-KEY` keeps the least."""
        self.order = "min" if attribute.startswith("min-") else "max"
        self.score = attribute.removeprefix("min-")


@dataclass
class Experiment:
    """One experiment of a file or of the command line.

    `given` lists settings in rising precedence, by the keys people wrote.
    """

    name: str
    algorithm: Algorithm
    env: Given
    given: list[tuple[str, Given]] = field(default_factory=list)
    stop: dict[str, Any] = field(default_factory=dict)
    num_samples: int | None = None
    storage: str | None = None
    tuning: Tuning = field(default_factory=Tuning)
    checkpointing: Checkpointing = field(default_factory=Checkpointing)
    base_config: Any = None  # an AlgorithmConfig from a Python file
    base_changes: set[str] = field(default_factory=set)  # attributes the file changed

    def stop_criteria(self) -> dict[str, Any]:
        """The stop criteria, or the stated default of team algorithms.

        Raises:
            CommandError: If there are none and there is no default.
        """
        if self.stop:
            return self.stop
        if self.algorithm.is_team:
            return dict(DEFAULT_TEAM_STOP)
        raise CommandError(
            f"{self.algorithm.title} would train for ever; say when to stop, as"
            " --stop-timesteps 100000, --stop-iters 10 or --stop-reward 150"
        )

    @property
    def samples(self) -> int:
        """Repetitions; of what is drawn, that many values."""
        return self.num_samples or 1

    def check_samples(self) -> None:
        """Refuse values that are drawn once.

        Raises:
            CommandError: If a sweep draws and nobody said how often.
        """
        for key, (value, _) in self.given:
            if isinstance(value, Sweep) and value.drawn and self.num_samples is None:
                raise CommandError(
                    f"{key}={value.form}(…) draws one value for each trial; say how many"
                    " trials with --num-samples N"
                )


def resolve(experiment: Experiment) -> tuple[Any, dict[str, Given], dict[str, Any]]:
    """Check every setting of an experiment and build its configuration (imports Ray).

    Returns:
        The configuration with every fixed value; each given setting (by bare name) with its
        origin; and the search spaces, by attribute.

    Raises:
        CommandError: For an unknown setting, a value that does not fit, or values that do not
            fit together.
    """
    config = experiment.base_config or config_of(experiment.algorithm)
    try:
        given = _normalised(config, experiment)
        fixed = {k: v.value for k, v in given.items() if not is_search_space(v.value)}
        searched = {k: v.value for k, v in given.items() if is_search_space(v.value)}
        if _repeats_seed(experiment, fixed, searched):
            searched["seed"] = {"grid_search": _seeds(fixed["seed"], experiment.samples)}
            given["seed"] = Given(searched["seed"], f"{given['seed'].origin}, one per repetition")
            experiment.num_samples = 1
        apply(config, fixed)
        _validate(config, searched, _reports_deaths(experiment, config))
    except (SettingError, ValueError, TypeError, ImportError) as error:
        raise CommandError(one_line(error)) from error
    return config, given, searched


def _repeats_seed(
    experiment: Experiment, fixed: Mapping[str, Any], searched: Mapping[str, Any]
) -> bool:
    """Whether repetitions would be the same run again: they get consecutive seeds instead."""
    drawn = any(not isinstance(space, Mapping) for space in searched.values())
    return experiment.samples > 1 and fixed.get("seed") is not None and not drawn


def _seeds(first: int, count: int) -> list[int]:
    """Consecutive seeds.

    Raises:
        ValueError: If they count up to one that is too large.
    """
    from rllib_dbf.validation import LARGEST_SEED

    last = first + count - 1
    if last > LARGEST_SEED:
        raise ValueError(
            f"num_samples={count} counts up from seed={first} to {last}, and {LARGEST_SEED} is the"
            " largest; give a smaller seed"
        )
    return list(range(first, last + 1))


def _normalised(config: Any, experiment: Experiment) -> dict[str, Given]:
    """Checked values by bare name; a later value replaces an earlier one."""
    from rllib_dbf.envs.naming import find_env

    found: dict[str, Given] = {}
    env = experiment.env
    found["env"] = Given(environment_of(env.value, experiment.algorithm), env.origin)
    if experiment.algorithm.is_team:
        for name, value in find_env(found["env"].value).suggested.items():
            if name not in experiment.base_changes:
                found[name] = Given(value, f"suits {env.value}")
    known = settings_of(config)
    for key, (value, origin) in experiment.given:
        refuse_old_setting(key, value, origin, known)
        name = find_setting(config, key).name
        value = value.space() if isinstance(value, Sweep) else value
        if name == "preset":
            _refuse_another(experiment.algorithm, value, origin)
        try:
            found[name] = Given(check_setting(config, key, value), origin)
        except SettingError as error:
            raise SettingError(f"{error} (given in {origin})") from error
    return found


def _refuse_another(algorithm: Algorithm, preset: Any, origin: str) -> None:
    """Refuse a preset that is not the algorithm's: names and parts would be of two algorithms.

    Raises:
        CommandError: If it is not.
    """
    if not isinstance(preset, str) or preset.lower() != algorithm.preset:
        raise CommandError(
            f"preset={preset!r} (given in {origin}) is not {algorithm.title}'s; choose an algorithm"
            " with --algo (`run` in a file), and compare several as experiments of one file"
        )


def _reports_deaths(experiment: Experiment, config: Any) -> bool:
    """Whether the team's environment reports deaths; made once to see that it can be made.

    Raises:
        ValueError: If the environment does not have an option.
        ImportError: If its simulator is not installed.
    """
    if not experiment.algorithm.is_team:
        return False
    from rllib_dbf.envs import make_env

    env = make_env(config.env, 1, **config.env_config)
    reports = env.spec.reports_deaths
    env.close()
    return reports


def _validate(config: Any, searched: Mapping[str, Any], reports_deaths: bool) -> None:
    """Let the configuration judge itself, once for every value (or end) of a search space."""
    from rllib_dbf.config import DBFConfig
    from rllib_dbf.validation import validate_start, validate_task

    trials = [{}] + [
        {name: check_setting(config, name, value)}
        for name, space in searched.items()
        for value in samples_of(space)
    ]
    for values in trials:
        trial = apply(config.copy(copy_frozen=False), values)
        trial.validate()
        if isinstance(trial, DBFConfig):
            validate_task(trial, reports_deaths)
        else:
            validate_start(trial)
