"""What a run leaves behind: final numbers, paths, learning curve, replay and the next command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from rllib_dbf.cli.errors import one_line
from rllib_dbf.cli.experiment import Experiment
from rllib_dbf.cli.readings import EPISODES, duration, readings, text_of

CURVE = "learning_curve.png"
REPLAY = "replay.gif"


def summarise(experiment: Experiment, directory: Path, results: Any, display: str) -> None:
    """Draw a run's pictures and print how it ended, as the display asks."""
    finished = [result for result in results if result.metrics and "config" in result.metrics]
    if not finished:
        return
    console = Console(highlight=False, soft_wrap=True, quiet=display in ("json", "none"))
    console.print()
    console.print(_table(finished))
    paths = _pictures_and_paths(experiment, directory, finished, console)
    console.print()
    for label, path in paths.items():
        console.print(f"{label:<15} {short(path)}")
    if "checkpoint" in paths:
        target = directory if len(finished) == 1 else paths["checkpoint"]
        console.print("\nPlay more episodes with it (a run means its latest checkpoint):")
        console.print(f"  rllib evaluate {shlex.quote(short(target))} --episodes 100 --seed 1")
    if display == "json":
        trials = {_label(i, r): readings(r.metrics) for i, r in enumerate(finished)}
        print(json.dumps({"done": trials, **{k: str(v) for k, v in paths.items()}}), flush=True)


def _pictures_and_paths(
    experiment: Experiment, directory: Path, finished: list[Any], console: Console
) -> dict[str, Path]:
    """Draw the learning curve and the replay; where everything lies."""
    from rllib_dbf.cli.curve import draw_curves

    frames = {_label(i, r): r.metrics_dataframe for i, r in enumerate(finished)}
    frames = {label: frame for label, frame in frames.items() if frame is not None}
    title = f"{experiment.algorithm.title} on {experiment.env.value}"
    paths = {"run": directory}
    if draw_curves(frames, directory / CURVE, title):
        paths["learning curve"] = directory / CURVE
    paths["progress data"] = Path(finished[0].path) / "progress.csv"
    checkpoint = _last_checkpoint(finished)
    if checkpoint is not None:
        paths["checkpoint"] = checkpoint
        replay = _replay(experiment, checkpoint, directory / REPLAY, console)
        if replay is not None:
            paths["replay"] = replay
    return paths


def short(path: Path) -> str:
    """A path relative to the working directory where it lies below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _label(i: int, result: Any) -> str:
    seed = result.metrics["config"].get("seed")
    return f"trial {i + 1}" + (f" (seed {seed})" if seed is not None else "")


def _table(finished: list[Any]) -> Table:
    """Final numbers: a row per trial, and one for its greedy evaluation where there is one."""
    table = Table(title="Result", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    numbers = [readings(result.metrics) for result in finished]
    shown = [n for n in EPISODES if any(n in row or f"eval_{n}" in row for row in numbers)]
    for heading in ("", "policy", "steps", "time", *(EPISODES[name] for name in shown)):
        left = heading in ("", "policy")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for i, (row, result) in enumerate(zip(numbers, finished, strict=True)):
        start = (_label(i, result), "exploring", _cell(row, "steps"), _cell(row, "seconds"))
        table.add_row(*start, *(_cell(row, name) for name in shown))
        if any(f"eval_{name}" in row for name in shown):
            table.add_row("", "greedy", "", "", *(_cell(row, f"eval_{name}") for name in shown))
    return table


def _cell(row: dict[str, float], name: str) -> str:
    if name not in row:
        return ""
    return duration(row[name]) if name == "seconds" else text_of(name, row[name])


def _last_checkpoint(finished: list[Any]) -> Path | None:
    found = [Path(r.checkpoint.path) for r in finished if r.checkpoint is not None]
    return found[0] if found else None


def _replay(experiment: Experiment, checkpoint: Path, out: Path, console: Console) -> Path | None:
    """One greedy episode as a GIF; a run is not lost because its picture failed."""
    if not experiment.algorithm.is_team:
        return None
    from rllib_dbf.evaluation import render_checkpoint

    try:
        render_checkpoint(checkpoint, seed=0, out=out)
    except Exception as error:  # drawing is an extra; say so and go on
        console.print(f"no replay: {one_line(error)}", style="yellow")
        return None
    return out if out.is_file() else None
