"""What a benchmark is made of, and where the benchmarks are found."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rllib_dbf.registry import Registry

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Options:
    """What the command line asks of every benchmark."""

    repeats: int = 3
    seconds: float = 2.0  # of each single measurement
    env: str = "smax/3m"
    seed: int = 0
    full: bool = False  # more sizes and seeds, for a figure to be published
    overrides: dict[str, Any] = field(default_factory=dict)  # settings of our trainings


class Goal(NamedTuple):
    """What a figure (or its ratio to another) should reach."""

    at_least: float | None = None
    at_most: float | None = None
    of_ratio: bool = False

    def is_met(self, median: float | None, ratio: float | None) -> bool | None:
        """Whether it is reached; None where there is nothing to judge."""
        value = ratio if self.of_ratio else median
        if value is None:
            return None
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {bound:,g}{' ×' if self.of_ratio else ''}"


class Figure(NamedTuple):
    """One line of the table: which figure of a contestant it shows, and under what name."""

    label: str  # names the line within its benchmark
    key: str = "steps_per_second"  # in what the probe returns
    unit: str = "env-steps/s"
    versus: str = ""  # label of the line that the ratio divides by
    goal: Goal | None = None
    note: str = ""


class Contestant(NamedTuple):
    """A probe with its settings; all contestants of a benchmark take turns."""

    probe: str  # module of benchmarks/probes/
    settings: dict[str, Any]
    figures: tuple[Figure, ...]
    peer: str = ""  # runs in the environment that benchmarks/peers/NAME.txt pins
    packages: str = ""  # packages beside our own, pinned in the same way
    needs_ray: bool = False
    rounds: int | None = None  # fewer measurements than --repeats, where one takes long


def benchmark_names() -> list[str]:
    """Names of all benchmarks, sorted."""
    return sorted(p.stem for p in (HERE / "cases").glob("[a-z]*.py"))


def benchmark(name: str) -> Any:
    """The module of a benchmark: a docstring and `contestants(options)`.

    Raises:
        UnknownNameError: If there is none of this name.
    """
    known: Registry[str] = Registry("benchmark")
    for each in benchmark_names():
        known.register(each)(each)
    return importlib.import_module(f"benchmarks.cases.{known[name]}")


def summary(name: str) -> str:
    """First line of what a benchmark says about itself."""
    return (benchmark(name).__doc__ or "").strip().splitlines()[0]
