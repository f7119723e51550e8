"""Greatest memory of a process that makes updates: 3m as trained, 27m_vs_30m with 8 episodes."""

from typing import Any

from benchmarks.suite import Contestant, Figure, Goal, Options

LARGE = {"batch_episodes": 8, "episodes_per_update": 8, "num_envs_per_env_runner": 8}


def contestants(o: Options) -> list[Contestant]:
    return [
        _updates(o, "smax/3m", "qmix", "QMIX, 3m", {}, None),
        _updates(o, "smax/3m", "dbf", "DBF, 3m", {}, None),
        _updates(o, "smax/27m_vs_30m", "dbf", "DBF, 27m_vs_30m", LARGE, Goal(at_most=2_000)),
    ]


def _updates(
    o: Options, env: str, preset: str, title: str, overrides: dict[str, Any], goal: Goal | None
) -> Contestant:
    settings = {"env": env, "preset": preset, "seed": o.seed, "overrides": overrides}
    figures = (
        Figure(f"{title}: added by the update", "added_mb", "MB", goal=goal),
        Figure(f"{title}: whole process (Python, Torch, Ray, JAX)", "peak_mb", "MB"),
        Figure(f"{title}: an update", "ms", "ms"),
        Figure(f"{title}: mean length of the episodes", "mean_length", "env-steps"),
    )
    return Contestant("memory", settings, figures, needs_ray=True)
