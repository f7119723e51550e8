"""What must hold in every single step of an environment; used by `check_team_env`.

A rule looks at a transition and returns what is wrong, or an empty string.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rllib_dbf.envs.team_env import OUTCOMES, TeamSpec, TeamStep

Rule = Callable[[TeamSpec, TeamStep | None, TeamStep], str]


def shapes(spec: TeamSpec, before: TeamStep | None, after: TeamStep) -> str:
    """Every array has the declared shape and dtype."""
    size, n = len(after.outcome), spec.n_agents
    wanted = {
        "obs": ((size, n, spec.obs_dim), np.float32),
        "state": ((size, spec.state_dim), np.float32),
        "avail": ((size, n, spec.n_actions), np.bool_),
        "alive": ((size, n), np.bool_),
        "reward": ((size,), np.float32),
        "new_deaths": ((size,), np.integer),
        "terminated": ((size,), np.bool_),
        "truncated": ((size,), np.bool_),
    }
    for name, (shape, dtype) in wanted.items():
        part = getattr(after, name)
        if part.shape != shape or not np.issubdtype(part.dtype, dtype):
            return f"{name} is {part.dtype} {part.shape}, not {dtype.__name__} {shape}"
    return ""


def numbers(spec: TeamSpec, before: TeamStep | None, after: TeamStep) -> str:
    """Observations, state and reward are finite."""
    bad = [name for name in ("obs", "state", "reward") if not np.isfinite(after[_at(name)]).all()]
    return f"not finite: {', '.join(bad)}" if bad else ""


def alive_falls(spec: TeamSpec, before: TeamStep | None, after: TeamStep) -> str:
    """Nobody comes back to life within an episode."""
    if before is None:
        return "" if after.alive.any(axis=1).all() else "a new episode starts with nobody alive"
    back = np.argwhere(after.alive & ~before.alive)
    return f"agent {back[0][1]} of sub-environment {back[0][0]} came back" if len(back) else ""


def deaths(spec: TeamSpec, before: TeamStep | None, after: TeamStep) -> str:
    """At most those who are no longer alive count as new deaths."""
    lost = 0 if before is None else (before.alive & ~after.alive).sum(axis=1)
    if (after.new_deaths < 0).any() or (after.new_deaths > lost).any():
        return f"new_deaths {after.new_deaths.tolist()} where alive fell by {np.array(lost)}"
    if not spec.reports_deaths and after.new_deaths.any():
        return "reports_deaths is False, but new_deaths is not 0"
    return ""


def dead_agents(spec: TeamSpec, before: TeamStep | None, after: TeamStep) -> str:
    """The dead see zeros, and the no-op is their one legal action."""
    dead = ~after.alive
    if after.obs[dead].any():
        return "a dead agent observes something"
    only_noop = np.arange(spec.n_actions) == spec.noop_action
    return "" if (after.avail[dead] == only_noop).all() else "a dead agent may do other than no-op"


def legal_actions(spec: TeamSpec, before: TeamStep | None, after: TeamStep) -> str:
    """Everybody has a legal action, also when the episode is over."""
    return "" if after.avail.any(axis=-1).all() else "an agent has no legal action"


def endings(spec: TeamSpec, before: TeamStep | None, after: TeamStep) -> str:
    """Terminated and truncated exclude each other."""
    both = np.flatnonzero(after.terminated & after.truncated)
    return f"sub-environment {both[0]} is terminated and truncated" if len(both) else ""


def outcomes(spec: TeamSpec, before: TeamStep | None, after: TeamStep) -> str:
    """A word at the end and only there: "timeout" when truncated, wins only where there are."""
    for row, word in enumerate(after.outcome):
        allowed = [""]
        if after.truncated[row]:
            allowed = ["timeout", "crash"]
        elif after.terminated[row]:
            allowed = ["win", "loss", "draw"] if spec.has_win else ["end"]
        if word not in allowed or word not in OUTCOMES:
            return f"outcome {word!r} of sub-environment {row} should be one of {allowed}"
    return ""


STEP_RULES: dict[str, Rule] = {
    "shapes and dtypes": shapes,
    "numbers are finite": numbers,
    "alive only falls": alive_falls,
    "new_deaths fits alive": deaths,
    "the dead see zeros and may only no-op": dead_agents,
    "everybody has a legal action": legal_actions,
    "terminated excludes truncated": endings,
    "outcome at the end and only there": outcomes,
}
"""All rules by the name they have in a report."""


def _at(name: str) -> int:
    """Position of a field."""
    return TeamStep._fields.index(name)
