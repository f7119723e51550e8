"""What a run was asked for and how it stands: `run.json`, and a pickle to go on from."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rllib_dbf.cli.errors import DONE, FAILED, INTERRUPTED, TARGET_MISSED, CommandError

RECORD = ".rllib/run.json"  # Tune copies files of the run's own folder back and forth
RESUMABLE = ".rllib/resumable.pkl"
STATUS = {
    DONE: "done",
    FAILED: "failed",
    TARGET_MISSED: "done",  # the run itself is complete
    INTERRUPTED: "interrupted",
}
"""What a run's record says for an exit code."""


def write_record(directory: Path, asked: Mapping[str, Any]) -> None:
    """Start the record of a run; `asked` is what `asked_for` returns."""
    from importlib.metadata import version

    from rllib_dbf.envs.versions import simulator_versions

    packages = ("rllib-dbf", "ray", "torch")
    _write(
        directory,
        {
            "status": "running",
            "started": datetime.now().isoformat(timespec="seconds"),
            "command": _without_keys(sys.argv[1:]),
            "versions": {name: version(name) for name in packages} | simulator_versions(),
            "asked": dict(asked),
            "finished": [],
        },
    )


def _without_keys(arguments: list[str]) -> list[str]:
    """A command line that can be shown to others."""
    before = ["", *arguments]
    hidden = [re.sub(r"^(--wandb-key=).*", r"\1…", argument) for argument in arguments]
    return ["…" if last == "--wandb-key" else shown for last, shown in zip(before, hidden)]


def update_record(directory: Path, **changes: Any) -> None:
    """Change entries of a run's record."""
    _write(directory, read_record(directory) | changes)


def read_record(directory: Path) -> dict[str, Any]:
    """The record of a run.

    Raises:
        CommandError: If there is none, or it is damaged.
    """
    try:
        return json.loads((directory / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandError(
            f"{str(directory)!r} holds no {RECORD}: no run of `rllib train`"
        ) from None
    except ValueError:
        raise CommandError(f"{str(directory / RECORD)!r} is damaged: it is not JSON") from None


def _write(directory: Path, record: Mapping[str, Any]) -> None:
    path = directory / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
    part.replace(path)  # never half a record


def asked_for(experiment: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's results, in words that can be compared and read."""
    tuning = experiment.tuning
    return {
        "algorithm": experiment.algorithm.title,
        "env": str(experiment.env.value),
        "stop": experiment.stop_criteria(),
        "num_samples": experiment.samples,
        "settings": {k: _words(v.value) for k, v in sorted(given.items()) if k != "env"},
        "metric": tuning.compared_by,
        "mode": tuning.mode,
        "scheduler": tuning.scheduler,
        "scheduler_config": _words(tuning.scheduler_config),
        "search": tuning.search,
        "search_config": _words(tuning.search_config),
    }


def _words(value: Any) -> Any:
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, Mapping):
        return {str(k): _words(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_words(v) for v in value]
    if hasattr(value, "domain_str"):  # Tune's search spaces
        return f"{type(value).__name__}{value.domain_str}"
    return getattr(value, "__qualname__", type(value).__qualname__)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Keys in which two requests differ, as `key: before → now`."""
    now = json.loads(json.dumps(now, default=str))
    found = []
    for key in sorted({*before, *now}):
        a, b = before.get(key), now.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a!r} → {b!r}")
    return found
