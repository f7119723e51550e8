"""Greatest memory of a process that makes updates: 3m as trained, 27m_vs_30m with 8 episodes.

Played episodes are short at first; "to the time limit" has invented ones of full length.
"""

from typing import Any

from benchmarks.suite import Contestant, Figure, Goal, Options

LARGE = {"batch_episodes": 8, "episodes_per_update": 8, "num_envs_per_env_runner": 8}


def contestants(o: Options) -> list[Contestant]:
    goal = Goal(at_most=2_000)
    large = {"env": "smax/27m_vs_30m", "preset": "dbf", "overrides": LARGE}
    longest = large | {"longest": True}
    return [
        _updates(o, "QMIX, 3m", {"env": "smax/3m", "preset": "qmix", "overrides": {}}),
        _updates(o, "DBF, 3m", {"env": "smax/3m", "preset": "dbf", "overrides": {}}),
        _updates(o, "DBF, 27m_vs_30m", large, goal),
        _updates(o, "DBF, 27m_vs_30m to the time limit", longest, goal),
    ]


def _updates(
    o: Options, title: str, settings: dict[str, Any], goal: Goal | None = None
) -> Contestant:
    figures = (
        Figure(f"{title}: added by the update", "added_mb", "MB", goal=goal),
        Figure(f"{title}: whole process (Python, Torch, Ray, JAX)", "peak_mb", "MB"),
        Figure(f"{title}: an update", "ms", "ms"),
        Figure(f"{title}: mean length of the episodes", "mean_length", "env-steps"),
    )
    return Contestant("memory", settings | {"seed": o.seed}, figures, needs_ray=True)
