"""The process that one task lives in; started by `ProcessLane` as `python -m` this module.

It dies with its parent, whatever the simulator is doing, and takes along what it started.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection

from rllib_dbf.envs.lanes import Player
from rllib_dbf.envs.shared_rows import SharedRow
from rllib_dbf.envs.team_task import EpisodeLostError

FOR_THE_USER: tuple[type[Exception], ...] = (ImportError, FileNotFoundError, ValueError)
"""What a task's maker raises to say what is missing or wrong."""


def main() -> None:
    """Make the task that the parent describes, and serve it until told to close."""
    parent, memory = Connection(int(sys.argv[1])), int(sys.argv[2])
    os.dup2(2, 1)  # whatever simulators print must not get between a command's own output
    threading.Thread(target=_die_with, args=(parent.fileno(),), daemon=True).start()
    try:
        player = _make(parent)
        row = SharedRow(memory, player.task.spec)
        parent.send(("ready", player.task.spec))
        _serve(parent, player, row)
        player.close()
        return
    except EOFError:
        pass  # the parent is gone, and this thread saw it first
    except BaseException:  # a stranger's simulator may raise anything; the parent tells the user
        with contextlib.suppress(OSError):
            parent.send(("failed", traceback.format_exc()))
    os.killpg(0, signal.SIGKILL)  # with what the simulator has started


def _make(parent: Connection) -> Player:
    """The task; an error that is meant for the user is sent as it is, without a traceback."""
    try:
        return Player(pickle.loads(parent.recv_bytes()))
    except FOR_THE_USER as error:
        sort = next(sort for sort in FOR_THE_USER if isinstance(error, sort))
        parent.send(("refused", (sort, str(error))))
        raise EOFError from error


def _serve(parent: Connection, player: Player, row: SharedRow) -> None:
    while True:
        what, argument = parent.recv()
        if what == "close":
            return
        try:
            if what == "draw":
                parent.send(("drawn", player.draw()))
            elif what == "reset":
                parent.send(("shown", row.write(player.reset(argument))))
            else:
                parent.send(("shown", row.write(player.step(row.actions.copy()))))
        except EpisodeLostError as error:
            parent.send(("lost", str(error)))


def _die_with(parent: int) -> None:
    """Wait until the parent's end of the pipe is closed, then end this process's whole group."""
    poll = select.poll()
    poll.register(parent, 0)
    poll.poll()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
