"""`rllib example`: experiments and programs that come with the package, offline."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rllib_dbf.cli import completion as complete
from rllib_dbf.cli.errors import CommandError
from rllib_dbf.registry import suggestion

_FOLDERS = {"configs": "", "tune_experiments": "tune/", "examples": ""}
"""Folders of examples → what their names begin with."""

app = typer.Typer(
    no_args_is_help=True,
    help="Experiments and programs that come with the package.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Example(NamedTuple):
    """One packaged file."""

    name: str
    path: Path

    @property
    def description(self) -> str:
        """The first sentence of its first comment or docstring."""
        text = self.path.read_text(encoding="utf-8")
        if self.path.suffix == ".py":
            found = re.match(r'\s*"""(.*?)(?:\n|""")', text)
            return found[1] if found else ""
        comment = " ".join(re.match(r"(?:#[^\n]*\n)*", text)[0].replace("#", " ").split())
        return textwrap.shorten(re.split(r"(?<=\.)\s(?=[A-Z])", comment)[0], 90, placeholder=" …")


def _home() -> Path:
    """Where the folders lie: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "shared"
    return packaged if packaged.is_dir() else package.parent


def find_examples() -> dict[str, Example]:
    """Every example by name, such as "paper", "presets/qmix" or "tune/barrier_3m"."""
    found = {}
    for folder, prefix in _FOLDERS.items():
        root = _home() / folder
        for path in sorted(root.rglob("*")):
            if _is_example(folder, path):
                name = prefix + str(path.relative_to(root).with_suffix(""))
                found[name] = Example(name, path)
    return found


def _is_example(folder: str, path: Path) -> bool:
    """Experiment files and programs, but neither studies nor the programs that play these."""
    if path.suffix == ".yaml":
        return not path.stem.endswith("_study")
    return path.suffix == ".py" and folder == "examples" and "__" not in path.name


def find_example(name: str) -> Example:
    """One example by name.

    Raises:
        CommandError: If there is none, with the nearest name.
    """
    known = find_examples()
    if name not in known:
        raise CommandError(
            f"example {name!r} is unknown; `rllib example list` shows all {len(known)}."
            f"{suggestion(name, list(known))}"
        )
    return known[name]


_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="As listed.", autocompletion=complete.examples)
]


@app.command("list")
def list_examples(
    text: Annotated[
        str, typer.Option("--filter", help="Only rows in which this text occurs.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """List all examples."""
    from rllib_dbf.cli.listing import print_rows

    print_rows(example_rows(), text, as_json)


def example_rows() -> list[dict[str, str]]:
    """Name and description of every example."""
    return [{"name": e.name, "what": e.description} for e in find_examples().values()]


@app.command("get")
def get(name: _Name) -> None:
    """Print an example's file, to keep and change: rllib example get paper > mine.yaml."""
    typer.echo(find_example(name).path.read_text(encoding="utf-8"), nl=False)


@app.command("run", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def run(ctx: typer.Context, name: _Name) -> int:
    """Train with an example; whatever follows its name are options of `rllib train`."""
    from rllib_dbf.cli.app import app as whole

    example = find_example(name)
    arguments = ["train", *_what(example), *ctx.args]
    typer.echo(f"rllib {' '.join(arguments)}", err=True)
    return whole(arguments, prog_name="rllib", standalone_mode=False)


def _what(example: Example) -> list[str]:
    """A file of experiments trains as it is; a program is an environment, its only class."""
    if example.path.suffix == ".yaml" or _has_config(example.path):
        return [str(example.path)]
    names = re.findall(r"^class ([A-Z]\w*)", example.path.read_text(encoding="utf-8"), re.M)
    folder = str(example.path.parent)
    sys.path.insert(0, folder)
    paths = [folder, os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # for Ray's workers
    return ["--env", f"{example.path.stem}:{names[-1]}"]


def _has_config(path: Path) -> bool:
    return bool(re.search(r"^config\s*=", path.read_text(encoding="utf-8"), re.M))
