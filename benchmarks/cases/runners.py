"""Scaling in env runners: 0 (within the learner's process), 1, 2 and 4 remote ones, QMIX."""

import os

from benchmarks.suite import Contestant, Figure, Goal, Options

RUNNERS = (0, 1, 2, 4)


def contestants(o: Options) -> list[Contestant]:
    return [_with(o, n) for n in RUNNERS]


def _with(o: Options, runners: int) -> Contestant:
    settings = {"env": o.env, "preset": "qmix", "runners": runners, "seconds": o.seconds}
    settings |= {"seed": o.seed, "overrides": o.overrides}
    two = Goal(at_least=1.8, of_ratio=True) if runners == 2 and _cores() > 2 else None
    few = "" if _cores() > runners else f"more processes than the {_cores()} cores"
    figures = (
        Figure(
            f"sampling, {runners} runners",
            "sampling",
            versus="" if runners == 1 else "sampling, 1 runners",
            goal=two,
            note=few,
        ),
        Figure(
            f"training, {runners} runners",
            "training",
            versus="" if runners == 0 else "training, 0 runners",
        ),
    )
    return Contestant("runners", settings, figures, needs_ray=True)


def _cores() -> int:
    return os.cpu_count() or 1
