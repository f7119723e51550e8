"""The `rllib` command: its subcommands, and how errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from rllib_dbf.cli import config_command, doctor, evaluate, examples, listing, resume, submit, train
from rllib_dbf.cli.errors import DONE, FAILED, INTERRUPTED, USAGE, CommandError, one_line

_REMOVED = {
    "--trace": "use --traceback",
    "--framework": "Torch is the only framework",
    "--local-mode": "use --num-env-runners 0 to sample in the trial's own process",
    "--resources-per-trial": "use --set num_cpus_for_main_process=N and --num-env-runners N",
    "--upload-dir": "use --storage-path",
    "--local-dir": "use --storage-path",
    "--use-shelve": "use --out FILE.json",
}

app = typer.Typer(
    name="rllib",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", context_settings={"allow_extra_args": True})(train.train)
app.command("config", context_settings={"allow_extra_args": True})(config_command.config)
app.command("resume")(resume.resume)
app.command("evaluate")(evaluate.evaluate)
app.command("list")(listing.list_names)
app.command("submit", context_settings={"ignore_unknown_options": True})(submit.submit)
app.command("doctor")(doctor.doctor)
app.add_typer(examples.app, name="example")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rllib-dbf {version('rllib-dbf')} (ray {version('ray')})")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train and evaluate teams, and every other algorithm that RLlib knows."""


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    arguments = sys.argv[1:]
    try:
        _refuse_removed(arguments)
        # Without standalone mode Typer hands errors over, so that they can become one line.
        code = app(arguments, prog_name="rllib", standalone_mode=False) or DONE
    except TyperException as error:
        code = _report(error.format_message(), USAGE)
    except CommandError as error:
        code = _report(one_line(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _report("interrupted", INTERRUPTED)
    except BrokenPipeError:  # `rllib list settings | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except Exception as error:  # the last door: a person gets one line, --traceback the rest
        code = _report(f"{type(error).__name__}: {one_line(error)}", FAILED)
    sys.exit(code if isinstance(code, int) else DONE)


def _refuse_removed(arguments: list[str]) -> None:
    for argument in arguments:
        option = argument.partition("=")[0]
        if option == "--":
            return
        if option in _REMOVED:
            raise CommandError(f"option {option} is gone; {_REMOVED[option]}")


def _report(message: str, code: int) -> int:
    if "--traceback" in sys.argv:
        traceback.print_exc()
    hint = "" if "--traceback" in sys.argv or code == USAGE else " (--traceback shows more)"
    typer.echo(f"rllib: error: {one_line(message)}{hint}", err=True)
    return code


if __name__ == "__main__":
    main()
