"""Training end to end: one update of 32 episodes per 8 collected, GRU 64, no evaluation."""

from benchmarks.suite import Contestant, Figure, Goal, Options


def training(o: Options, preset: str, *figures: Figure) -> Contestant:
    """Our training of a preset with its defaults."""
    settings = {"env": o.env, "preset": preset, "seconds": 2 * o.seconds, "seed": o.seed}
    settings["overrides"] = o.overrides
    return Contestant("training", settings, figures, needs_ray=True)


def contestants(o: Options) -> list[Contestant]:
    goal = Goal(at_least=12_000) if o.env == "smax/3m" else None
    return [
        training(
            o,
            "qmix",
            Figure("QMIX", goal=goal),
            Figure("QMIX, updates", "updates_per_second", "updates/s"),
            Figure("QMIX, env-steps per update", "steps_per_update", "env-steps"),
        ),
        training(
            o,
            "dbf",
            Figure("DBF", versus="QMIX"),
            Figure("DBF, updates", "updates_per_second", "updates/s"),
        ),
    ]
