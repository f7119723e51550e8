"""`check_team_env`: does an environment keep the contract? One line per property."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rllib_dbf.envs.check_episodes import EPISODE_CHECKS, Subject
from rllib_dbf.envs.check_play import Violation, play
from rllib_dbf.envs.check_steps import STEP_RULES
from rllib_dbf.envs.team_env import VectorTeamEnv

_SEED = 7_000


class Finding(NamedTuple):
    """What became of one property."""

    name: str
    verdict: str  # "passed", "failed" or "not tested"
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:10s} {self.name}" + (f": {self.detail}" if self.detail else "")


class CheckReport(NamedTuple):
    """The findings about an environment; prints as one line per property."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.verdict != "failed" for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {finding}" for finding in self.findings)])

    def raise_if_failed(self) -> None:
        """Turn failures into an exception.

        Raises:
            AssertionError: Showing the whole report.
        """
        if not self.ok:
            raise AssertionError(str(self))


def check_team_env(
    env: str | Callable[..., Any] | VectorTeamEnv,
    num_envs: int = 4,
    max_steps: int = 200,
    tolerance: float = 0.0,
    **options: Any,
) -> CheckReport:
    """Play an environment at random and see whether it keeps the contract of `VectorTeamEnv`.

    Args:
        env: What `make_env` takes (a name, a class, a factory), or an instance; with an instance,
            what needs a second one is not tested.
        num_envs: Copies to play, at least 2; an instance brings its own number.
        max_steps: Steps to play at most in one go.
        tolerance: How far observations, state and reward of equal episodes may lie apart.
        **options: For `make_env`.

    Returns:
        One finding per property. Nothing is raised for a failure; see `raise_if_failed`.
    """
    make, title = _maker(env, options)
    subject: Any = env if make is None else make(num_envs)
    seeds = _SEED + np.arange(subject.num_envs)
    try:
        reference = play(subject, seeds, max_steps)
    except Exception as error:  # whatever a stranger's environment raises
        return CheckReport(title, (Finding("can be played", "failed", repr(error)),))
    case = Subject(make, subject, seeds, max_steps, tolerance, reference)
    findings = [Finding("can be played", "passed", f"{len(reference) - 1} steps")]
    findings += [_judge_steps(name, rule, case) for name, rule in STEP_RULES.items()]
    findings += [_judge(name, check, case) for name, check in EPISODE_CHECKS.items()]
    if make is not None:
        subject.close()
    return CheckReport(title, tuple(findings))


def _maker(env: Any, options: dict[str, Any]) -> tuple[Callable | None, str]:
    """How to make more of what is checked, and what to call it."""
    if isinstance(env, VectorTeamEnv):
        return None, type(env).__name__
    from rllib_dbf.envs import make_env  # here, because that package imports this module

    title = env if isinstance(env, str) else getattr(env, "__name__", repr(env))
    return lambda num_envs: make_env(env, num_envs, **options), title


def _judge_steps(name: str, rule: Callable, case: Subject) -> Finding:
    """Apply a rule to every step of the reference episodes."""
    before = None
    for time, step in enumerate(case.reference):
        wrong = rule(case.env.spec, before, step)
        if wrong:
            return Finding(name, "failed", f"step {time}: {wrong}")
        before = step
    return Finding(name, "passed")


def _judge(name: str, check: Callable[[Subject], str | None], case: Subject) -> Finding:
    """Run a check; it raises `Violation`, or returns why it could not be made."""
    try:
        reason = check(case)
    except Violation as error:
        return Finding(name, "failed", str(error))
    except Exception as error:  # whatever a stranger's environment raises
        return Finding(name, "failed", f"raised {error!r}")
    return Finding(name, "not tested", reason) if reason else Finding(name, "passed")
