"""Runs the installed `rllib` script as a person would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("rllib")


def rllib(
    *arguments: str, cwd: Path | None = None, timeout: float = 480, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `rllib ARGUMENTS` and return what it printed and its exit code."""
    return subprocess.run(
        [str(SCRIPT), *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", "PYTHONWARNINGS": "ignore", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    """The command ended with `code` and one line on stderr that holds all `words`."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("rllib: error: ")
    for word in words:
        assert word in lines[0], lines[0]
