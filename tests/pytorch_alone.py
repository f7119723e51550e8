"""Doing without compiled code."""

import contextlib
from collections.abc import Iterator

import pytest

from rllib_dbf.compiled import library


@contextlib.contextmanager
def pytorch_alone() -> Iterator[None]:
    """No compiled code in here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "library", lambda: library.Library(None, "not here"))
        patch.setattr(library, "switched_on", lambda: False)
        yield
