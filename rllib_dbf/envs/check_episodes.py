"""What must hold of whole episodes of an environment; used by `check_team_env`.

A check raises `Violation` with what is wrong, or returns why it could not be made, or None.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rllib_dbf.envs.check_play import Violation, choose, go_on, play, require_same
from rllib_dbf.envs.check_play import require_same_episodes as same_episodes
from rllib_dbf.envs.check_play import row as row_of
from rllib_dbf.envs.team_env import TeamStep, VectorTeamEnv, copy_step


class Subject(NamedTuple):
    """What is checked, and what earlier checks found out."""

    make: Callable[[int], VectorTeamEnv] | None  # None: only the one instance exists
    env: VectorTeamEnv
    seeds: np.ndarray
    steps: int
    tolerance: float
    reference: list[TeamStep]  # the episodes of these seeds


def limit(case: Subject) -> str | None:
    """No episode outlasts `spec.episode_limit`."""
    limit, last = case.env.spec.episode_limit, case.reference[-1]
    if len(case.reference) - 1 > limit:
        raise Violation(f"an episode lasted longer than the {limit} steps of spec.episode_limit")
    ended = last.terminated | last.truncated
    return None if ended.all() else f"not all episodes ended within {case.steps} steps"


def illegal(case: Subject) -> str | None:
    """Actions out of range or masked out raise, and change nothing."""
    everyone = np.ones(case.env.num_envs, np.bool_)
    shown = case.env.reset(everyone, case.seeds)
    good = choose(shown.avail, case.seeds, 0)
    masked = np.argwhere(~shown.avail)
    for agent, action in [(0, case.env.spec.n_actions), (0, -1), *masked[:1, 1:]]:
        slot = masked[0, 0] if len(masked) and 0 <= action < case.env.spec.n_actions else 0
        bad = good.copy()
        bad[slot, agent] = action
        try:
            case.env.step(bad)
        except ValueError:
            continue
        raise Violation(f"action {action} of agent {agent} was accepted")
    same_episodes(
        [shown, *go_on(case.env, shown, case.seeds, 0, 3)], 0, case.reference, 0, case.tolerance
    )
    return None


def seeds(case: Subject) -> str | None:
    """Played again, the episodes are the same."""
    again = play(case.env, case.seeds, case.steps)
    for slot in range(case.env.num_envs):
        same_episodes(again, slot, case.reference, slot, case.tolerance)
    return None


def sizes(case: Subject) -> str | None:
    """One copy, or one more, in other slots, shows the same episodes."""
    if case.make is None:
        return "needs a name or a factory"
    for size in (1, case.env.num_envs + 1):
        other = case.make(size)
        seeds = np.resize(case.seeds[::-1], size)
        shown = play(other, seeds, case.steps)
        same_episodes(shown, 0, case.reference, case.env.num_envs - 1, case.tolerance)
        if size > 1:
            same_episodes(shown, size - 2, case.reference, 0, case.tolerance)
        other.close()
    return None


def single_reset(case: Subject) -> str | None:
    """Resetting one sub-environment changes nothing for the others."""
    if case.env.num_envs < 2:
        return "needs at least 2 sub-environments"
    shown = play(case.env, case.seeds, 1)[-1]
    mask = np.arange(case.env.num_envs) == 0
    seeds = np.where(mask, case.seeds + 999, -1)
    mixed = case.env.reset(mask, seeds)
    for slot in range(1, case.env.num_envs):
        require_same(row_of(shown, slot), row_of(mixed, slot), 0.0, f"in slot {slot} after a reset")
    later = [mixed, *go_on(case.env, mixed, case.seeds, 1, case.steps)]
    for slot in range(1, case.env.num_envs):
        same_episodes(later, slot, case.reference[1:], slot, case.tolerance)
    return None


def frozen(case: Subject) -> str | None:
    """Stepped again, an ended sub-environment shows the same, without reward or deaths."""
    last = play(case.env, case.seeds, case.steps)[-1]
    ended = last.terminated | last.truncated
    if not ended.any():
        return f"no episode ended within {case.steps} steps"
    again = copy_step(case.env.step(choose(last.avail, case.seeds, len(case.reference))))
    quiet = last._replace(reward=np.zeros_like(last.reward), new_deaths=0 * last.new_deaths)
    for slot in np.flatnonzero(ended).tolist():
        require_same(row_of(quiet, slot), row_of(again, slot), 0.0, f"in ended slot {slot}")
    return None


def restart(case: Subject) -> str | None:
    """After episodes ended in whatever way, a seed starts the episode it always starts."""
    seen: set[str] = set()
    for attempt in range(4):
        seeds = case.seeds + 100 * attempt
        last = play(case.env, seeds, case.steps)[-1]
        seen |= set(last.outcome) - {""}
        again = play(case.env, case.seeds, 3)
        for slot in range(case.env.num_envs):
            same_episodes(again, slot, case.reference, slot, case.tolerance)
    return None if seen else f"no episode ended within {case.steps} steps"


def state(case: Subject) -> str | None:
    """A pickled state continues in another instance as the original would have."""
    half = max(1, min(len(case.reference) // 2, 10))
    shown = play(case.env, case.seeds, half)[-1]
    state = case.env.get_state()
    if state is None:
        return "get_state returns None"
    stored = pickle.dumps(state)
    go_on(case.env, shown, case.seeds, half, 3)
    other = case.env if case.make is None else case.make(case.env.num_envs)
    other.set_state(pickle.loads(stored))
    nobody = np.zeros(case.env.num_envs, np.bool_)
    later = [other.reset(nobody, case.seeds), *go_on(other, shown, case.seeds, half, case.steps)]
    for slot in range(case.env.num_envs):
        same_episodes(later, slot, case.reference[half:], slot, case.tolerance)
    return None


def kept(case: Subject) -> str | None:
    """Earlier results do not change with later calls."""
    first = case.env.reset(np.ones(case.env.num_envs, np.bool_), case.seeds)
    kept = [(first, copy_step(first))]
    for time in range(3):
        step = case.env.step(choose(kept[-1][0].avail, case.seeds, time))
        kept.append((step, copy_step(step)))
    case.env.reset(np.ones(case.env.num_envs, np.bool_), case.seeds + 1)
    for step, copied in kept:
        for slot in range(case.env.num_envs):
            require_same(row_of(step, slot), row_of(copied, slot), 0.0, "after later calls")
    return None


def early_step(case: Subject) -> str | None:
    """Without a reset there is nothing to step."""
    if case.make is None:
        return "needs a name or a factory"
    env = case.make(2)
    try:
        env.step(np.full((2, env.spec.n_agents), env.spec.noop_action))
    except RuntimeError:
        return None
    finally:
        env.close()
    raise Violation("a step before any reset did not raise RuntimeError")


def picture(case: Subject) -> str | None:
    """A picture is an RGB array."""
    picture = case.env.draw()
    if picture is None:
        return "draw returns None"
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise Violation(f"draw returns {picture.dtype} {picture.shape}, not uint8 [h, w, 3]")
    return None


def close(case: Subject) -> str | None:
    """Closing is harmless, and another instance works afterwards."""
    if case.make is None:
        return "needs a name or a factory"
    env = case.make(case.env.num_envs)
    env.close()
    env.close()
    again = case.make(case.env.num_envs)
    shown = play(again, case.seeds, 3)
    same_episodes(shown, 0, case.reference, 0, case.tolerance)
    again.close()
    return None


EPISODE_CHECKS: dict[str, Callable[[Subject], str | None]] = {
    "episodes end in time": limit,
    "illegal actions raise ValueError": illegal,
    "same seed and actions, same episode": seeds,
    "whatever the number of copies and the slot": sizes,
    "a reset leaves the others alone": single_reset,
    "an ended episode stays frozen": frozen,
    "restarts after every ending": restart,
    "get_state and set_state continue exactly": state,
    "shown arrays stay as they were": kept,
    "a step before a reset raises RuntimeError": early_step,
    "draws a picture": picture,
    "closes twice and opens again": close,
}
"""All checks by the name they have in a report."""
