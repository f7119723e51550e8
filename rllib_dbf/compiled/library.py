"""Building the C files beside this one with the machine's own compiler, and calling them."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

from numpy import ndarray

_FOLDER = Path(__file__).parent
SOURCES = sorted(_FOLDER.glob("*.c"))
SWITCH = "RLLIB_DBF_COMPILED"
_FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_WISHES = (("-march=native", "-fopenmp"), ("-march=native",), ("-fopenmp",), ())
_SECONDS = 120


class Library(NamedTuple):
    """The loaded functions, or why there are none."""

    functions: ctypes.CDLL | None
    reason: str


def switched_on() -> bool:
    """Whether the user lets compiled code, in C or for a GPU, be used.

    Raises:
        ValueError: If `RLLIB_DBF_COMPILED` is neither 0 nor 1.
    """
    switch = os.environ.get(SWITCH, "1")
    if switch not in ("0", "1"):
        raise ValueError(f"{SWITCH}={switch!r} is neither 0 (PyTorch alone) nor 1 (the default)")
    return switch == "1"


@functools.cache
def library() -> Library:
    """The functions of the C files, built the first time on a machine and kept in the user's cache.

    Switched off by `RLLIB_DBF_COMPILED=0`; `CC` names the compiler. Without one there is a warning,
    and PyTorch and JAX do the same work.

    Raises:
        ValueError: If `RLLIB_DBF_COMPILED` is neither 0 nor 1.
    """
    if not switched_on():
        return Library(None, f"switched off by {SWITCH}=0")
    try:
        path = _built()
        return Library(ctypes.CDLL(str(path)), f"built with {_compiler()[0]}: {path}")
    except (OSError, subprocess.SubprocessError) as error:
        reason = f"{error}; PyTorch and JAX do the same work, more slowly"
        message = f"Compiled code is not used: {reason}. See docs/performance.md."
        warnings.warn(message, stacklevel=2)
        return Library(None, reason)


def pointer(array: ndarray | None) -> ctypes.c_void_p:
    """Where an array's numbers lie, which must be one after the other; null for None."""
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def _compiler() -> list[str]:
    """The compiler's command."""
    named = os.environ.get("CC")
    if named:
        return shlex.split(named)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise FileNotFoundError("no C compiler (cc, gcc, clang) is on the PATH, and CC names none")


def _built() -> Path:
    """Where the library is, after building it if it was not."""
    compiler = _compiler()
    key = hashlib.sha256()
    for source in (*SOURCES, *sorted(_FOLDER.glob("*.h"))):
        key.update(source.read_bytes())
    key.update(repr((compiler, _FLAGS, _WISHES, _processor())).encode())
    folder = _cache()
    path = folder / f"layers-{key.hexdigest()[:20]}.so"
    if path.exists() and _why_not(path) is None:
        return path
    errors = []
    for wishes in _WISHES:
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            out = Path(fresh) / path.name
            command = [*compiler, *_FLAGS, *wishes, "-o", str(out), *map(str, SOURCES), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
            if done.returncode:
                errors.append(done.stderr.strip())
                continue
            why = _why_not(out)  # a wish may compile and have no library behind it
            if why is not None:
                errors.append(why)
                continue
            out.replace(path)  # at once: other processes may be building the same
            return path
    raise OSError(f"{shlex.join(command)} failed: {errors[-1]}")


def _why_not(path: Path) -> str | None:
    """Why a library cannot be loaded; None if it can."""
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return str(error)
    return None


def _processor() -> str:
    """What code for "this processor" depends on: a home may be shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return repr(platform.uname())
    told = ("model name", "flags", "Features", "CPU part")
    return repr((platform.machine(), sorted({line for line in lines if line.startswith(told)})))


def _cache() -> Path:
    """A folder of the user's own; a fresh one where there is no home that can be written to."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(os.environ.get("RLLIB_DBF_CACHE") or Path(base) / "rllib_dbf")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # the latter: a user without a home
        return Path(tempfile.mkdtemp(prefix="rllib_dbf-"))
