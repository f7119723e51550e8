"""Learning curves: win rate and deaths (or return and length) over environment steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_dbf.cli.experiment import STEPS

_TRAIN, _EVALUATION = "env_runners/", "evaluation/env_runners/"
_PANELS = (
    ("win_rate", "win rate"),
    ("deaths_mean", "deaths per episode"),
    ("episode_return_mean", "return"),
    ("episode_len_mean", "episode length"),
)
_COLOURS = ("#1b6ca8", "#d1603d", "#3a8f5c", "#8a5aa8", "#b08a00", "#5b6770")
_PALE = "#8a939b"


def draw_curves(frames: Mapping[str, Any], out: Path, title: str) -> bool:
    """Draw the first two metrics that the runs have; colour is the trial.

    Args:
        frames: A data frame of Tune results per trial, by label.
        out: The PNG to write.
        title: Stands above the picture.

    Returns:
        Whether there was anything to draw.
    """
    panels = [p for p in _PANELS if any(_has(frame, p[0]) for frame in frames.values())][:2]
    if not panels:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    for axes, (metric, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        _draw(axes, metric, label, frames)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)
    return True


def _has(frame: Any, metric: str) -> bool:
    return any(f"{p}{metric}" in frame for p in (_TRAIN, _EVALUATION)) and STEPS in frame


def _draw(axes: Any, metric: str, label: str, frames: Mapping[str, Any]) -> None:
    """One metric: what exploration achieved thin, what the greedy policy achieves bold."""
    several = len(frames) > 1
    for i, (trial, frame) in enumerate(frames.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        for prefix, style, words in (
            (_TRAIN, {"linewidth": 1.2, "alpha": 0.7}, "exploring"),
            (_EVALUATION, {"linewidth": 2.2, "marker": "o", "markersize": 3.5}, "greedy"),
        ):
            key = prefix + metric
            if key not in frame or STEPS not in frame:
                continue
            points = frame[[STEPS, key]].dropna()
            name = f"{trial}, {words}" if several else words
            shade = _PALE if words == "exploring" and not several else colour
            axes.plot(points[STEPS], points[key], color=shade, label=name, **style)
    axes.set_title(label, loc="left", fontsize=10)
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(lambda x, _: _thousands(x))
    axes.set_ylim(*((-0.02, 1.02) if metric == "win_rate" else _limits(axes, metric)))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines and len(axes.lines) <= 12:
        axes.legend(frameon=False, fontsize=8)


def _limits(axes: Any, metric: str) -> tuple[float | None, float | None]:
    """Counts start at zero; returns may be negative and choose for themselves."""
    if metric == "episode_return_mean":
        return axes.get_ylim()
    return 0.0, axes.get_ylim()[1] * 1.05


def _thousands(x: float) -> str:
    if abs(x) >= 1e6:
        return f"{x / 1e6:g}M"
    return f"{x / 1e3:g}k" if abs(x) >= 1e3 else f"{x:g}"
