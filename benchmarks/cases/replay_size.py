"""Cost of an update, sampling included, as the replay grows from 500 to 20,000 episodes (QMIX)."""

from benchmarks.suite import Contestant, Figure, Goal, Options

SIZES = [500, 5_000, 20_000]
GOAL = Goal(at_most=1.1, of_ratio=True)


def contestants(o: Options) -> list[Contestant]:
    settings = {"env": "smax/3m", "preset": "qmix", "sizes": SIZES, "seconds": o.seconds / 2}
    updates = [_of("sampling and update", "update_ms", "ms", n, GOAL) for n in SIZES]
    samples = [_of("sampling 32 episodes", "sample_ms", "ms", n, None) for n in SIZES]
    sizes = [Figure(f"memory, {n:,}", f"megabytes_{n}", "MB") for n in SIZES]
    figures = (*updates, *samples, *sizes)
    return [Contestant("replay", settings | {"seed": o.seed}, figures, needs_ray=True)]


def _of(what: str, key: str, unit: str, size: int, goal: Goal | None) -> Figure:
    first = size == SIZES[0]
    versus = "" if first else f"{what}, {SIZES[0]:,}"
    return Figure(f"{what}, {size:,}", f"{key}_{size}", unit, versus, None if first else goal)
