"""Writes `docs/command.md` from the command itself: `python -m rllib_dbf.cli.manual > FILE`."""

from __future__ import annotations

import re
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import typer

_INTRODUCTION = """# The `rllib` command

Made from the command's own help: `python -m rllib_dbf.cli.manual > docs/command.md`.

`rllib-dbf` and `python -m rllib_dbf` are the same command. `rllib --install-completion` makes the
shell complete algorithms, environments, settings and examples.

| exit code | means |
|---|---|
| 0 | done |
| 1 | a trial failed, a check of `doctor` found something broken, or an error of ours |
| 2 | wrong usage or configuration; nothing was started |
| 3 | `--as-test` missed `--stop-reward` |
| 130 | interrupted |
"""


def manual() -> str:
    """Markdown of every command, argument and option."""
    from rllib_dbf.cli.app import app

    parts = [_INTRODUCTION]
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        parts += _section(f"rllib {name}", command)
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, command: Any) -> list[str]:
    if hasattr(command, "commands"):
        found: list[str] = []
        for sub, part in command.commands.items():
            found += _section(f"{name} {sub}", part)
        return found
    lines = [f"## `{name}`", "", _text(command.help or ""), ""]
    hints = typing.get_type_hints(command.callback)
    panels: dict[str, list[str]] = {}
    for parameter in command.params:
        if parameter.name == "help":
            continue
        panel = getattr(parameter, "rich_help_panel", None) or ""
        panels.setdefault(panel, []).append(_row(parameter, hints.get(parameter.name)))
    for panel, rows in panels.items():
        lines += [f"**{panel}**", ""] if panel else []
        lines += ["| | |", "|---|---|", *rows, ""]
    return lines


def _row(parameter: Any, annotation: Any) -> str:
    help_text = _text(getattr(parameter, "help", None) or "")
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name.upper()).replace("|", "\\|")
        return f"| `{name}` | {help_text} |"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    if parameter.secondary_opts:
        names += " / " + ", ".join(f"`{name}`" for name in parameter.secondary_opts)
    elif not parameter.is_flag and not parameter.count:
        names += f" {_value(parameter, annotation)}"
    default = getattr(parameter, "default", None)
    is_number = default == 0 and not (parameter.is_flag or parameter.count)
    shown = (is_number or default not in (None, False, 0, "", [])) and "[default" not in help_text
    return f"| {names} | {help_text}{f' (default: {_plain(default)})' if shown else ''} |"


def _value(parameter: Any, annotation: Any) -> str:
    """What follows an option: its choices, or a word for its type."""
    kinds = {int: "N", float: "X", Path: "PATH"}
    for kind in typing.get_args(annotation) or (annotation,):
        choices = kind if isinstance(kind, type) and issubclass(kind, Enum) else ()
        choices = [choice.value for choice in choices] or typing.get_args(kind)
        if typing.get_origin(annotation) is typing.Literal:
            choices = typing.get_args(annotation)
        if choices and typing.get_origin(kind) is not list:
            return " \\| ".join(f"`{choice}`" for choice in choices)
        if kind in kinds and not parameter.metavar:
            return f"`{kinds[kind]}`"
    return "`" + (parameter.metavar or "TEXT").replace("|", "\\|") + "`"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes"
    return str(getattr(value, "value", value))


def _text(text: str) -> str:
    """One line; `[default: X]` of our own help reads `(default: X)`."""
    line = re.sub(r"\s*\[default: (.*)\]", r" (default: \1)", " ".join(text.split()))
    return line.replace("|", "\\|")


if __name__ == "__main__":
    print(manual(), end="")
