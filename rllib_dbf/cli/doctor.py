"""`rllib doctor`: whether this machine, or the cluster that RAY_ADDRESS names, can train."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rllib_dbf.cli.checkups.finding import Finding, brief
from rllib_dbf.cli.errors import DONE, FAILED, one_line

Job = Callable[[], Iterable[Finding]]
_COLOURS = {"ok": "green", "warning": "yellow", "broken": "red", "absent": "bright_black"}


def doctor(
    envs: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", help="Try this environment, instead of one per simulator."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    ray: Annotated[
        bool, typer.Option("--ray/--no-ray", help="Start Ray, or join RAY_ADDRESS.")
    ] = True,
    storage_path: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("results"),
    timeout: Annotated[
        int, typer.Option(min=10, help="Seconds that an environment, or Ray, may take.")
    ] = 60,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show more of an error.")] = False,
) -> int:
    """Tell whether training can work here, and what to do if not.

    Exit code 1 if something that is needed is broken: an environment of --env counts as needed.
    """
    from rllib_dbf.cli.checkups.environments import require_known

    for env in envs or []:
        require_known(env)
    results = storage_path.expanduser().resolve()
    findings = run(jobs(list(dict.fromkeys(envs or [])), ray, results, float(timeout)))
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        show(findings)
    needed = {finding.status for finding in findings if finding.check in (envs or [])}
    every = {finding.status for finding in findings}
    return FAILED if "broken" in every or "absent" in needed else DONE


def jobs(envs: list[str], ray: bool, results: Path, limit: float) -> dict[str, Job]:
    """The checks by subject, in the order in which they are shown."""
    from rllib_dbf.cli.checkups import (
        cluster,
        compiled,
        environments,
        extras,
        gpu,
        machine,
        simulators,
        starcraft,
        versions,
    )

    tried = envs or [simulator.env for simulator in simulators.simulators()]
    found: dict[str, Job] = {
        "versions": versions.check_versions,
        "machine": partial(machine.check_machine, results),
        "gpu": lambda: [gpu.check_gpus(limit)],
        "compiled code": lambda: [compiled.check_compiled(limit)],
    }
    for env in tried:
        found[env] = partial(lambda name: [environments.check_env(name, limit, bool(envs))], env)
    if not envs:
        found["pygame"] = simulators.check_pygame
    if not envs or any(env.startswith(("smac/", "smacv2/")) for env in envs):
        found["StarCraft II"] = starcraft.check_starcraft
    if ray:
        found["ray cluster"] = partial(cluster.check_ray, limit)
    return found | {"extras": extras.check_extras}


def run(work: dict[str, Job]) -> list[Finding]:
    """Do all of it, a few at a time, the slowest first; the findings in the given order."""
    from rllib_dbf.cli.checkups.child import end_all
    from rllib_dbf.cli.checkups.machine import cores

    slow_first = sorted(work, key=lambda subject: subject != "ray cluster")
    at_once = max(2, min(4, int(cores())))
    pool = ThreadPoolExecutor(at_once)
    try:
        waiting = {
            pool.submit(_findings, subject, work[subject]): subject for subject in slow_first
        }
        found = dict(_collect(waiting))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        end_all()
        raise
    pool.shutdown()
    return [finding for subject in work for finding in found[subject]]


def _collect(waiting: dict[Future, str]) -> Iterator[tuple[str, list[Finding]]]:
    """What each check found, as it ends; a terminal is told how many are still out."""
    lively = sys.stderr.isatty()
    out = list(waiting.values())
    for future in as_completed(waiting):
        out.remove(waiting[future])
        if lively:
            width = max(20, _columns() - 1)
            line = f"{len(waiting) - len(out)}/{len(waiting)} checked; at {', '.join(out)}"
            typer.echo(f"\r{line[:width]:<{width}}", err=True, nl=False)
        yield waiting[future], future.result()
    if lively:
        typer.echo(f"\r{' ' * (_columns() - 1)}\r", err=True, nl=False)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80


def _findings(subject: str, job: Job) -> list[Finding]:
    """What a check finds; one that fails itself must not take the others along."""
    try:
        return list(job())
    except Exception as error:
        return [Finding(subject, "warning", f"could not be checked: {brief(error)}")]


def show(findings: list[Finding]) -> None:
    """A line each: status, check, detail, what to do."""
    width = max(len(finding.check) for finding in findings)
    counts: dict[str, Any] = dict.fromkeys(_COLOURS, 0)
    for finding in findings:
        counts[finding.status] += 1
        status = typer.style(f"{finding.status:<8}", fg=_COLOURS[finding.status])
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        typer.echo(f"{status}{finding.check:<{width}}  {one_line(finding.detail)}{remedy}")
    typer.echo(", ".join(f"{count} {status}" for status, count in counts.items()))
