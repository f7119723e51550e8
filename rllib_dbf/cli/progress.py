"""Live progress of trials: a Tune callback with a rich, a plain and a JSON display."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.tune import Callback

from rllib_dbf.cli.labels import label, number_of
from rllib_dbf.cli.readings import (
    EPISODES,
    LEARNER,
    duration,
    flatten,
    fraction_done,
    number,
    readings,
    text_of,
)
from rllib_dbf.cli.stopping import Interruption

_NEW_STEPS = "env_runners/num_env_steps_sampled"  # in this iteration
SHOWN = ["epsilon", *EPISODES, *(f"eval_{n}" for n in EPISODES), *LEARNER]
LABELS = {
    "epsilon": "ε",
    **EPISODES,
    **{f"eval_{name}": f"greedy {label}" for name, label in EPISODES.items()},
    **LEARNER,
}


@dataclass
class View:
    """What is known of one trial."""

    name: str
    status: str = "starting"
    numbers: dict[str, float] = field(default_factory=dict)
    steps_per_second: float | None = None
    done: float | None = None  # fraction of the way to the stop criterion

    def take(self, result: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Take in a result; numbers it lacks (evaluation is not in every one) stay."""
        flat, before = flatten(result), self.numbers.get("steps")
        now = readings(result)
        self.numbers |= now
        taken = result.get("time_this_iter_s") or 0.0
        # A trial that goes on has steps from before that were not taken in this iteration.
        steps = (
            number(flat.get(_NEW_STEPS)) if before is None else now.get("steps", before) - before
        )
        if steps is not None and taken > 0:
            self.steps_per_second = steps / taken
        self.done = fraction_done(flat, stop)
        self.status = "training"

    @property
    def eta(self) -> float | None:
        """Seconds left at the pace so far."""
        spent = self.numbers.get("seconds")
        if not spent or not self.done or self.status != "training":
            return None
        return spent * (1 - self.done) / self.done


class Progress(Callback):
    """Keeps a view of every trial and hands it to a display.

    Args:
        display: "rich", "plain", "json" or "none".
        stop: The stop criteria, for the time left.
        interruption: Told about Ctrl-C once Tune runs.
        searched: Settings in which trials differ.
    """

    def __init__(
        self,
        display: str,
        stop: Mapping[str, Any],
        interruption: Interruption,
        searched: Sequence[str] = (),
    ) -> None:
        self.searched = list(searched)
        self.display = display
        self.stop = dict(stop)
        self.interruption = interruption
        self.views: dict[str, View] = {}
        self.when_ended: Callable[[str, bool], None] | None = None
        """Told the id of every trial that ended, its last save included, and whether it failed."""
        self._live: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; what belongs to this process stays behind."""
        return self.__dict__ | {"_live": None, "when_ended": None}

    def setup(self, **info: Any) -> None:
        """Start the display; Tune has installed its signal handler by now."""
        self.interruption.listen(self._announce)
        if self.display == "plain":
            self._say("starting Ray's workers and the environment")
        if self.display == "rich" and self._live is None:
            from rllib_dbf.cli.panels import live

            self._live = live(self.views)
            self._live.start()

    def _announce(self, text: str) -> None:
        if self.display == "json":
            print(f"rllib: {text}", file=sys.stderr, flush=True)
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text)
        elif self.display != "none":
            print(text, flush=True)

    def _view(self, trial: Any) -> View:
        name = label(number_of(trial), trial.config, self.searched)
        return self.views.setdefault(trial.trial_id, View(name))

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial's process starts: Ray, workers and compilation take their time."""
        self._view(trial)

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        """Show a result."""
        view = self._view(trial)
        view.take(result, self.stop)
        if self.display == "plain":
            self._say(plain_line(view))
        elif self.display == "json":
            line = {"trial": view.name, "time": time.time(), **view.numbers}
            line["steps_per_second"] = view.steps_per_second
            print(json.dumps(line), flush=True)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Mark a trial as done."""
        self._view(trial).status = "stopped" if self.interruption.asked else "done"
        if self.when_ended is not None:
            self.when_ended(trial.trial_id, False)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Mark a trial as failed; the command says why when it ends."""
        self._view(trial).status = "failed"
        if self.when_ended is not None:
            self.when_ended(trial.trial_id, True)

    def close(self) -> None:
        """Leave the last picture on the screen and give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def plain_line(view: View) -> str:
    """One line for a log file."""
    parts = [f"{view.name}: {text_of('steps', view.numbers.get('steps', 0))} steps"]
    if view.steps_per_second is not None:
        parts.append(f"{view.steps_per_second:,.0f}/s")
    parts += [
        f"{LABELS[name]} {text_of(name, view.numbers[name])}"
        for name in SHOWN
        if name in view.numbers
    ]
    if view.eta is not None:
        parts.append(f"{duration(view.eta)} left")
    return " · ".join(parts)
