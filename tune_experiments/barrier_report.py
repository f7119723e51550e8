"""Table and figure of the barrier study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, t

from tune_experiments.barrier_verdict import verdict_lines

REFERENCE = "zero"  # what every form is compared with, seed by seed
MEASURES = {
    "wins": "share of greedy evaluation episodes won, mean over all evaluations of the run",
    "wins_first_half": "the same over the evaluations of the first half",
    "wins_end": "over the last fifth",
    "return": "return per evaluation episode, mean over the run",
    "return_end": "over the last fifth",
    "deaths": "deaths per evaluation episode, mean over the run",
    "deaths_first_third": "over the first third",
    "deaths_end": "over the last fifth",
    "deaths_training": "deaths per exploring episode, mean over the run",
    "deaths_training_first_third": "over the first third",
    "deaths_in_wins": "deaths per won episode, last fifth",
    "deaths_cvar": "mean of the worst tenth of the episodes' deaths, last fifth",
    "length_end": "steps per episode, last fifth",
    "half_won_at": "env steps at the first evaluation with half of the episodes won",
}


def load(results: Path) -> list[dict[str, Any]]:
    """All records, failed ones included, in the order of their paths."""
    return [json.loads(f.read_text()) for f in sorted(results.glob("*/*/seed_*.json"))]


def measure(record: dict[str, Any]) -> dict[str, float]:
    """The `MEASURES` of one finished run; NaN where there is nothing to measure."""
    evaluations = record["evaluations"]
    last = evaluations[-max(1, len(evaluations) // 5) :]
    half, third = (evaluations[: max(1, len(evaluations) // k)] for k in (2, 3))
    training = [row["deaths_mean"] for row in record["training"] if "deaths_mean" in row]
    deaths_last = _all(last, "deaths")
    won = _all(last, "win") == 1
    winnable = any("win_rate" in row for row in record["training"])
    worst = np.sort(deaths_last)[-max(1, len(deaths_last) // 10) :]
    reached = [e["env_steps"] for e in evaluations if np.mean(e["win"]) >= 0.5]
    return {
        "wins": _all(evaluations, "win").mean() if winnable else np.nan,
        "wins_first_half": _all(half, "win").mean() if winnable else np.nan,
        "wins_end": _all(last, "win").mean() if winnable else np.nan,
        "return": _all(evaluations, "return").mean(),
        "return_end": _all(last, "return").mean(),
        "deaths": _all(evaluations, "deaths").mean(),
        "deaths_first_third": _all(third, "deaths").mean(),
        "deaths_end": deaths_last.mean(),
        "deaths_training": float(np.mean(training)),
        "deaths_training_first_third": float(np.mean(training[: max(1, len(training) // 3)])),
        "deaths_in_wins": deaths_last[won].mean() if won.any() else np.nan,
        "deaths_cvar": worst.mean(),
        "length_end": _all(last, "length").mean(),
        "half_won_at": float(reached[0]) if reached else np.nan,
    }


def _all(evaluations: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.concatenate([np.asarray(e[name], float) for e in evaluations])


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval (percentile, 10,000 draws) of the mean of paired differences."""
    if len(differences) < 2 or np.ptp(differences) == 0.0:
        return (np.nan, np.nan) if len(differences) < 2 else (differences[0],) * 2
    found = bootstrap(
        (differences,), np.mean, n_resamples=10_000, method="percentile", rng=0
    ).confidence_interval
    return float(found.low), float(found.high)


def t_interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % interval of Student's t for the mean of paired differences, which few seeds need."""
    count, mean = len(differences), differences.mean() if len(differences) else np.nan
    if count < 2 or np.ptp(differences) == 0.0:
        return (np.nan, np.nan) if count < 2 else (mean,) * 2
    half = t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count)
    return float(mean - half), float(mean + half)


def compare(
    measured: pd.DataFrame,
    environment: str,
    form: str,
    name: str,
    between: Callable[[np.ndarray], tuple[float, float]] = interval,
) -> dict[str, float]:
    """Mean of a measure, and its difference to the reference over the seeds that both have."""
    of = measured[measured.environment == environment].pivot(
        index="seed", columns="form", values=name
    )
    if form not in of:
        return dict.fromkeys(("mean", "difference", "low", "high"), np.nan) | {"seeds": 0}
    paired = of[[form, REFERENCE]].dropna() if form != REFERENCE else of[[REFERENCE] * 2].dropna()
    difference = (paired.iloc[:, 0] - paired.iloc[:, 1]).to_numpy()
    low, high = between(difference)
    return {
        "mean": float(of[form].mean()),
        "difference": float(difference.mean()) if len(difference) else np.nan,
        "low": low,
        "high": high,
        "seeds": len(difference),
    }


def _cell(found: dict[str, float], digits: int, reference: bool) -> str:
    if np.isnan(found["mean"]):
        return "–"
    text = f"{found['mean']:.{digits}f}"
    if reference or np.isnan(found["low"]):
        return text
    return f"{text} ({found['low']:+.{digits}f} … {found['high']:+.{digits}f})"


_COLUMNS = {
    "wins": 2, "wins_first_half": 2, "wins_end": 2, "return": 1, "return_end": 1, "deaths": 2,
    "deaths_first_third": 2, "deaths_end": 2, "deaths_training": 2, "deaths_in_wins": 2,
    "deaths_cvar": 2, "length_end": 1, "half_won_at": 0,
}  # fmt: skip


def _table(study: dict[str, Any], measured: pd.DataFrame, failed: pd.DataFrame) -> str:
    lines = [
        "# The barrier study",
        "",
        "Made by `python -m tune_experiments.barrier_study report` from the records beside it. In",
        f"brackets the 95 % bootstrap interval of the difference to `{REFERENCE}`, paired by seed;",
        "with three seeds it is little more than their range.",
        "",
        *(f"- **{name}**: {text}." for name, text in MEASURES.items() if name in _COLUMNS),
        "",
        "| form | source | what |",
        "|---|---|---|",
        *(f"| {n} | {f['source']} | {f['label']} |" for n, f in study["forms"].items()),
    ]
    played = [e for e in study["environments"] if _has_reference(measured, e)]
    lines += verdict_lines(
        study, played, REFERENCE, lambda e, form, name: compare(measured, e, form, name, t_interval)
    )
    for environment, task in study["environments"].items():
        here = measured[measured.environment == environment]
        if not _has_reference(measured, environment):
            continue
        lines += ["", f"## {environment}: `{task['env']}`, {task['steps']:,} env steps", ""]
        lines += [f"| form | seeds | failed | {' | '.join(_COLUMNS)} |"]
        lines += ["|" + "---|" * (3 + len(_COLUMNS))]
        for form in study["forms"]:
            seeds = sorted(here[here.form == form].seed)
            lost = len(failed[(failed.environment == environment) & (failed.form == form)])
            if not seeds and not lost:
                continue
            cells = [
                _cell(compare(measured, environment, form, name), digits, form == REFERENCE)
                if seeds
                else "–"
                for name, digits in _COLUMNS.items()
            ]
            shown = ", ".join(map(str, seeds))
            lines += [f"| {form} | {shown} | {lost} | {' | '.join(cells)} |"]
    return "\n".join(lines) + "\n"


def _figure(study: dict[str, Any], measured: pd.DataFrame, file: Path) -> None:
    """Per environment, what every form changes: wins (or return) and deaths over the whole run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    here = [e for e in study["environments"] if _has_reference(measured, e)]
    if not here:
        return
    forms = [f for f in study["forms"] if f != REFERENCE and (measured.form == f).any()][::-1]
    figure, axes = pyplot.subplots(
        1,
        2 * len(here),
        figsize=(1.5 + 2.6 * len(here) * 2, 1.5 + 0.22 * len(forms)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for number, environment in enumerate(here):
        wins = measured[measured.environment == environment].wins
        shown = ["wins" if wins.max() > 0.0 else "return", "deaths", "deaths_training"]
        _forest(axes[0, 2 * number], measured, environment, forms, shown[:1])
        _forest(axes[0, 2 * number + 1], measured, environment, forms, shown[1:])
    axes[0, 0].set_yticks(range(len(forms)), forms, fontsize=8)
    axes[0, 0].set_ylim(-2.5, len(forms))  # room for the legends
    with matplotlib.rc_context({"svg.hashsalt": "barrier_study"}):  # or its names would be random
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def _has_reference(measured: pd.DataFrame, environment: str) -> bool:
    return ((measured.environment == environment) & (measured.form == REFERENCE)).any()


def _forest(
    axis: Any, measured: pd.DataFrame, environment: str, forms: list[str], names: list[str]
) -> None:
    """One row per form: the difference to the reference and its interval, a mark per measure."""
    played = set(measured[measured.environment == environment].form)
    for offset, name in enumerate(names):
        for row, form in enumerate(forms):
            if form not in played:
                continue
            found = compare(measured, environment, form, name)
            at, colour = row - 0.3 * offset, f"C{offset}"
            axis.plot([found["low"], found["high"]], [at, at], color=colour, linewidth=1.5)
            axis.plot(found["difference"], at, "o", color=colour, markersize=3)
        axis.plot([], [], "o-", color=f"C{offset}", markersize=3, label=name.replace("_", ", "))
    axis.axvline(0.0, color="grey", linewidth=0.8)
    axis.grid(axis="y", alpha=0.3)
    axis.set_title(environment, fontsize=9)
    axis.set_xlabel(f"difference to {REFERENCE}", fontsize=8)
    axis.legend(fontsize=7, loc="lower left")


def with_repeats(
    study: dict[str, Any], *frames: pd.DataFrame
) -> tuple[dict[str, Any], pd.DataFrame, ...]:
    """The study without environments that repeat another, whose runs are counted as the other's.

    Raises:
        ValueError: If one repeats what is not there, or a seed of a form.
    """
    environments = study["environments"]
    repeats = {name: task["repeats"] for name, task in environments.items() if "repeats" in task}
    kept = {name: task for name, task in environments.items() if name not in repeats}
    for name, other in repeats.items():
        if other not in kept:
            raise ValueError(f"{name} repeats {other!r}; choose from {', '.join(kept)}")
    merged = [frame.replace({"environment": repeats}) for frame in frames]
    for frame in merged:
        twice = frame[frame.duplicated(["environment", "form", "seed"])]
        if len(twice):
            first = twice.iloc[0]
            raise ValueError(f"{first.environment}, {first.form}: seed {first.seed} played twice")
    return study | {"environments": kept}, *merged


def write_report(study: dict[str, Any], results: Path) -> list[Path]:
    """Write table.md, runs.csv and figure.svg into the folder of the records."""
    records = load(results)
    if not records:
        raise SystemExit(f"{results}: no records; play some with `barrier_study run`")
    names = ("environment", "form", "seed")
    good = [r for r in records if "error" not in r]
    measured = pd.DataFrame(
        [{n: r[n] for n in names} | measure(r) for r in good], columns=[*names, *MEASURES]
    )
    failed = pd.DataFrame(
        [{n: r[n] for n in names} for r in records if "error" in r], columns=names
    )
    table, runs, figure = (results / n for n in ("table.md", "runs.csv", "figure.svg"))
    measured.round(4).to_csv(runs, index=False)
    study, measured, failed = with_repeats(study, measured, failed)
    table.write_text(_table(study, measured, failed))
    _figure(study, measured, figure)
    return [table, runs, figure]
