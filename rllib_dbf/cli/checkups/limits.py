"""What a container allows this process: control groups, version 1 and 2."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_NONE = 1 << 60  # version 1 says "no limit" with a number near 2**63


def memory_limit(root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that this process's group may use, or None."""
    found = [
        *_numbers(_files(root, own, "", "memory.max")),
        *_numbers(_files(root, own, "memory", "memory.limit_in_bytes")),
    ]
    return min((limit for limit in found if limit < _NONE), default=None)


def memory_used(root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that this process's group uses without what the kernel can drop, or None."""
    for group, now, cached in (
        ("", "memory.current", "inactive_file"),
        ("memory", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for file in _files(root, own, group, now):
            for used in _numbers(iter([file])):
                return used - _statistic(file.with_name("memory.stat"), cached)
    return None


def core_limit(root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time that this process's group may use, or None."""
    found = []
    for file in _files(root, own, "", "cpu.max"):
        with contextlib.suppress(OSError, ValueError):
            quota, period = file.read_text().split()
            found.append(int(quota) / int(period))  # "max 100000": no limit
    for file in _files(root, own, "cpu", "cpu.cfs_quota_us"):
        periods = list(_numbers(iter([file.with_name("cpu.cfs_period_us")])))
        found += [q / p for q in _numbers(iter([file])) for p in periods if q > 0]
    return min(found, default=None)


def _files(root: Path, own: Path, group: str, name: str) -> Iterator[Path]:
    """The files of this process's group and of those around it, from the inside out."""
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if group in controllers.split(","):
                inside = root / group / path.lstrip("/")
                top = root / group
                for folder in (inside, *inside.parents):
                    if folder == top or top in folder.parents:
                        yield folder / name


def _numbers(files: Iterator[Path]) -> Iterator[int]:
    for file in files:
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            yield int(file.read_text())


def _statistic(file: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(dict(line.split() for line in file.read_text().splitlines())[name])
    return 0
