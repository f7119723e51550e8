"""Runs one benchmark: its contestants take turns, so that ratios stem from the same minutes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.child import BrokeDown, NotMeasured
from benchmarks.report import Row, compare
from benchmarks.suite import Contestant, Figure, Options, benchmark
from benchmarks.worker import Worker


class Result:
    """The rows of a benchmark, and how they came about."""

    def __init__(self, name: str, rows: list[Row], contestants: list[dict[str, Any]]) -> None:
        self.name, self.rows, self.contestants = name, rows, contestants
        self.broke_down = any(each["broke_down"] for each in contestants)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "name": self.name,
            "rows": [row.as_dict() for row in self.rows],
            "contestants": self.contestants,
            "load_average_after": machine.load_average(),
        }


def run(
    name: str, options: Options, logs: Path, ray_address: str | None, threads: int | None
) -> Result:
    """Measure every contestant of a benchmark, `options.repeats` times in turn.

    Args:
        name: Name of the benchmark.
        options: What the command line asks for.
        logs: Folder for what the processes print.
        ray_address: The Ray that contestants share.
        threads: Torch threads of every process (None: as Torch chooses).
    """
    try:
        contestants = benchmark(name).contestants(options)
    except NotMeasured as reason:
        return Result(name, [Row(Figure("everything", unit=""), [], str(reason))], [])
    runs = [_Run(c, logs / f"{name}-{i}.log") for i, c in enumerate(contestants)]
    logs.mkdir(parents=True, exist_ok=True)
    try:
        for each in runs:
            each.start(ray_address, threads)
        for each in runs:
            each.wait_until_ready()
        for i in range(options.repeats):
            for each in runs:
                each.measure(i)
    except BaseException:  # interrupted or told to end: nothing is to stay behind
        for each in runs:
            each.kill()
        raise
    for each in runs:
        each.end()
    rows = [row for each in runs for row in each.rows()]
    compare(rows)
    return Result(name, rows, [each.as_dict() for each in runs])


def needs_ray(names: list[str], options: Options) -> bool:
    """Whether any of these benchmarks has a contestant that needs Ray."""
    for name in names:
        with contextlib.suppress(NotMeasured):
            if any(c.needs_ray for c in benchmark(name).contestants(options)):
                return True
    return False


@contextlib.contextmanager
def shared_ray(wanted: bool) -> Iterator[str | None]:
    """A local Ray for all contestants that need one; starting it takes longer than measuring."""
    if not wanted:
        yield None
        return
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    context: Any = ray.init(
        address="local",
        num_cpus=64,  # a label: idle processes take no core, and runners are to outnumber cores
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        yield context.address_info["address"]
    finally:
        ray.shutdown()


class _Run:
    """One contestant: its process, what it measured, and why it did not."""

    def __init__(self, contestant: Contestant, log: Path) -> None:
        self.contestant, self.log = contestant, log
        self.measured: list[dict[str, float | None]] = []
        self.not_measured: str | None = None
        self.broke_down = False
        self.worker: Worker | None = None

    def start(self, ray_address: str | None, threads: int | None) -> None:
        with self._or_reason():
            self.worker = Worker(self.contestant, self.log, ray_address, threads)

    def wait_until_ready(self) -> None:
        if self.worker is not None and self.not_measured is None:
            with self._or_reason():
                self.worker.wait_until_ready()

    def measure(self, i: int) -> None:
        rounds = self.contestant.rounds
        if self.worker is None or self.not_measured or (rounds is not None and i >= rounds):
            return
        with self._or_reason():
            self.measured.append(self.worker.measure())

    def end(self) -> None:
        if self.worker is not None:
            self.worker.end()

    def kill(self) -> None:
        if self.worker is not None:
            self.worker.kill()

    def rows(self) -> list[Row]:
        return [
            Row(f, [m[f.key] for m in self.measured], self.not_measured)
            for f in self.contestant.figures
        ]

    def as_dict(self) -> dict[str, Any]:
        worker = self.worker
        return {
            "probe": self.contestant.probe,
            "settings": self.contestant.settings,
            "peer": self.contestant.peer or None,
            "versions": worker.versions if worker else {},
            "torch_threads": worker.torch_threads if worker else None,
            "peak_rss_mb": worker.peak_rss_mb if worker else None,
            "measured": self.measured,
            "not_measured": self.not_measured,
            "broke_down": self.broke_down,
        }

    @contextlib.contextmanager
    def _or_reason(self) -> Iterator[None]:
        try:
            yield
        except NotMeasured as reason:
            self.not_measured, self.broke_down = str(reason), isinstance(reason, BrokeDown)
