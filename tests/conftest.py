"""Fixtures shared by all tests; the package itself is imported inside tests only.

The checks of shapes and types (`--jaxtyping-packages`) are installed after this file is read, and
cannot reach a module that is imported by then.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# One thread a process: tests share the cores with each other and with Ray's workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

ROOT = Path(__file__).resolve().parent.parent

# Files that take minutes, the longest first; all others take less than two.
_LONG = (
    "test_docs.py",
    "cli/test_resume.py",
    "cli/test_submit.py",
    "cli/test_environments.py",
    "cli/test_runs.py",
    "objectives/test_known_answers.py",
    "rllib/test_another_device.py",
    "rllib/test_learning.py",
    "envs/test_simulators.py",
    "rllib/test_resume.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: processes that share the tests then end at about the same time."""
    rank = {ROOT / "tests" / name: place for place, name in enumerate(_LONG)}
    missing = [str(path) for path in rank if not path.is_file()]
    if missing:
        raise pytest.UsageError(f"conftest.py sorts files that there are not: {missing}")
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
