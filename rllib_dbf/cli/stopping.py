"""When trials stop: at their criteria, or after the iteration in which Ctrl-C was pressed."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune import Stopper

from rllib_dbf.cli.errors import CommandError
from rllib_dbf.cli.readings import flatten
from rllib_dbf.registry import suggestion

_PATIENCE = 20  # results a nested metric may be missing from, as evaluation is not in every one


class Interruption:
    """Whether somebody asked to stop; shared by the stopper and the signal handler.

    The first Ctrl-C lets trials finish their iteration and save a checkpoint. The second is
    passed on to Tune, which ends at once.
    """

    def __init__(self) -> None:
        self.asked = False

    def listen(self, announce: Any) -> None:
        """Take over SIGINT and SIGTERM; call when Tune has installed its own handler."""
        tunes_handler = signal.getsignal(signal.SIGINT)

        def handle(number: int, frame: Any) -> None:
            if self.asked:
                signal.signal(signal.SIGINT, tunes_handler)
                if callable(tunes_handler):
                    tunes_handler(number, frame)
                return
            self.asked = True
            announce("stopping after this iteration and saving; again to stop at once")

        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)


class Criteria(Stopper):
    """Tune's stop criteria (`result[key] >= value`), refusing keys that never appear.

    Args:
        stop: Limits by result key.
        interruption: Ends every trial after its iteration.
        needed: Further keys that results have to have, such as the metric that compares trials.
    """

    def __init__(
        self, stop: Mapping[str, Any], interruption: Interruption, needed: Sequence[str] = ()
    ) -> None:
        self.stop = dict(stop)
        self.interruption = interruption
        self.needed = list(needed)
        self.met: set[str] = set()  # trials that a criterion ended
        self.unknown: str | None = None  # set when a criterion can never be met
        self._results = 0
        self._seen: set[str] = set()
        self._unfinished: set[str] = set()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial is done."""
        flat = flatten(result)
        self._results += 1
        self._seen |= set(flat)
        self._unfinished.add(trial_id)
        done = trial_id in self.met or any(
            key in flat and flat[key] >= limit for key, limit in self.stop.items()
        )
        if done:
            self.met.add(trial_id)
        return done or self.interruption.asked or self._misses_a_key(flat)

    def ended(self, trial_id: str) -> None:
        """Take note that a trial has ended and saved itself."""
        self._unfinished.discard(trial_id)

    def _misses_a_key(self, flat: Mapping[str, Any]) -> bool:
        for key in [*self.stop, *self.needed]:
            known = key in self._seen
            if not known and (self._results >= _PATIENCE or "/" not in key):
                what = "stop criterion" if key in self.stop else "metric"
                self.unknown = (
                    f"{what} {key!r} is in no result.{suggestion(key, sorted(self._seen))}"
                )
        return self.unknown is not None

    def stop_all(self) -> bool:
        """Whether no further trial should start; never before running ones have saved."""
        return (self.interruption.asked or self.unknown is not None) and not self._unfinished

    def check(self) -> None:
        """Raise CommandError if a criterion was not a key of the results."""
        if self.unknown is not None:
            raise CommandError(self.unknown)
