"""Where a run lies: a directory here, or a URI that every node of a cluster can write to."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from rllib_dbf.cli.errors import CommandError

DEFAULT = Path("results")
AT_HOME = Path("~/ray_results")
_LONGEST_NAME = 200  # bytes; file systems take 255, and Tune adds to it


class Place(NamedTuple):
    """One run's place."""

    storage: str  # what Tune calls storage_path
    local: Path  # directory here: the run itself, or what the command adds where storage is a URI

    @property
    def name(self) -> str:
        """The run's name, last part of its path."""
        return self.local.name

    @property
    def is_remote(self) -> bool:
        """Whether the run lies behind a URI."""
        return "://" in self.storage

    @property
    def path(self) -> str:
        """The run's path or URI."""
        return f"{self.storage.rstrip('/')}/{self.name}" if self.is_remote else str(self.local)

    def __str__(self) -> str:
        return self.path


def storage_of(given: str | None) -> str:
    """The storage a person means; by default `results`, or the home directory inside a job.

    A job of a cluster runs in a copy of its working directory that is deleted afterwards.
    """
    if given is not None:
        return given
    return str(AT_HOME if "working_dir_files" in Path.cwd().parts else DEFAULT)


def place_of(storage: str, name: str) -> Place:
    """The place of a run by name."""
    name = name.replace("/", "-").replace(":", ".")
    if "://" in storage:
        return Place(storage, DEFAULT.resolve() / name)
    directory = Path(storage).expanduser().resolve()
    return Place(str(directory), directory / name)


def places_of(
    experiments: list[Any], storage: str | None, name: str | None, *, may_exist: bool
) -> list[Place]:
    """One place per experiment; fresh ones, unless a run of that name is to be resumed.

    Raises:
        CommandError: If one exists already, since nothing is ever overwritten, or cannot be made.
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
        _check_length(own)
        place = place_of(storage_of(storage or experiment.storage), own)
        check_storage(place, touch=False)
        if not may_exist and place.local.exists():
            raise CommandError(
                f"{place.local} exists already and would be overwritten; choose another"
                " --experiment-name, go on with it (--resume), or move it away"
            )
        found.append(place)
    return found


def _check_length(name: str) -> None:
    length = len(os.fsencode(name))
    if length > _LONGEST_NAME:
        raise CommandError(
            f"the run's name {name[:20] + '…'!r} has {length} bytes, and {_LONGEST_NAME} are the"
            " most; give a shorter --experiment-name"
        )


def check_storage(place: Place, *, touch: bool = True) -> None:
    """Refuse a storage path that runs cannot be kept in; a URI is left to its file system.

    Args:
        place: Where the run would lie.
        touch: Write there to be sure, and leave nothing; else only permissions are looked at.

    Raises:
        CommandError: With the reason.
    """
    directory = place.local.parent  # beside a URI, too, some files are kept here
    reason = why_unwritable(directory, touch=touch)
    if reason:
        raise CommandError(
            f"runs cannot be kept in {str(directory)!r} ({reason}); give another directory with"
            " --storage-path (storage_path in a file)"
        )


def why_unwritable(directory: Path, *, touch: bool = True) -> str:
    """Why no file can be made in a directory, or in one still to be made; "" if it can.

    Args:
        directory: It, or the nearest one above that there is, is tried.
        touch: As in `check_storage`.
    """
    try:
        nearest = next(p for p in (directory, *directory.absolute().parents) if p.exists())
        if not nearest.is_dir():
            return f"{nearest} is no directory"
        if not os.access(nearest, os.W_OK | os.X_OK):
            return f"no permission to write to {nearest}"
        if touch:
            tempfile.TemporaryDirectory(prefix=".rllib", dir=nearest).cleanup()
    except OSError as error:
        return error.strerror or str(error)
    return ""
