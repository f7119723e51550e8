"""`rllib submit`: a job on a running Ray cluster, followed to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from rllib_dbf.cli import options as o
from rllib_dbf.cli.errors import DONE, FAILED, INTERRUPTED, CommandError, one_line
from rllib_dbf.cli.running import quieten
from rllib_dbf.registry import suggestion

Option = typer.Option
_LEFT_HERE = [".venv", "results", ".git", "__pycache__", "*.egg-info", ".bench", ".pytest_cache"]
_LOCAL = "http://127.0.0.1:8265"


def submit(
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND", help="What follows `rllib`, as: -- train --algo DBF"),
    ],
    address: Annotated[
        str | None,
        Option(help="The cluster's dashboard.  [default: $RAY_API_SERVER_ADDRESS, else port 8265]"),
    ] = None,
    token_file: Annotated[
        Path | None, Option(help="File with the cluster's token.  [default: $RAY_AUTH_TOKEN…]")
    ] = None,
    working_dir: Annotated[
        Path | None, Option(help="Directory the job gets a copy of.  [default: this one]")
    ] = None,
    no_working_dir: Annotated[
        bool, Option("--no-working-dir", help="None: the cluster's image has everything.")
    ] = False,
    runtime_env: Annotated[
        Path | None, Option(help="YAML file with Ray's runtime environment (pip, env_vars, …).")
    ] = None,
    env_var: Annotated[
        list[str] | None, Option("--env-var", metavar="NAME=VALUE", help="For the job; repeatable.")
    ] = None,
    submission_id: Annotated[str | None, Option(help="The job's name.  [default: Ray's]")] = None,
    num_cpus: Annotated[
        float | None, Option("--driver-num-cpus", min=0, help="CPUs of the driver.")
    ] = None,
    num_gpus: Annotated[
        float | None, Option("--driver-num-gpus", min=0, help="GPUs of the driver.")
    ] = None,
    follow: Annotated[
        bool, Option("--follow/--no-follow", help="Print its log until it ends.")
    ] = True,
    traceback: o.Traceback = False,
) -> int:
    """Run `rllib COMMAND` as a job of a Ray cluster; ends with the job's exit code."""
    _check_command(command)
    environment = _runtime_env(runtime_env, env_var or [])
    _choose_working_dir(environment, working_dir, no_working_dir)
    if token_file is not None:
        if not token_file.is_file():
            raise CommandError(f"--token-file {str(token_file)!r} does not exist")
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file.resolve())}
    address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or _LOCAL
    client = _client(address)
    try:
        job = client.submit_job(
            entrypoint=_entrypoint(command),
            submission_id=submission_id,
            runtime_env=environment,
            entrypoint_num_cpus=num_cpus,
            entrypoint_num_gpus=num_gpus,
        )
    except Exception as error:  # a refused token, a name that exists, a directory that is too big
        raise CommandError(f"{address} refused the job: {one_line(error)}") from error
    typer.echo(f"rllib: job {job} submitted to {address}", err=True)
    if not follow:
        typer.echo(job)
        return DONE
    return _follow(client, job, address)


def _check_command(command: list[str]) -> None:
    """Refuse what `rllib` does not have, before a cluster is asked."""
    from rllib_dbf.cli.app import app

    root: Any = typer.main.get_command(app)
    known, word = list(root.commands), command[0]
    if word not in known and not word.startswith("-"):
        raise CommandError(
            f"command {word!r} is unknown; choose from {', '.join(known)}."
            f"{suggestion(word, known)} `rllib submit -- train --algo DBF` submits a training"
        )


def _entrypoint(command: list[str]) -> str:
    """The installed command, or the package in the working directory where it is not installed."""
    arguments = shlex.join(command)
    return (
        f"if command -v rllib >/dev/null; then exec rllib {arguments};"
        f" else exec python3 -m rllib_dbf {arguments}; fi"
    )


def _runtime_env(file: Path | None, variables: list[str]) -> dict[str, Any]:
    """Ray's runtime environment from a file and --env-var."""
    found: dict[str, Any] = {}
    if file is not None:
        if not file.is_file():
            raise CommandError(f"--runtime-env {str(file)!r} does not exist")
        try:
            found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise CommandError(f"--runtime-env {file}: {one_line(error)}") from error
        if not isinstance(found, dict):
            raise CommandError(f"--runtime-env {file}: must be a mapping, as {{pip: [optuna]}}")
    for text in variables:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"--env-var {text!r} must read NAME=VALUE")
        found.setdefault("env_vars", {})[name] = value
    return found


def _choose_working_dir(environment: dict[str, Any], given: Path | None, none: bool) -> None:
    """Which directory travels, and what of it stays here."""
    if given is not None and none:
        raise CommandError("--working-dir and --no-working-dir exclude each other")
    if given is not None and not given.is_dir():
        raise CommandError(f"--working-dir {str(given)!r} is no directory")
    if none:
        environment.pop("working_dir", None)
        return
    if given is not None or "working_dir" not in environment:
        environment["working_dir"] = str((given or Path()).resolve())
    excludes = environment.setdefault("excludes", [])
    excludes += [pattern for pattern in _LEFT_HERE if pattern not in excludes]


def _client(address: str) -> Any:
    quieten(verbose=0)
    from ray.job_submission import JobSubmissionClient

    logging.disable(logging.INFO)  # uploads and closed sockets
    try:
        return JobSubmissionClient(address)
    except Exception as error:  # no server, no token, a wrong one, another Ray version
        reason = one_line(error).partition(". ")[0].rstrip(".")
        raise CommandError(
            f"no cluster takes jobs at {address} ({reason}); give its dashboard with --address, and"
            " its token with --token-file or RAY_AUTH_TOKEN_PATH"
        ) from error


def _follow(client: Any, job: str, address: str) -> int:
    """Print a job's log until it ends.

    Returns:
        Its exit code; 130 if it was stopped.
    """
    from ray.job_submission import JobStatus

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            typer.echo(text, nl=False)

    try:
        asyncio.run(tail())
    except KeyboardInterrupt:
        where = f"--address {address} {job}"
        typer.echo(
            f"\nrllib: the job goes on; `ray job logs --follow {where}` shows it,"
            f" `ray job stop {where}` ends it",
            err=True,
        )
        return INTERRUPTED
    info = client.get_job_info(job)
    if info.status == JobStatus.SUCCEEDED:
        return DONE
    if info.status == JobStatus.STOPPED:
        typer.echo(f"rllib: job {job} was stopped", err=True)
        return INTERRUPTED
    reason = (info.message or "no reason given").partition(", last available logs")[0]
    typer.echo(f"rllib: error: job {job} failed: {one_line(reason)}", err=True)
    return info.driver_exit_code or FAILED
