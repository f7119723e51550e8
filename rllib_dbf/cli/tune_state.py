"""Tune's saved state of a run, put back to where an interruption cut it off.

The command's interruption lets every trial finish its iteration, save, and end properly. In
Tune's files such a trial is as finished as one that met its criteria, the stopper still knows of
the interruption, and the generator of trials has been told to make no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from rllib_dbf.cli.places import Place

_EXPERIMENT = "experiment_state-"
_GENERATORS = ("basic-variant-state-", "search_gen_state-")
_STALE = ("_stopper", "_cached_trial_decisions", "_queued_trial_decisions")


def revive(place: Place, finished: Collection[str]) -> list[str] | None:
    """Make trials that were cut off count as unfinished again.

    Args:
        place: Where the run lies.
        finished: Ids of the trials that ended before any interruption.

    Returns:
        The status of every trial that Tune made; None if Tune saved nothing.
    """
    folder = _Folder.at(place)
    state_file = folder.newest(_EXPERIMENT)
    if state_file is None:
        return None
    statuses: list[str] = []
    unfinished: set[str] = set()

    def trials(content: bytes) -> bytes:
        state = json.loads(content)
        for name in _STALE:
            state["runner_data"].pop(name, None)
        state["runner_data"]["_should_stop_experiment"] = False
        for row in state["trial_data"]:
            trial = json.loads(row[0])
            if trial["trial_id"] not in finished and trial["status"] == "TERMINATED":
                trial["status"] = "PAUSED"
                row[0] = json.dumps(trial)
            if trial["status"] not in ("TERMINATED", "ERROR"):
                unfinished.add(trial["trial_id"])
            statuses.append(trial["status"])
        return json.dumps(state).encode()

    def generator(content: bytes) -> bytes:
        from ray import cloudpickle

        state = cloudpickle.loads(content)
        state |= {name: False for name in ("_finished", "finished") if name in state}
        if "_live_trials" in state:
            state["_live_trials"] = unfinished
        return cloudpickle.dumps(state)

    folder.rewrite(state_file, trials)
    for prefix in _GENERATORS:
        file = folder.newest(prefix)
        if file is not None:
            folder.rewrite(file, generator)
    return statuses


class _Folder(NamedTuple):
    """A run's folder, here or behind a URI."""

    disk: Any
    path: str

    @classmethod
    def at(cls, place: Place) -> _Folder:
        from pyarrow.fs import FileSystem, LocalFileSystem

        if place.is_remote:
            return cls(*FileSystem.from_uri(place.path))
        return cls(LocalFileSystem(), place.path)

    def newest(self, prefix: str) -> str | None:
        """The file of that prefix whose time stamp is latest."""
        from pyarrow.fs import FileSelector

        files = self.disk.get_file_info(FileSelector(self.path, allow_not_found=True))
        return max((f.path for f in files if f.base_name.startswith(prefix)), default=None)

    def rewrite(self, file: str, change: Callable[[bytes], bytes]) -> None:
        """Replace a file by what `change` makes of it; never leaves half a file."""
        with self.disk.open_input_stream(file) as stream:
            content = change(stream.readall())
        with self.disk.open_output_stream(f"{file}.part") as stream:
            stream.write(content)
        self.disk.move(f"{file}.part", file)
