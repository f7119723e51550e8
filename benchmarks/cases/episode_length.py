"""Scaling in episode length: an update of 32 invented episodes of 16 to 128 steps, sizes of 3m.

All agents live to the end. The GRU is unrolled over whole episodes, so time should grow with the
length and no faster.
"""

from typing import Any

from benchmarks.suite import Contestant, Figure, Options

LENGTHS = [16, 32, 64, 128]


def contestants(o: Options) -> list[Contestant]:
    return [_updates(o, "qmix", "QMIX"), _updates(o, "dbf", "DBF")]


def _updates(o: Options, preset: str, title: str) -> Contestant:
    settings: dict[str, Any] = {"env": "smax/3m", "preset": preset, "seconds": o.seconds / 2}
    settings |= {"seed": o.seed, "lengths": LENGTHS, "overrides": {}}
    first = f"{title}, {LENGTHS[0]} steps"
    figures = tuple(
        Figure(f"{title}, {n} steps", f"ms_{n}", "ms", versus="" if n == LENGTHS[0] else first)
        for n in LENGTHS
    )
    return Contestant("update", settings, figures, needs_ray=True)
