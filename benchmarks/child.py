"""The process a contestant lives in: prepares once, then measures whenever it is asked to.

A probe is a module of `benchmarks/probes/` with

    def prepare(**settings) -> Callable[[], dict[str, float | None]]

`prepare` does everything that is not to be measured (imports, compilation, warm-up) and returns
what makes one measurement. A figure that could not be reached is None. This file imports nothing
but the standard library, so that it also runs in the environments of peers.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TextIO

PACKAGES = [
    "torch",
    "ray",
    "jax",
    "jaxlib",
    "jaxmarl",
    "numpy",
    "gymnasium",
    "pettingzoo",
    "benchmarl",
    "torchrl",
    "xuance",
]


class NotMeasured(Exception):
    """Raised by a probe that cannot run here; its text is the reason that the table shows."""


class BrokeDown(NotMeasured):
    """Raised by the suite when a contestant's process failed: a defect, not a limit."""


def main() -> None:
    """Serve one probe: a line out when ready, a line in and a line out per measurement."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print must not get between the answers
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    try:
        _limit_threads()
        measure = importlib.import_module(f"benchmarks.probes.{name}").prepare(**settings)
        _answer(answers, ready=True, versions=_versions(), torch_threads=_torch_threads())
        for _ in sys.stdin:
            figures = measure()
            _answer(answers, figures=figures, peak_rss_mb=peak_rss_mb())
    except NotMeasured as reason:
        _answer(answers, not_measured=str(reason))


def peak_rss_mb() -> float:
    """Greatest memory this process ever held, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _limit_threads() -> None:
    threads = os.environ.get("BENCH_THREADS")
    if threads and importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(int(threads))


def _torch_threads() -> int | None:
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _answer(stream: TextIO, **what: Any) -> None:
    print(json.dumps(what), file=stream, flush=True)


if __name__ == "__main__":
    main()
