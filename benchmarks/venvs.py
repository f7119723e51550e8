"""Environments of the peers: made on demand under `.bench/`, from the pins in `peers/`."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

from benchmarks.child import NotMeasured
from benchmarks.suite import HERE, ROOT

WHERE = ROOT / ".bench"


def interpreter(peer: str) -> Path:
    """The Python of a peer's own virtual environment, installed if it is not yet there.

    Raises:
        NotMeasured: If it cannot be installed; says why.
    """
    folder = WHERE / peer
    python = folder / "bin" / "python"
    pins = HERE / "peers" / f"{peer}.txt"
    if not _is_current(folder, pins):
        base = _base_python()
        _call(peer, [base, "-m", "venv", "--clear", "--without-pip", str(folder)])
        _call(peer, [base, "-m", "pip", "--python", str(python), "install", "-r", str(pins)])
        _stamp(folder, pins)
    return python


def package_folder(name: str) -> Path:
    """A folder with packages to use beside our own (no dependencies), installed if need be.

    Raises:
        NotMeasured: If they cannot be installed; says why.
    """
    folder = WHERE / name
    pins = HERE / "peers" / f"{name}.txt"
    if not _is_current(folder, pins):
        arguments = ["install", "--no-deps", "--upgrade", "--target", str(folder), "-r", str(pins)]
        _call(name, [_base_python(), "-m", "pip", *arguments])
        _stamp(folder, pins)
    return folder


def _base_python() -> str:
    """The interpreter our environment was made with; `./run` made sure that it has pip."""
    return getattr(sys, "_base_executable", sys.executable)


def _call(name: str, command: list[str]) -> None:
    print(f"bench: installing {name} into {WHERE.name}/ ...", file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        errors = [line for line in lines if "error" in line.lower()] or lines
        raise NotMeasured(f"{name} could not be installed: {errors[0]}")


def _is_current(folder: Path, pins: Path) -> bool:
    stamp = folder / ".stamp"
    return stamp.is_file() and stamp.read_text() == _checksum(pins)


def _stamp(folder: Path, pins: Path) -> None:
    (folder / ".stamp").write_text(_checksum(pins))


def _checksum(pins: Path) -> str:
    return str(zlib.crc32(pins.read_bytes()))
