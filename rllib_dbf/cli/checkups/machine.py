"""Cores, memory, disks and shared memory of this machine, or of the container on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from rllib_dbf.cli.checkups import limits
from rllib_dbf.cli.checkups.finding import Finding, in_gigabytes

_LITTLE_MEMORY = 4e9  # a driver, an env runner and Ray's own processes take about 3 GB
_LITTLE_DISK = 2e9
_FULL = 0.95  # Ray refuses to spill objects to a disk that is fuller than this
_STORE_SHARE, _STORE_MOST, _STORE_SLOW = 0.3, 200e9, 1e10  # Ray's defaults


def check_machine(results: Path) -> Iterator[Finding]:
    """All of them; `results` is where runs are kept."""
    yield check_cores()
    yield check_threads()
    yield check_memory()
    yield check_disk("results disk", results, "another --storage-path")
    yield check_disk("ray's disk", _ray_folder(), "RAY_TMPDIR to a folder with more room")
    yield check_shared_memory()


def cores() -> float:
    """Cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(float(allowed or 1), limits.core_limit() or float("inf"))


def check_cores() -> Finding:
    """How many, and how many of them are allowed."""
    there, usable = os.cpu_count() or 1, cores()
    detail = f"{there}" if usable == there else f"{usable:g} of {there} may be used here"
    if usable < 2:
        remedy = "training works, but sampling and learning wait for each other"
        return Finding("cores", "warning", detail, remedy)
    return Finding("cores", "ok", detail)


def check_threads() -> Finding:
    """OMP_NUM_THREADS: too many threads in every process of Ray slow all of them down."""
    check, given = "OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS")
    if given is None:
        return Finding(check, "ok", "not set: Ray sets it to the cores that a process reserves")
    count = given.split(",")[0]  # one number per level of nesting
    if not count.isdigit() or int(count) < 1:
        return Finding(check, "warning", f"{given!r} is no count", f"unset {check}")
    if int(count) > max(1, cores()):
        detail = f"{given}, more than the {cores():g} cores there are"
        return Finding(check, "warning", detail, f"unset {check}, or set it to 1")
    return Finding(check, "ok", f"{given}, in every process")


def memory() -> tuple[int, int]:
    """Bytes in all and bytes to be had, container limits included."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        total = 0
    free = total
    statistics = Path("/proc/meminfo")
    if statistics.exists():
        rows = dict(line.split(":", 1) for line in statistics.read_text().splitlines())
        free = int(rows["MemAvailable"].split()[0]) * 1024
    limit = limits.memory_limit()
    if limit is not None and limit < total:
        return limit, max(0, min(free, limit - (limits.memory_used() or 0)))
    return total, free


def check_memory() -> Finding:
    """Whether there is enough to start with; Ray ends workers when 95 % are in use."""
    total, free = memory()
    where = " (the container's limit)" if limits.memory_limit() == total else ""
    detail = f"{in_gigabytes(free)} free of {in_gigabytes(total)}{where}"
    if free < _LITTLE_MEMORY:
        return Finding("memory", "warning", detail, "end other programs, or raise the limit")
    return Finding("memory", "ok", detail)


def check_disk(check: str, folder: Path, other: str) -> Finding:
    """Whether a folder, which need not be there yet, can be written to and has room."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        return Finding(check, "broken", f"{there} is no folder", f"choose {other}")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(check, "broken", f"{there} cannot be written to", f"choose {other}")
    usage = shutil.disk_usage(there)
    detail = f"{in_gigabytes(usage.free)} free of {in_gigabytes(usage.total)} at {folder}"
    if usage.free < _LITTLE_DISK or usage.free < (1 - _FULL) * usage.total:
        return Finding(check, "warning", detail, f"delete something, or set {other}")
    return Finding(check, "ok", detail)


def _ray_folder() -> Path:
    """As Ray chooses it."""
    if "RAY_TMPDIR" in os.environ:
        return Path(os.environ["RAY_TMPDIR"]) / "ray"
    linux = sys.platform.startswith("linux")
    return Path(os.environ.get("TMPDIR", "/tmp") if linux else "/tmp") / "ray"


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Whether Ray's object store fits; it falls back to a disk, where it is slow."""
    check = "shared memory"
    if not sys.platform.startswith("linux"):
        return Finding(check, "ok", "not used on this system: objects are on Ray's disk")
    if not folder.is_dir():
        remedy = f"mount a tmpfs at {folder}"
        return Finding(check, "warning", f"no {folder}: objects go to a disk", remedy)
    usage = shutil.disk_usage(folder)
    wanted = min(_STORE_SHARE * memory()[1], _STORE_MOST)
    fitting = max(_STORE_SLOW, 0.95 * usage.free)  # Ray makes the store smaller, down to 10 GB
    detail = f"{in_gigabytes(usage.free)} free of {in_gigabytes(usage.total)} at {folder}"
    detail += f"; Ray's object store takes {in_gigabytes(min(wanted, fitting))}"
    if usage.free >= min(wanted, fitting):
        return Finding(check, "ok", detail)
    size = max(1, round(1.1 * wanted / 1e9))
    remedy = f"docker run --shm-size={size}g (Kubernetes: emptyDir with medium Memory at {folder})"
    return Finding(check, "warning", f"{detail}, and goes to Ray's disk instead", remedy)
