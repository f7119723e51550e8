"""`rllib list`: algorithms, environments and settings by name."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rllib_dbf.cli.completion import algorithms
from rllib_dbf.cli.errors import CommandError
from rllib_dbf.cli.examples import example_rows
from rllib_dbf.cli.experiment import STEPS
from rllib_dbf.cli.names import DEFAULT_ALGORITHM, RAY_ALGORITHMS, config_of, find_algorithm
from rllib_dbf.cli.options import Traceback
from rllib_dbf.cli.places import DEFAULT
from rllib_dbf.cli.record import RECORD, read_record
from rllib_dbf.plugins import (
    ALGORITHMS,
    ENVIRONMENTS,
    algorithm_names,
    environment_names,
    source_of,
)
from rllib_dbf.presets import PRESETS


class What(StrEnum):
    """What can be listed."""

    algos = "algos"
    envs = "envs"
    settings = "settings"
    examples = "examples"
    runs = "runs"


def list_names(
    what: Annotated[
        What,
        typer.Argument(
            metavar="WHAT", help="What to list: algos, envs, settings, examples or runs."
        ),
    ],
    text: Annotated[
        str, typer.Option("--filter", help="Only rows in which this text occurs.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    algo: Annotated[
        str | None,
        typer.Option(
            "--algo", "-a", help="Whose settings.  [default: DBF]", autocompletion=algorithms
        ),
    ] = None,
    storage_path: Annotated[
        Path | None, typer.Option(help="Where runs are kept.  [default: results]")
    ] = None,
    traceback: Traceback = False,
) -> None:
    """List algorithms, environments, the settings of an algorithm, examples, or runs."""
    if algo is not None and what is not What.settings:
        raise CommandError("--algo belongs to `rllib list settings`")
    if storage_path is not None and what is not What.runs:
        raise CommandError("--storage-path belongs to `rllib list runs`")
    rows = {
        What.algos: _algos,
        What.envs: _envs,
        What.settings: lambda: _settings(algo or DEFAULT_ALGORITHM),
        What.examples: example_rows,
        What.runs: lambda: _runs(storage_path or DEFAULT),
    }[what]()
    if what is What.runs and not rows and not as_json:
        typer.echo(f"no runs in {storage_path or DEFAULT}", err=True)
        return
    print_rows(rows, text, as_json)


def print_rows(rows: list[dict[str, Any]], text: str, as_json: bool) -> None:
    """Rows in which a text occurs, as a table or as one JSON array."""
    wanted = [row for row in rows if text.lower() in " ".join(map(str, row.values())).lower()]
    if as_json:
        typer.echo(json.dumps(wanted, default=str))
        return
    if not wanted:
        typer.echo(f"nothing matches {text!r}", err=True)
        return
    columns = list(wanted[0])
    widths = [
        max(len(str(row[c])) for row in [dict(zip(columns, columns)), *wanted]) for c in columns
    ]
    for row in [{c: c.upper() for c in columns}, *wanted]:
        cells = (f"{row[c]!s:<{min(w, 40)}}" for c, w in zip(columns, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _algos() -> list[dict[str, Any]]:
    ours = [
        {
            "name": row.title,
            "plays": "teams",
            "parts": f"{row.head} / {row.mixer} / {row.td_loss} / {row.barrier_estimator}",
            "source": row.paper,
        }
        for row in PRESETS.values()
    ]
    taken = {row["name"] for row in ours}
    return (
        ours
        + [
            {
                "name": f"ray:{name}" if name in taken else name,
                "plays": "Gymnasium",
                "parts": "",
                "source": "RLlib",
            }
            for name in RAY_ALGORITHMS
        ]
        + [
            {"name": name, "plays": "", "parts": "", "source": source_of(ALGORITHMS, name)}
            for name in algorithm_names()
        ]
    )


def _envs() -> list[dict[str, Any]]:
    from rllib_dbf.envs import env_options, list_envs

    return [
        {
            "name": name,
            "options": ", ".join(f"{k}={o.default!r}" for k, o in env_options(name).items()),
        }
        for name in list_envs()
    ] + [
        {"name": name, "options": f"of the package {source_of(ENVIRONMENTS, name)}"}
        for name in environment_names()
    ]


def _runs(storage: Path) -> list[dict[str, Any]]:
    """Every run with a record, the latest first; their last numbers are Tune's."""
    found = []
    for record_file in storage.expanduser().glob(f"*/{RECORD}"):
        record, run = read_record(record_file.parents[1]), record_file.parents[1]
        last = [_last_line(file) for file in sorted(run.glob("*/result.json"))]
        steps = [int(r.get(STEPS, 0)) for r in last if r]
        found.append(
            {
                "run": str(run),
                "status": record["status"],
                "started": record["started"],
                "algorithm": record["asked"]["algorithm"],
                "env": record["asked"]["env"],
                "trials": len(last),
                "steps": max(steps, default=0),
            }
        )
    return sorted(found, key=lambda row: row["started"], reverse=True)


def _last_line(file: Path) -> dict[str, Any]:
    lines = file.read_text(encoding="utf-8").strip().splitlines()
    return json.loads(lines[-1]) if lines else {}


def _settings(algo: str) -> list[dict[str, Any]]:
    from rllib_dbf.settings import UNSET, settings_of

    settings = settings_of(config_of(find_algorithm(algo))).values()
    rows = [
        {
            "name": f"{s.section}.{s.name}",
            "default": "" if s.default == UNSET else s.default,
            "allowed": s.allowed,
            "meaning": s.doc,
        }
        for s in settings
    ]
    return sorted(rows, key=lambda row: row["name"])
