"""`rllib train --dry-run`: every value that would be used, and where it was given."""

from __future__ import annotations

import json
import os
from typing import Any

import typer

from rllib_dbf.cli.experiment import Experiment, Given, resolve
from rllib_dbf.cli.sweeps import Sweep
from rllib_dbf.settings import UNSET, settings_of


def show(experiment: Experiment, *, as_json: bool) -> None:
    """Check an experiment and print its values.

    Raises:
        CommandError: As training would.
    """
    rows = values_of(experiment)
    if as_json:
        typer.echo(json.dumps({"name": experiment.name or None, "values": rows}, default=str))
        return
    typer.echo(f"{experiment.name or 'experiment'}: {experiment.algorithm.title}")
    width = max(len(row["key"]) for row in rows)
    for row in sorted(rows, key=lambda row: row["origin"] == "default"):  # what was given, first
        typer.echo(f"  {row['key']:<{width}}  {row['value']!s:<24}  {row['origin']}")


def values_of(experiment: Experiment) -> list[dict[str, Any]]:
    """Key, value and origin of everything that an experiment would use.

    Raises:
        CommandError: If something does not fit.
    """
    from rllib_dbf.cli.running import fewer_runners, idle_core_settings, load_ray, spreads

    load_ray(verbose=0)
    config, given, searched = resolve(experiment)
    if not os.environ.get("RAY_ADDRESS"):
        fit = idle_core_settings if spreads(experiment, searched) else fewer_runners
        found = fit(config, {*given, *experiment.base_changes}, os.cpu_count() or 1)
        given = given | {name: Given(value, "cores here") for name, value in found.items()}
    return _rows(experiment, config, given)


def _rows(experiment: Experiment, config: Any, given: dict[str, Given]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"key": "run", "value": experiment.algorithm.title, "origin": _run_origin(experiment)}
    ]
    rows += [
        {"key": f"stop.{key}", "value": value, "origin": "given" if experiment.stop else "default"}
        for key, value in experiment.stop_criteria().items()
    ]
    rows.append({"key": "num_samples", "value": experiment.samples, "origin": "experiment"})
    drawn = {
        key.rpartition(".")[2]: {sweep.form: list(sweep.values)}
        for key, (sweep, _) in experiment.given
        if isinstance(sweep, Sweep) and sweep.drawn
    }
    for name, setting in settings_of(config).items():
        origin = "default"
        value = setting.default
        if name in given:
            value, origin = given[name]
        elif name in experiment.base_changes:
            origin = "file"
        value = drawn.get(name, value) if origin != "default" else value
        if value != UNSET:
            rows.append({"key": f"{setting.section}.{name}", "value": value, "origin": origin})
    return rows


def _run_origin(experiment: Experiment) -> str:
    return "file" if experiment.base_config is not None else "experiment"
