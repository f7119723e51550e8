"""Measurements as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.suite import Figure


class Row:
    """A line of the table with every measurement behind it.

    Args:
        figure: What it shows.
        values: One measurement per round; None where the figure was not reached.
        not_measured: Why there are none.
    """

    def __init__(
        self, figure: Figure, values: list[float | None], not_measured: str | None = None
    ) -> None:
        self.figure, self.values, self.not_measured = figure, values, not_measured
        self.ratios: list[float] = []

    @property
    def median(self) -> float | None:
        """Of all measurements; None if half of them did not reach the figure."""
        return _finite(statistics.median(_or_inf(self.values))) if self.values else None

    @property
    def ratio(self) -> float | None:
        """Median of the ratios, each of two measurements of one round."""
        return statistics.median(self.ratios) if self.ratios else None

    def compare_with(self, base: Row) -> None:
        """Take the ratio to another line, round by round."""
        both = zip(self.values, base.values, strict=False)
        self.ratios = [mine / theirs for mine, theirs in both if mine is not None and theirs]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        goal = self.figure.goal
        return {
            "label": self.figure.label,
            "unit": self.figure.unit,
            "median": self.median,
            "values": self.values,
            "versus": self.figure.versus or None,
            "ratio": self.ratio,
            "ratios": self.ratios,
            "goal": str(goal) if goal else None,
            "goal_met": self.goal_met(),
            "note": self.figure.note or None,
            "not_measured": self.not_measured,
        }

    def goal_met(self) -> bool | None:
        """Whether the goal is reached; None if there is none or nothing was measured."""
        if self.figure.goal is None or not self.values:
            return None
        if self.median is None:
            return False
        return self.figure.goal.is_met(self.median, self.ratio)


def compare(rows: list[Row]) -> None:
    """Fill in the ratios of lines that name another."""
    by_label = {row.figure.label: row for row in rows}
    for row in rows:
        if row.figure.versus:
            row.compare_with(by_label[row.figure.versus])


def table(rows: list[Row]) -> Table:
    """The lines of a benchmark; columns nobody fills are left out."""
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("what", overflow="fold")
    for column in ("median", "from … to"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("unit", no_wrap=True)
    compared = any(row.figure.versus for row in rows)
    judged = any(row.figure.goal for row in rows)
    if compared:
        shown.add_column("ratio to", overflow="fold")
    if judged:
        shown.add_column("goal", no_wrap=True)
    for row in rows:
        cells = [_named(row), *_measured(row), row.figure.unit]
        cells += [_ratio(row)] if compared else []
        cells += [_goal(row)] if judged else []
        shown.add_row(*cells)
    return shown


def show(title: str, rows: list[Row]) -> None:
    """Print the table; into a file or a pipe, wide enough for every cell."""
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(f"\n{title}", style="bold", highlight=False, soft_wrap=True)
    console.print(table(rows))


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report, with null where a number is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")


def number(value: float | None) -> str:
    """Three digits, or all of a large number's whole ones."""
    if value is None:
        return "not reached"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _named(row: Row) -> str:
    reason = f"not measured: {row.not_measured}" if row.not_measured else ""
    lines = [row.figure.label, row.figure.note, reason]
    return "\n  ".join(escape(line) for line in lines if line)


def _measured(row: Row) -> list[str]:
    if not row.values:
        return ["", ""]
    ordered = sorted(_or_inf(row.values))
    ends = f"{number(_finite(ordered[0]))} … {number(_finite(ordered[-1]))}"
    return [number(row.median), ends if len(ordered) > 1 else ""]


def _ratio(row: Row) -> str:
    return f"{row.ratio:.2f} × {row.figure.versus}" if row.ratio is not None else ""


def _goal(row: Row) -> str:
    met = row.goal_met()
    verdict = "" if met is None else "met" if met else "missed"
    return f"{row.figure.goal} {verdict}" if row.figure.goal else ""


def _or_inf(values: list[float | None]) -> list[float]:
    return [math.inf if value is None else value for value in values]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
