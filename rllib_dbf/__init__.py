"""Cooperative multi-agent reinforcement learning with deaths, for RLlib.

Importing the package makes its presets and environments known to Ray, so that `Tuner("DBF")`
works in the driver and in every worker. The package's own command is the exception: it answers
`--help` before Ray could be imported, and calls `register` when it needs Ray.
"""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rllib_dbf.algorithm import DBF
    from rllib_dbf.config import DBFConfig

__all__ = ["DBF", "DBFConfig", "register"]


def register() -> None:
    """Make presets and environments known to Ray; harmless to repeat."""
    from rllib_dbf.registration import register as register_all

    register_all()


def __getattr__(name: str) -> Any:
    """`DBF` and `DBFConfig`, imported when they are asked for."""
    if name == "DBF":
        from rllib_dbf.algorithm import DBF

        return DBF
    if name == "DBFConfig":
        from rllib_dbf.config import DBFConfig

        return DBFConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _imported_by_own_command() -> bool:
    """Whether this process is `rllib`, `python -m rllib_dbf`, or a process that these start."""
    program = PurePath(sys.argv[0] if sys.argv else "")
    if program.name == "-m":
        module = sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] if "-m" in sys.orig_argv else []
        own = ("rllib_dbf", "rllib_dbf.envs.task_process")
        return any(name in own or name.startswith("rllib_dbf.cli.") for name in module)
    return program.stem in ("rllib", "rllib-dbf") and program.suffix in ("", ".exe")


if not _imported_by_own_command():
    register()
