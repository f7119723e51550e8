"""How a command ends: exit codes, and errors that are one line."""

from __future__ import annotations

import re

DONE, FAILED, USAGE, TARGET_MISSED, INTERRUPTED = 0, 1, 2, 3, 130


class CommandError(Exception):
    """Something the person at the keyboard can put right: bad input, exit code 2."""

    exit_code = USAGE


class TrialError(CommandError):
    """A trial failed: exit code 1."""

    exit_code = FAILED


def one_line(error: BaseException | str) -> str:
    """The message of an error without line breaks; its type where the message says nothing."""
    text = str(error) if isinstance(error, str) else str(error) or type(error).__name__
    return " ".join(text.split())


def cause_of(error: BaseException) -> str:
    """The innermost error of a failed trial in one line.

    Ray wraps an exception of a worker into others whose text is the worker's traceback; the line
    that names the cause is the last that starts like an exception, before cleaning up raised more.
    """
    text = str(error).partition("During handling of the above exception")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [x for x in lines if re.match(r"^([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Exit)\b", x)]
    telling = [x for x in named if ": " in x]  # `raise RuntimeError from cause` says nothing
    return one_line([type(error).__name__, *lines[-1:], *named[-1:], *telling[-1:]][-1])
