"""Finds the checkpoint a path means, and tells a foreign or broken one apart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rllib_dbf.cli.errors import CommandError, one_line

METADATA = "rllib_checkpoint.json"
_CLASS_AND_ARGS = "class_and_ctor_args.pkl"


def find_checkpoint(path: Path) -> Path:
    """The checkpoint itself, or the latest one of a run or trial directory.

    Raises:
        CommandError: If there is nothing, or what is there is no Algorithm's checkpoint.
    """
    if not path.exists():
        raise CommandError(f"checkpoint {str(path)!r} does not exist")
    if path.is_file():
        raise CommandError(f"{str(path)!r} is a file; a checkpoint is a directory")
    path = path.resolve()
    if (path / METADATA).is_file() or path.name.startswith("checkpoint_"):
        return _checked(path)
    found = [p for p in path.glob("**/checkpoint_*") if p.is_dir()]
    if not found:
        raise CommandError(
            f"{str(path)!r} is neither a checkpoint nor a run with one; a checkpoint holds"
            f" {METADATA}, a run directories named checkpoint_…"
        )
    return _checked(max(found, key=lambda p: (p.stat().st_mtime, _number(p))))


def _number(path: Path) -> int:
    digits = re.search(r"(\d+)$", path.name)
    return int(digits.group(1)) if digits else -1


def _checked(path: Path) -> Path:
    """The same path, if what lies there looks like the checkpoint of an Algorithm."""
    try:
        metadata = json.loads((path / METADATA).read_text(encoding="utf-8"))
        kind = metadata.get("type", "")
    except FileNotFoundError:
        raise CommandError(
            f"{str(path)!r} holds no {METADATA}: not a checkpoint of RLlib"
        ) from None
    except (ValueError, AttributeError, UnicodeDecodeError):
        raise CommandError(f"{str(path / METADATA)!r} is damaged: it is not JSON") from None
    if not (path / _CLASS_AND_ARGS).is_file():
        raise CommandError(f"{str(path)!r} is no complete Algorithm checkpoint (type {kind!r})")
    return path


def config_state(path: Path) -> dict[str, Any]:
    """The state of the configuration a checkpoint was made with (imports what its pickle names).

    Raises:
        CommandError: If it cannot be read.
    """
    from rllib_dbf.checkpoint import CheckpointError, read_config

    try:
        return read_config(path)
    except CheckpointError as error:
        raise CommandError(one_line(error)) from error
