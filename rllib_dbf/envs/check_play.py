"""Playing environments reproducibly, and comparing what they show; used by `check_team_env`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from rllib_dbf.envs.counter_random import uniform
from rllib_dbf.envs.team_env import TeamStep, VectorTeamEnv, copy_step


class Violation(Exception):
    """An environment broke the contract; the message says how."""


def choose(
    avail: Bool[ndarray, "B N A"], seeds: Int[ndarray, " B"], time: int
) -> Int[ndarray, "B N"]:
    """Random legal actions as a function of seed, time and what is legal, and of nothing else."""
    counts = np.cumsum(avail, axis=-1)
    chance = uniform(seeds + 2**31, np.full(len(seeds), time), avail.shape[1])
    rank = (chance * counts[..., -1]).astype(np.int64)
    return np.argmax(counts > rank[..., None], axis=-1)


def play(env: VectorTeamEnv, seeds: Int[ndarray, " B"], steps: int) -> list[TeamStep]:
    """New episodes everywhere, and what they show until all are over or the steps are used up."""
    shown = [copy_step(env.reset(np.ones(env.num_envs, np.bool_), seeds))]
    return shown + go_on(env, shown[0], seeds, 0, steps)


def go_on(
    env: VectorTeamEnv, last: TeamStep, seeds: Int[ndarray, " B"], time: int, steps: int
) -> list[TeamStep]:
    """Continue episodes that are `time` steps old."""
    shown = []
    for now in range(time, time + steps):
        if (last.terminated | last.truncated).all():
            break
        last = copy_step(env.step(choose(last.avail, seeds, now)))
        shown.append(last)
    return shown


def row(step: TeamStep, index: int) -> dict[str, object]:
    """One sub-environment of a step."""
    return {name: part[index] for name, part in step._asdict().items()}


def require_same(one: dict, other: dict, tolerance: float, where: str) -> None:
    """Compare two sub-environments.

    Raises:
        Violation: Naming the first field that differs.
    """
    for name, value in one.items():
        if name in ("obs", "state", "reward"):
            same = np.allclose(value, other[name], rtol=tolerance, atol=tolerance)
        else:
            same = np.array_equal(value, other[name])
        if not same:
            raise Violation(f"{name} differs {where}")


def require_same_episodes(
    one: list[TeamStep], slot: int, other: list[TeamStep], other_slot: int, tolerance: float
) -> None:
    """Compare one sub-environment's episodes step by step, as far as both go.

    Raises:
        Violation: Naming the step and the field that differs.
    """
    for time, (a, b) in enumerate(zip(one, other, strict=False)):
        where = f"at step {time} between slot {slot} of {len(a.outcome)} and slot {other_slot}"
        require_same(row(a, slot), row(b, other_slot), tolerance, f"{where} of {len(b.outcome)}")
