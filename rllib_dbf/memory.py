"""Memory that arrays of one update leave to those of the next."""

from __future__ import annotations

import ctypes
import functools
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEPT = 1 << 30  # bytes
_OWN_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB that it has freed, where the C library is glibc.

    By itself glibc takes arrays of more than 32 MiB from the system one by one and gives them
    back: a batch of 32 episodes of 27 agents is cleared, page by page, with every update, which
    was a quarter of the time.

    Returns:
        Whether it does: not with another C library, nor where the user has settings of their own
        (glibc's `MALLOC_*` variables or `GLIBC_TUNABLES`).
    """
    if any(name in os.environ for name in _OWN_SETTINGS):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEPT)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
