"""What a check finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rllib_dbf.cli.errors import one_line

Status = Literal["ok", "warning", "broken", "absent"]
_LONGEST = 300  # characters of somebody else's error message


class Finding(NamedTuple):
    """One line of the doctor's table."""

    check: str
    status: Status
    detail: str
    remedy: str = ""


def brief(error: BaseException | str) -> str:
    """An error in one line of bearable length; of a traceback only the error it ends with."""
    text = str(error) if isinstance(error, str) else f"{type(error).__name__}: {error}"
    before, traceback, after = text.partition("Traceback (most recent call last)")
    if traceback:
        lines = [line for line in after.splitlines() if line.strip()]
        text = f"{before} {lines[-1]}"
    text = one_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def in_gigabytes(count: int | float) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:.1f} GB"
