"""A task in a process of its own: simulators that crash, hang, or exist once per process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import cloudpickle
from jaxtyping import Int
from numpy import ndarray

from rllib_dbf.envs.lanes import LaneCrashedError
from rllib_dbf.envs.shared_rows import SharedRow, anonymous_file
from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.envs.team_task import FilledStep, TeamTask

_START = 120.0  # seconds that importing a simulator may take on a busy machine
_GRACE = 10.0  # seconds a simulator has to close itself


class ProcessLane:
    """Starts the process at once, asks it through a pipe, and reads its arrays where they are.

    Args:
        make: Makes the task, there. What pickle cannot name (a lambda, a class of the main
            script) travels by value.
        timeout: Seconds an answer may take before the process is taken for hanging and ended; a
            start may take two minutes at least.
    """

    def __init__(self, make: Callable[[], TeamTask], timeout: float) -> None:
        self._make, self._timeout = cloudpickle.dumps(make), timeout
        self._spec: TeamSpec | None = None
        self._process: subprocess.Popen | None = None
        self._pipe: Any = None  # a Connection
        self._row: SharedRow | None = None
        self._why = "it was closed"
        self._launch()

    def _launch(self) -> None:
        ours, theirs = Pipe()
        self._file = anonymous_file()
        env = os.environ | {"PYTHONUNBUFFERED": "1"}
        env.setdefault("OMP_NUM_THREADS", "1")
        env.setdefault("PYTHONHASHSEED", "0")  # simulators that iterate over sets of names
        folders = [path or str(Path.cwd()) for path in sys.path]
        env["PYTHONPATH"] = os.pathsep.join(folders)
        handles = theirs.fileno(), self._file
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rllib_dbf.envs.task_process", *map(str, handles)],
            env=env,
            stdin=subprocess.DEVNULL,
            pass_fds=handles,
            start_new_session=True,
        )
        theirs.close()
        self._pipe, self._row = ours, None
        with contextlib.suppress(BrokenPipeError):  # the answer, or its absence, tells why
            ours.send_bytes(self._make)

    def spec(self) -> TeamSpec:
        """Sizes and facts.

        Raises:
            ImportError, FileNotFoundError, ValueError: What the task's maker raised.
            RuntimeError: If the task cannot be made for another reason.
        """
        if self._spec is None:
            try:
                self._ready()
            except LaneCrashedError as error:
                raise RuntimeError(f"the environment's process could not start: {error}") from error
        assert self._spec is not None
        return self._spec

    def _ready(self) -> SharedRow:
        """The shared arrays, once the task is there."""
        if self._process is None:
            self._launch()
        if self._row is None:
            self._spec = self._answer("ready", max(self._timeout, _START))
            self._row = SharedRow(self._file, self._spec)
        return self._row

    def begin_reset(self, seed: int) -> None:
        """Ask for a new episode; starts a new process where the old one crashed."""
        with contextlib.suppress(LaneCrashedError):  # said again by `finish`
            self._ready()
        self._ask("reset", seed)

    def begin_step(self, actions: Int[ndarray, " N"]) -> None:
        """Ask for a step."""
        if self._row is not None:
            self._row.actions[...] = actions
        self._ask("step", None)

    def finish(self) -> FilledStep:
        """Wait for what was asked for.

        Raises:
            LaneCrashedError: If the process died, hung, or reports a failure.
        """
        rest = self._answer("shown")
        assert self._row is not None
        return self._row.read(rest)

    def draw(self) -> ndarray | None:
        """A picture.

        Raises:
            LaneCrashedError: If the process died or hung.
        """
        self._ask("draw", None)
        return self._answer("drawn")

    def close(self) -> None:
        """Let the task close itself, then end the process and all it started."""
        if self._process is None:
            return
        self._ask("close", None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_GRACE)
        self._end()

    def _ask(self, what: str, argument: Any) -> None:
        if self._pipe is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._pipe.send((what, argument))

    def _answer(self, wanted: str, timeout: float | None = None) -> Any:
        """The content of the answer.

        Raises:
            LaneCrashedError: If it is another answer, or none.
        """
        if self._pipe is None:
            raise LaneCrashedError(self._why)
        try:
            if not self._pipe.poll(timeout or self._timeout):
                late = f"{timeout or self._timeout:g} s"
                raise self._ended(f"no answer within {late}; its process was ended")
            kind, content = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            code = self._process.wait() if self._process else None
            raise self._ended(f"its process ended ({_meaning(code)})") from None
        if kind == "refused":
            sort, text = content
            self._ended(text)
            raise sort(text)
        if kind == "failed":
            raise self._ended(content.strip())
        if kind != wanted:
            raise LaneCrashedError(content)
        return content

    def _ended(self, why: str) -> LaneCrashedError:
        """End the process group, and forget it; the error to raise."""
        self._end()
        self._why = why
        return LaneCrashedError(why)

    def _end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            os.close(self._file)
        if self._pipe is not None:
            self._pipe.close()
        self._process, self._pipe, self._row = None, None, None


def _meaning(code: int | None) -> str:
    """An exit code in words."""
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
