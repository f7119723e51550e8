"""`rllib train --dry-run`: every value that would be used, and where it was given."""

from __future__ import annotations

import json
import os
from typing import Any

import typer

from rllib_dbf.cli.experiment import Experiment, Given, resolve
from rllib_dbf.settings import UNSET, settings_of


def show(experiment: Experiment, *, as_json: bool) -> None:
    """Check an experiment and print its values.

    Raises:
        CommandError: As training would.
    """
    from rllib_dbf.cli.running import idle_core_settings, load_ray, spreads

    load_ray(verbose=0)
    config, given, searched = resolve(experiment)
    if spreads(experiment, searched) and not os.environ.get("RAY_ADDRESS"):
        chosen = {*given, *experiment.base_changes}
        found = idle_core_settings(config, chosen, os.cpu_count() or 1)
        given = given | {name: Given(value, "idle cores") for name, value in found.items()}
    rows = _rows(experiment, config, given)
    if as_json:
        typer.echo(json.dumps({"name": experiment.name or None, "values": rows}, default=str))
        return
    typer.echo(f"{experiment.name or 'experiment'}: {experiment.algorithm.title}")
    width = max(len(row["key"]) for row in rows)
    for row in sorted(rows, key=lambda row: row["origin"] == "default"):  # what was given, first
        typer.echo(f"  {row['key']:<{width}}  {row['value']!s:<24}  {row['origin']}")


def _rows(experiment: Experiment, config: Any, given: dict[str, Given]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"key": "run", "value": experiment.algorithm.title, "origin": _run_origin(experiment)}
    ]
    rows += [
        {"key": f"stop.{key}", "value": value, "origin": "given" if experiment.stop else "default"}
        for key, value in experiment.stop_criteria().items()
    ]
    rows.append({"key": "num_samples", "value": experiment.num_samples, "origin": "experiment"})
    for name, setting in settings_of(config).items():
        origin = "default"
        value = setting.default
        if name in given:
            value, origin = given[name]
        elif name in experiment.base_changes:
            origin = "file"
        if value != UNSET:
            rows.append({"key": f"{setting.section}.{name}", "value": value, "origin": origin})
    return rows


def _run_origin(experiment: Experiment) -> str:
    return "file" if experiment.base_config is not None else "experiment"
