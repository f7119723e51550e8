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


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
