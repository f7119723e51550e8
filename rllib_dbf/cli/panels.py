"""The rich display: a panel per trial, redrawn in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rllib_dbf.cli.readings import EPISODES, LEARNER, duration, text_of

if TYPE_CHECKING:
    from rllib_dbf.cli.progress import View

_SHOWN_AT_ONCE = 4
_COLOURS = {"training": "cyan", "done": "green", "stopped": "yellow", "failed": "red"}


def live(views: dict[str, View]) -> Live:
    """A live picture of the trials; redraws itself from the same dictionary."""
    return Live(get_renderable=lambda: picture(views), refresh_per_second=4, transient=False)


def picture(views: dict[str, View]) -> RenderableType:
    """All trials: running ones first, and how many there are besides those shown."""
    if not views:
        return Spinner("dots", text=" starting Ray and its workers")
    order = sorted(views.values(), key=lambda view: view.status not in ("training", "starting"))
    shown: list[RenderableType] = [panel(view) for view in order[:_SHOWN_AT_ONCE]]
    if len(order) > _SHOWN_AT_ONCE:
        shown.append(Text(f"… and {len(order) - _SHOWN_AT_ONCE} more", style="dim"))
    return Group(*shown)


def panel(view: View) -> Panel:
    """One trial."""
    colour = _COLOURS.get(view.status, "white")
    body: RenderableType
    if not view.numbers:
        body = Spinner("dots", text=" starting: workers, environment, first episodes")
    else:
        body = Group(_pace(view, colour), Text(""), Columns(_tables(view), padding=(0, 4)))
    return Panel(
        body,
        title=f"{view.name} · {view.status}",
        title_align="left",
        border_style=colour,
        box=box.ROUNDED,
    )


def _pace(view: View, colour: str) -> RenderableType:
    """Progress bar, steps, speed and time left."""
    words = [f"{text_of('steps', view.numbers.get('steps', 0))} steps"]
    if view.steps_per_second is not None:
        words.append(f"{view.steps_per_second:,.0f} steps/s")
    if "seconds" in view.numbers:
        words.append(duration(view.numbers["seconds"]))
    if view.eta is not None:
        words.append(f"{duration(view.eta)} left")
    line = Table.grid(padding=(0, 2), expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right")
    done = 1.0 if view.status == "done" else view.done
    bar = ProgressBar(
        total=1.0, completed=done or 0.0, complete_style=colour, finished_style=colour
    )
    line.add_row(bar if done is not None else Text("no end in steps or time", style="dim"), "")
    line.add_row(Text(" · ".join(words)), Text(f"{done:.0%}" if done is not None else ""))
    return line


def _tables(view: View) -> list[RenderableType]:
    """Episodes (exploring beside greedy) and what the learner says."""
    numbers = view.numbers
    tables: list[RenderableType] = []
    evaluated = any(f"eval_{name}" in numbers for name in EPISODES)
    episodes = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "exploring", "greedy") if evaluated else ("", "exploring"):
        episodes.add_column(heading, justify="right" if heading else "left")
    for name, label in EPISODES.items():
        row = [_cell(numbers, name), *([_cell(numbers, f"eval_{name}")] if evaluated else [])]
        if any(row):
            episodes.add_row(label, *row)
    if episodes.row_count:
        tables.append(episodes)
    learner = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    learner.add_column("")
    learner.add_column("learner", justify="right")
    for name, label in {"epsilon": "ε", **LEARNER}.items():
        if name in numbers:
            learner.add_row(label, _cell(numbers, name))
    if learner.row_count:
        tables.append(learner)
    return tables


def _cell(numbers: dict[str, float], name: str) -> str:
    return text_of(name, numbers[name]) if name in numbers else ""
