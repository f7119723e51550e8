"""The command behind `./run bench`."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from benchmarks import machine
from benchmarks.report import show, write_json
from benchmarks.running import Result, needs_ray, run, shared_ray
from benchmarks.suite import ROOT, Options, benchmark, benchmark_names, summary
from rllib_dbf.registry import UnknownNameError

app = typer.Typer(add_completion=False)


def _settings(pairs: list[str]) -> dict[str, Any]:
    """KEY=VALUE pairs, the values read as YAML."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set takes KEY=VALUE, got {pair!r}")
        found[key] = yaml.safe_load(value)
    return found


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks; none: all.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say what there is.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; medians are taken.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.05, help="Of each measurement.")] = 2.0,
    env: Annotated[str, typer.Option(help="Environment, where one is free.")] = "smax/3m",
    seed: Annotated[int, typer.Option(help="First seed.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Torch threads.")] = None,
    full: Annotated[bool, typer.Option(help="More sizes and seeds (takes long).")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of trainings.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the JSON goes.")] = None,
) -> None:
    """Measure speed and memory, print a table and write JSON to results/bench/."""
    if list_:
        for name in benchmark_names():
            print(f"{name:16}{summary(name)}")
        return
    options = Options(repeats, seconds, env, seed, full, _settings(set_ or []))
    try:
        for name in names or []:
            benchmark(name)
    except UnknownNameError as error:
        print(f"bench: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    file = output or _file(names)
    results = _measure(names or benchmark_names(), options, threads, file)
    print(f"written to {file}")
    if any(result.broke_down for result in results):
        raise typer.Exit(1)
    if names and all(row.not_measured for result in results for row in result.rows):
        raise typer.Exit(2)  # nothing of what was asked for by name can be measured here


def _measure(names: list[str], options: Options, threads: int | None, file: Path) -> list[Result]:
    """Run the benchmarks one after the other; the file is there after each of them."""
    results: list[Result] = []
    report = {"machine": machine.describe(), "options": asdict(options) | {"threads": threads}}
    with shared_ray(needs_ray(names, options)) as address:
        for name in names:
            print(f"bench: {name} ...", file=sys.stderr, flush=True)
            began = time.monotonic()
            results.append(run(name, options, file.with_suffix(""), address, threads))
            took = time.monotonic() - began
            show(f"{name} ({took:.0f} s): {summary(name)}", results[-1].rows)
            write_json(file, report | {"benchmarks": [r.as_dict() for r in results]})
    return results


def _file(names: list[str] | None) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return ROOT / "results" / "bench" / f"{stamp}-{'-'.join(names or ['all'])}.json"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # having cleaned up
    app()
