"""Wall-clock seconds from the first sample to a win rate in two successive evaluations.

An evaluation is 64 greedy episodes, every second iteration (about 10,000 env-steps); its time
counts. A training that has not arrived after six times the goal is given up.
"""

from typing import Any

from benchmarks.suite import Contestant, Figure, Goal, Options

WINS = {"qmix": ("QMIX", 0.75, 25.0), "dbf": ("DBF", 0.65, 60.0)}


def contestants(o: Options) -> list[Contestant]:
    return [_training(o, preset) for preset in WINS]


def _training(o: Options, preset: str) -> Contestant:
    title, wins, goal = WINS[preset]
    settings: dict[str, Any] = {"env": o.env, "preset": preset, "wins": wins, "seed": o.seed}
    settings |= {"give_up": 6 * goal, "overrides": o.overrides}
    to = f"{title} to {wins:.0%} wins"
    figures = (
        Figure(to, "seconds", "s", goal=Goal(at_most=goal) if o.env == "smax/3m" else None),
        Figure(f"{to}, of it evaluating", "seconds_evaluating", "s"),
        Figure(f"{to}, experience", "env_steps", "env-steps"),
        Figure(f"{title}, last evaluation", "last_win_rate", "wins"),
    )
    rounds = None if o.full else 1
    return Contestant("win_rate", settings, figures, needs_ray=True, rounds=rounds)
