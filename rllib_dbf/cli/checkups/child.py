"""Work in a process of its own: what is checked there may crash or hang, and nothing else does.

The parent calls `ask`; the module it names calls `begin` in the child, and tells what happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

GIVEN_UP, LATE = "given up", "no answer within"
_GRACE = 5.0  # seconds in which a child that is told to end may end what it has started
_running: set[subprocess.Popen] = set()


class Answer(NamedTuple):
    """What a child told, and how it ended."""

    told: list[dict[str, Any]]
    end: str  # "" if it ended by itself with exit code 0
    noise: str  # what it and its libraries wrote to stdout and stderr

    def last(self, key: str, otherwise: Any = None) -> Any:
        """The latest value that it told under a name."""
        return next((line[key] for line in reversed(self.told) if key in line), otherwise)

    def why(self) -> str:
        """Why it did not do what it was asked for."""
        ended_by_us = self.end == GIVEN_UP or self.end.startswith(LATE)
        return self.end if ended_by_us else self.last("error") or self.end


def ask(module: str, limit: float, give_up_on: Collection[str] = (), **content: Any) -> Answer:
    """Run a module of this package in a child process.

    Args:
        module: Its full name.
        limit: Seconds it may take.
        give_up_on: Do not wait any longer once the child's noise holds one of these.
        **content: Handed to the child, as JSON.
    """
    ours, theirs = os.pipe()  # the child's end of it closes with this process, whatever ends it
    with TemporaryFile() as told, TemporaryFile() as noise:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(ours), sys.argv[0], json.dumps(content)],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=noise,
            pass_fds=(ours,),
            start_new_session=True,
        )
        os.close(ours)
        _running.add(process)
        try:
            why = _wait(process, limit, noise, give_up_on)
        finally:
            _end(process)
            _running.discard(process)
            os.close(theirs)
        return Answer(_lines(_read(told)), why, _read(noise))


def end_all() -> None:
    """End every child that is running; those who wait for them are answered at once."""
    for process in list(_running):
        _end(process)


def _environment() -> dict[str, str]:
    """Modules are found as in this process."""
    folders = [path or str(Path.cwd()) for path in sys.path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders), "PYTHONUNBUFFERED": "1"}


def _wait(
    process: subprocess.Popen, limit: float, noise: IO[bytes], enough: Collection[str]
) -> str:
    """Wait for the child's end; how it ended, "" for well."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=0.2)
            return "" if code == 0 else f"its process ended with {_meaning(code)}"
        heard = os.pread(noise.fileno(), 1 << 20, 0) if enough else b""
        if any(text.encode() in heard for text in enough):
            return GIVEN_UP
    return f"{LATE} {limit:g} s"


def _meaning(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _end(process: subprocess.Popen) -> None:
    """End a child and all it has started, gently at first."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _lines(text: str) -> list[dict[str, Any]]:
    """What was told in full; a child may be ended in the middle of a line."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def begin() -> tuple[dict[str, Any], Callable[..., None]]:
    """In the child: what the parent handed over, and the function to tell it something with."""
    parent = int(sys.argv[1])
    os.set_inheritable(parent, False)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what simulators print must not get between the lines for the parent
    content = json.loads(sys.argv[3])
    sys.argv[:] = sys.argv[2:3]  # as the command: Ray and this package look at it

    def tell(**line: Any) -> None:
        channel.write(json.dumps(line) + "\n")
        channel.flush()

    return content, tell


def _end_with(parent: int) -> None:
    """Wait until the parent is gone, then end this process and all it has started."""
    poll = select.poll()
    poll.register(parent, 0)
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.killpg(0, signal.SIGKILL)
