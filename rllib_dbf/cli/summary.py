"""What a run leaves behind: final numbers, paths, learning curve, replay and the next command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from rllib_dbf.cli.errors import one_line
from rllib_dbf.cli.experiment import Experiment
from rllib_dbf.cli.labels import label, number_in
from rllib_dbf.cli.places import Place
from rllib_dbf.cli.readings import EPISODES, duration, flatten, number, readings, text_of

CURVE = "learning_curve.png"
REPLAY = "replay.gif"


def summarise(
    experiment: Experiment,
    place: Place,
    results: Any,
    display: str,
    searched: Sequence[str] = (),
) -> None:
    """Draw a run's pictures and print how it ended, as the display asks.

    Args:
        experiment: What was run.
        place: Where it lies.
        results: Tune's, one per trial.
        display: "json" and "none" print no words.
        searched: Settings in which trials differ.
    """
    finished = [result for result in results if result.metrics and "config" in result.metrics]
    if not finished:
        return
    console = Console(highlight=False, soft_wrap=True, quiet=display in ("json", "none"))
    console.print()
    finished.sort(key=lambda result: number_in(result.path) or 0)
    labels = [
        label(number_in(result.path) or i + 1, result.metrics["config"], searched)
        for i, result in enumerate(finished)
    ]
    console.print(_table(finished, labels))
    best = _best(experiment, finished)
    if best is not None:
        key = experiment.tuning.compared_by
        value = flatten(finished[best].metrics)[key]
        console.print(f"best: {labels[best]}, {key} {value:.4g}\n")
    paths = _pictures_and_paths(experiment, place, finished, labels, best or 0, console)
    console.print()
    for what, path in paths.items():
        console.print(f"{what:<15} {short(path)}")
    if "checkpoint" in paths:
        target = place.local if len(finished) == 1 and not place.is_remote else paths["checkpoint"]
        console.print("\nPlay more episodes with it (a run means its latest checkpoint):")
        console.print(f"  rllib evaluate {shlex.quote(short(target))} --episodes 100 --seed 1")
    if display == "json":
        numbers = [readings(result.metrics) for result in finished]
        last: dict[str, Any] = {"done": dict(zip(labels, numbers, strict=True))}
        last["best"] = None if best is None else labels[best]
        print(json.dumps(last | {k: str(v) for k, v in paths.items()}), flush=True)


def _best(experiment: Experiment, finished: list[Any]) -> int | None:
    """The trial whose last value of the metric is best; None for a single one."""
    key, sign = experiment.tuning.compared_by, 1 if experiment.tuning.mode == "max" else -1
    values = {i: number(flatten(r.metrics).get(key)) for i, r in enumerate(finished)}
    known = {i: value for i, value in values.items() if value is not None}
    if len(finished) < 2 or not known:
        return None
    return max(known, key=lambda i: sign * known[i])


def _pictures_and_paths(
    experiment: Experiment,
    place: Place,
    finished: list[Any],
    labels: list[str],
    best: int,
    console: Console,
) -> dict[str, Path]:
    """Draw the learning curve and the replay; where everything lies."""
    from rllib_dbf.cli.curve import draw_curves

    directory = place.local
    directory.mkdir(parents=True, exist_ok=True)
    frames = {label: r.metrics_dataframe for label, r in zip(labels, finished, strict=True)}
    frames = {label: frame for label, frame in frames.items() if frame is not None}
    title = f"{experiment.algorithm.title} on {experiment.env.value}"
    paths: dict[str, Any] = {"run": place.path if place.is_remote else directory}
    if draw_curves(frames, directory / CURVE, title):
        paths["learning curve"] = directory / CURVE
    paths["progress data"] = Path(finished[best].path) / "progress.csv"
    checkpoint = finished[best].checkpoint
    if checkpoint is not None:
        paths["checkpoint"] = Path(checkpoint.path)
        replay = _replay(experiment, checkpoint, directory / REPLAY, console)
        if replay is not None:
            paths["replay"] = replay
    return paths


def short(path: Path | str) -> str:
    """A path relative to the working directory where it lies below it; a URI stays."""
    if isinstance(path, str):
        return path
    try:
        here = Path.cwd()
    except FileNotFoundError:  # a job's working directory can be gone by now
        return str(path)
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _table(finished: list[Any], labels: list[str]) -> Table:
    """Final numbers: a row per trial, and one for its greedy evaluation where there is one."""
    table = Table(title="Result", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    numbers = [readings(result.metrics) for result in finished]
    shown = [n for n in EPISODES if any(n in row or f"eval_{n}" in row for row in numbers)]
    for heading in ("", "policy", "steps", "time", *(EPISODES[name] for name in shown)):
        left = heading in ("", "policy")
        table.add_column(
            heading,
            justify="left" if left else "right",
            no_wrap=heading != "",
            overflow="fold",
            max_width=None if heading else 32,
        )
    for i, row in enumerate(numbers):
        start = (labels[i], "exploring", _cell(row, "steps"), _cell(row, "seconds"))
        table.add_row(*start, *(_cell(row, name) for name in shown))
        if any(f"eval_{name}" in row for name in shown):
            table.add_row("", "greedy", "", "", *(_cell(row, f"eval_{name}") for name in shown))
    return table


def _cell(row: dict[str, float], name: str) -> str:
    if name not in row:
        return ""
    return duration(row[name]) if name == "seconds" else text_of(name, row[name])


def _replay(experiment: Experiment, checkpoint: Any, out: Path, console: Console) -> Path | None:
    """One greedy episode as a GIF; a run is not lost because its picture failed."""
    if not experiment.algorithm.is_team:
        return None
    from rllib_dbf.evaluation import render_checkpoint

    try:
        with checkpoint.as_directory() as directory:  # a copy, if it lies behind a URI
            render_checkpoint(Path(directory), seed=0, out=out)
    except Exception as error:  # drawing is an extra; say so and go on
        console.print(f"no replay: {one_line(error)}", style="yellow")
        return None
    return out if out.is_file() else None
