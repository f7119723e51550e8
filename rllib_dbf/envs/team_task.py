"""One team at a time: the smaller contract, for simulators that are not batched."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from rllib_dbf.envs.team_env import TeamSpec


class TaskStep(NamedTuple):
    """What one team shows after a reset or a step; only `obs` has to be given.

    What the dead observe and may do need not be right: `StackedTeamEnv` shows zeros, and the no-op
    as their only action.
    """

    obs: Float[ndarray, "N O"]
    state: Float[ndarray, " S"] | None = None  # None: all observations, agent by agent
    avail: Bool[ndarray, "N A"] | None = None  # None: the living may do everything
    alive: Bool[ndarray, " N"] | None = None  # None: everybody lives
    reward: float = 0.0
    new_deaths: int | None = None  # None: those who were alive and no longer are
    outcome: str = ""  # "" goes on; "win", "loss", "draw", "timeout" or "end" on the last step


class EpisodeLostError(Exception):
    """Raised by a task whose simulator failed: the episode is dropped, the next reset recovers."""


@runtime_checkable
class TeamTask(Protocol):
    """A team task of which one copy is played; `StackedTeamEnv` makes a batch of them.

    After an episode's last step only `reset` is called. Actions are legal; those of the dead are
    `spec.noop_action`. `outcome` is "timeout" where a time limit cuts the episode; "win", "loss"
    or "draw" where `spec.has_win`; else "end". `draw` and `close` may be left out.
    """

    spec: TeamSpec

    def reset(self, seed: int) -> TaskStep:
        """Start an episode that is a function of the seed and of the actions to come."""
        ...

    def step(self, actions: Int[ndarray, " N"]) -> TaskStep:
        """Play a joint action.

        Raises:
            EpisodeLostError: If the simulator failed; it has to be usable after a reset.
        """
        ...

    def draw(self) -> ndarray | None:
        """The team's world as an RGB picture (uint8 [height, width, 3]); None: no picture."""
        ...

    def close(self) -> None:
        """Free the simulator."""
        ...


class FilledStep(NamedTuple):
    """A `TaskStep` with nothing left out, for a row of a batch."""

    obs: Float[ndarray, "N O"]
    state: Float[ndarray, " S"]
    avail: Bool[ndarray, "N A"]
    alive: Bool[ndarray, " N"]
    reward: float
    new_deaths: int
    outcome: str


def fill(step: TaskStep, spec: TeamSpec, before: Bool[ndarray, " N"] | None) -> FilledStep:
    """Put in what a task left out, and what the dead see and may do.

    Args:
        step: What the task showed.
        spec: Its sizes.
        before: Who was alive one step earlier; None at the start of an episode.

    Raises:
        ValueError: If an array has another shape than `spec` says.
    """
    n, a = spec.n_agents, spec.n_actions
    obs = _shaped("obs", step.obs, (n, spec.obs_dim))
    alive = np.ones(n, np.bool_) if step.alive is None else _shaped("alive", step.alive, (n,))
    avail = np.ones((n, a), np.bool_) if step.avail is None else step.avail
    avail = _shaped("avail", avail, (n, a)).astype(np.bool_)
    avail[~alive] = np.arange(a) == spec.noop_action
    obs = np.where(alive[:, None], obs, 0)
    state = obs.ravel() if step.state is None else step.state
    fallen = 0 if before is None else int((before & ~alive).sum())
    counted = fallen if step.new_deaths is None else step.new_deaths
    return FilledStep(
        obs.astype(np.float32),
        _shaped("state", state, (spec.state_dim,)).astype(np.float32),
        avail,
        alive.astype(np.bool_),
        float(step.reward),
        counted if spec.reports_deaths else 0,
        step.outcome,
    )


def _shaped(name: str, array: ndarray, shape: tuple[int, ...]) -> ndarray:
    array = np.asarray(array)
    if array.shape != shape:
        raise ValueError(f"{name} of a task step has shape {array.shape}; its spec says {shape}")
    return array
