"""How trials are searched: what compares them, what ends them early, what chooses their values."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from rllib_dbf.cli.errors import CommandError, one_line
from rllib_dbf.cli.labels import directory_name
from rllib_dbf.registry import suggestion

RETURN = "env_runners/episode_return_mean"
SCHEDULERS = {
    "asha": "async_hyperband",
    "median": "median_stopping_rule",
    "hyperband": "hyperband",
    "pbt": "pbt",
    "fifo": "fifo",
}
"""Names people use → Ray's, which are understood as well."""
SEARCHERS = ("random", "optuna", "hyperopt", "bayesopt", "nevergrad", "ax", "hebo", "zoopt", "bohb")
_EXTRAS = {"optuna": "optuna"}  # searcher → extra of this package; others by their own name
_COUNTERS = ("num_env_steps_sampled_lifetime", "training_iteration", "time_total_s")


@dataclass
class Tuning:
    """What of an experiment concerns its trials together."""

    metric: str | None = None
    mode: str = "max"
    scheduler: str | None = None
    scheduler_config: dict[str, Any] = field(default_factory=dict)
    search: str | None = None
    search_config: dict[str, Any] = field(default_factory=dict)
    max_concurrent: int | None = None

    @property
    def compared_by(self) -> str:
        """The result key by which trials compare."""
        return self.metric or RETURN

    def check(self) -> None:
        """Refuse what no scheduler or searcher has, before Ray is imported.

        Raises:
            CommandError: With the nearest name.
        """
        names = [*SCHEDULERS, *SCHEDULERS.values()]
        if self.scheduler is not None and self.scheduler.lower() not in names:
            raise CommandError(
                f"--scheduler {self.scheduler!r} is unknown; choose from {', '.join(SCHEDULERS)}."
                f"{suggestion(self.scheduler, names)}"
            )
        if self.search is not None and self.search.lower() not in SEARCHERS:
            raise CommandError(
                f"--search {self.search!r} is unknown; choose from {', '.join(SEARCHERS)}."
                f"{suggestion(self.search, list(SEARCHERS))}"
            )
        for option, name in (("--scheduler", self.scheduler), ("--search", self.search)):
            if name is None and getattr(self, f"{option[2:]}_config"):
                raise CommandError(f"{option}-config needs {option}")

    def tune_config(
        self, num_samples: int, stop: Mapping[str, Any], searched: Mapping, seed: int | None
    ) -> Any:
        """Tune's own form of it (imports Ray).

        Args:
            num_samples: Trials, or repetitions of a grid.
            stop: The stop criteria; schedulers count along the first counter among them.
            searched: The search spaces, by setting.
            seed: Of the values drawn.

        Raises:
            CommandError: If something does not fit, or is not installed.
        """
        from ray import tune

        # A metric of evaluations is not in every result; Criteria refuses one that never comes.
        os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
        try:
            searcher = self._searcher(searched, seed)
            scheduler = self._scheduler(stop, searched)
        except ImportError as error:
            extra = _EXTRAS.get(str(self.search), str(self.search))
            install = f'"rllib-dbf[{extra}]"' if self.search in _EXTRAS else extra
            raise CommandError(
                f"--search {self.search} needs a package: pip install {install} ({error})"
            ) from error
        except (TypeError, ValueError, AssertionError, tune.TuneError) as error:
            raise CommandError(f"--scheduler or --search: {one_line(error)}") from error
        return tune.TuneConfig(
            metric=self.compared_by,
            mode=self.mode,
            num_samples=num_samples,
            scheduler=scheduler,
            search_alg=searcher,
            max_concurrent_trials=self.max_concurrent if self.search else None,
            trial_dirname_creator=partial(directory_name, searched=tuple(searched)),
        )

    def _searcher(self, searched: Mapping[str, Any], seed: int | None) -> Any:
        if self.search is None or self.search.lower() == "random":
            from ray.tune.search import BasicVariantGenerator

            return BasicVariantGenerator(
                max_concurrent=self.max_concurrent or 0, random_state=seed, **self.search_config
            )
        from ray.tune.search import SEARCH_ALG_IMPORT, create_searcher

        name = self.search.lower()
        if any(isinstance(space, Mapping) for space in searched.values()):
            raise CommandError(
                f"--search {name} cannot try every value of a list; write choice(…) in --sweep"
            )
        if not searched:
            raise CommandError(f"--search {name} has nothing to search; add --sweep KEY=VALUES")
        if name == "optuna":
            _require("optuna")
        _check_arguments("--search-config", SEARCH_ALG_IMPORT[name](), self.search_config)
        given = {"seed": seed} if name == "optuna" and seed is not None else {}
        return create_searcher(name, **given | self.search_config)

    def _scheduler(self, stop: Mapping[str, Any], searched: Mapping[str, Any]) -> Any:
        if self.scheduler is None:
            return None
        from ray.tune.schedulers import SCHEDULER_IMPORT, create_scheduler

        name = SCHEDULERS.get(self.scheduler.lower(), self.scheduler.lower())
        _check_arguments("--scheduler-config", SCHEDULER_IMPORT[name], self.scheduler_config)
        arguments = _paced(name, stop) | self.scheduler_config
        if name == "pbt" and "hyperparam_mutations" not in arguments:
            if not searched:
                raise CommandError("--scheduler pbt has nothing to change; add --sweep KEY=VALUES")
            arguments["hyperparam_mutations"] = {
                key: list(space["grid_search"]) if isinstance(space, Mapping) else space
                for key, space in searched.items()
            }
        return create_scheduler(name, **arguments)

    @property
    def copies_trials(self) -> bool:
        """Whether trials go on from checkpoints of others, which then must not be deleted."""
        return SCHEDULERS.get((self.scheduler or "").lower(), self.scheduler) == "pbt"


def _paced(name: str, stop: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's sense of time: the counter that ends trials, a tenth of it as patience.

    Ray's defaults (100 iterations, 60 seconds) know nothing of how long trials are.
    """
    counter = next((key for key in _COUNTERS if key in stop), None)
    if name == "fifo" or counter is None:
        return {}
    limit = stop[counter]
    tenth = max(1, limit // 10)
    paces: dict[str, dict[str, Any]] = {
        "async_hyperband": {"max_t": limit, "grace_period": tenth},
        "median_stopping_rule": {"grace_period": tenth},
        "hyperband": {"max_t": limit},
        "pbt": {"perturbation_interval": tenth},
    }
    return {"time_attr": counter} | paces[name] if name in paces else {}


def _check_arguments(option: str, wanted: type, given: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(wanted.__init__).parameters)[1:]
    known = [name for name in parameters if name not in ("metric", "mode", "kwargs", "args")]
    for key in given:
        if key not in known:
            raise CommandError(
                f"{option}: {key!r} is unknown to {wanted.__name__}; choose from"
                f" {', '.join(known)}.{suggestion(key, known)}"
            )


def _require(package: str) -> None:
    try:
        distribution(package)
    except PackageNotFoundError as error:
        raise ImportError(f"{package} is not installed") from error
    logging.getLogger(package).setLevel(logging.WARNING)
