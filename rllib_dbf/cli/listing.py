"""`rllib list`: algorithms, environments and settings by name."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from rllib_dbf.cli.names import RAY_ALGORITHMS, config_of, find_algorithm
from rllib_dbf.presets import PRESETS


class What(StrEnum):
    """What can be listed."""

    algos = "algos"
    envs = "envs"
    settings = "settings"


def list_names(
    what: Annotated[What, typer.Argument(help="What to list.")],
    text: Annotated[
        str, typer.Option("--filter", help="Only rows in which this text occurs.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    algo: Annotated[str, typer.Option("--algo", "-a", help="Whose settings.")] = "DBF",
    traceback: Annotated[bool, typer.Option("--traceback", help="Show more of an error.")] = False,
) -> None:
    """List algorithms, environments, or the settings of an algorithm."""
    rows = {What.algos: _algos, What.envs: _envs, What.settings: lambda: _settings(algo)}[what]()
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
    return ours + [
        {
            "name": f"ray:{name}" if name in taken else name,
            "plays": "Gymnasium",
            "parts": "",
            "source": "RLlib",
        }
        for name in RAY_ALGORITHMS
    ]


def _envs() -> list[dict[str, Any]]:
    from rllib_dbf.envs import env_options, list_envs

    return [
        {
            "name": name,
            "options": ", ".join(f"{k}={o.default!r}" for k, o in env_options(name).items()),
        }
        for name in list_envs()
    ]


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
