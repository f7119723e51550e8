"""The contract every environment door fulfils: a batch of teams that never resets itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Integer
from numpy import ndarray

from rllib_dbf.registry import Registry

OUTCOMES = ("", "win", "loss", "draw", "timeout", "end", "crash")
"""Words of `TeamStep.outcome`; their positions are the outcome codes simulators work with."""

RUNNING, WIN, LOSS, DRAW, TIMEOUT, END, CRASH = range(len(OUTCOMES))


class TeamSpec(NamedTuple):
    """Sizes and facts of a team task; the same for every sub-environment of a batch."""

    n_agents: int
    n_actions: int
    obs_dim: int
    state_dim: int
    episode_limit: int  # greatest number of steps of an episode, time limit included
    noop_action: int  # the one legal action of a dead agent
    reports_deaths: bool  # False: `new_deaths` is always 0 and a barrier has nothing to learn from
    has_win: bool  # True: `outcome` tells wins apart; False: win rates are not reported
    unit_dim: int = 0  # state[i * unit_dim : (i + 1) * unit_dim] is about agent i; 0: no such part


class TeamStep(NamedTuple):
    """What a batch of B sub-environments shows after a reset or a step.

    Terminal observations are the true ones. `outcome` is "" while an episode runs and
    "win", "loss", "draw", "timeout" or "end" (nothing to win) on its last step; "crash" if the
    simulator failed, and what was played is no episode.
    The arrays are fresh in every call: they may be kept, but not written to, because the
    environment may still read them.
    """

    obs: Float32[ndarray, "B N O"]
    state: Float32[ndarray, "B S"]
    avail: Bool[ndarray, "B N A"]
    alive: Bool[ndarray, "B N"]
    reward: Float32[ndarray, " B"]  # team reward of the transition that led here (0 after reset)
    new_deaths: Integer[ndarray, " B"]  # agents that died on arrival here (0 after reset)
    terminated: Bool[ndarray, " B"]  # the task ended: nothing to bootstrap from
    truncated: Bool[ndarray, " B"]  # cut (time limit, crash): the task would have gone on
    outcome: tuple[str, ...]  # one word per sub-environment


class VectorTeamEnv(ABC):
    """B copies of a team task, stepped together; sub-environments are reset one by one.

    * `alive` only goes from True to False within an episode; `new_deaths` counts failures, never
      arrivals at a goal nor the end of the game for the living.
    * A dead agent keeps its slot: zero observation, and `spec.noop_action` as only legal action.
    * Every row of `avail` has at least one True. Illegal actions raise `ValueError`.
    * `terminated` and `truncated` are never both True.
    * An episode is a function of its seed and of the actions, whatever B is and whichever slot
      it is played in.
    * A sub-environment whose episode ended must be reset before it is stepped again; until then
      its rows in the returned step are frozen (reward and new_deaths 0, ends still set) and the
      actions given for it are ignored.
    * Every sub-environment must be reset once before the first step; `RuntimeError` otherwise.
    """

    spec: TeamSpec
    num_envs: int

    @abstractmethod
    def reset(self, mask: Bool[ndarray, " B"], seeds: Int[ndarray, " B"]) -> TeamStep:
        """Start new episodes in the sub-environments chosen by `mask`, from their seeds.

        Rows outside the mask show the sub-environment as it last was (its last reward and deaths
        included). Seeds outside the mask are ignored. Seeds lie in [0, 2**31).

        Raises:
            ValueError: If the shapes do not fit or a chosen seed is out of range.
        """

    @abstractmethod
    def step(self, actions: Int[ndarray, "B N"]) -> TeamStep:
        """Play one joint action in every sub-environment.

        Raises:
            ValueError: If the shape does not fit or an action is illegal where an episode runs.
            RuntimeError: If a sub-environment was never reset.
        """

    def prepare(self, seeds: Int[ndarray, " P"]) -> None:  # noqa: B027 (a hint may be ignored)
        """Hint that these seeds will be asked for soon; an environment may reset in bulk."""

    def get_state(self) -> dict[str, Any] | None:
        """Everything needed to continue every episode exactly, or None if that is impossible.

        The value is picklable and shares no memory with the environment.
        """
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned, in an environment made in the same way.

        Raises:
            ValueError: If the state belongs to another task or another number of copies.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot restore running episodes")

    def draw(self) -> np.ndarray | None:
        """Sub-environment 0 as an RGB picture (uint8 [height, width, 3]); None: no picture."""
        return None

    def close(self) -> None:  # noqa: B027 (many environments have nothing to free)
        """Free simulators and processes; calling it twice is harmless."""


def copy_step(step: TeamStep) -> TeamStep:
    """The same step in memory of its own."""
    return TeamStep(*(part if isinstance(part, tuple) else part.copy() for part in step))


def blank_step(spec: TeamSpec, num_envs: int) -> TeamStep:
    """What sub-environments show that were never reset: nobody there, nothing to do."""
    avail = np.zeros((num_envs, spec.n_agents, spec.n_actions), np.bool_)
    avail[:, :, spec.noop_action] = True
    return TeamStep(
        obs=np.zeros((num_envs, spec.n_agents, spec.obs_dim), np.float32),
        state=np.zeros((num_envs, spec.state_dim), np.float32),
        avail=avail,
        alive=np.zeros((num_envs, spec.n_agents), np.bool_),
        reward=np.zeros(num_envs, np.float32),
        new_deaths=np.zeros(num_envs, np.int64),
        terminated=np.zeros(num_envs, np.bool_),
        truncated=np.zeros(num_envs, np.bool_),
        outcome=("",) * num_envs,
    )


def require_reset_arguments(mask: ndarray, seeds: ndarray, num_envs: int) -> None:
    """Refuse reset arguments that do not fit a batch of `num_envs` sub-environments.

    Raises:
        ValueError: Naming what was given and what is allowed.
    """
    if mask.shape != (num_envs,) or mask.dtype != np.bool_:
        raise ValueError(
            f"mask must be a bool array of shape ({num_envs},), got {mask.dtype} {mask.shape}"
        )
    if seeds.shape != (num_envs,) or not np.issubdtype(seeds.dtype, np.integer):
        raise ValueError(
            f"seeds must be an integer array of shape ({num_envs},), "
            f"got {seeds.dtype} {seeds.shape}"
        )
    chosen = seeds[mask]
    if chosen.size and (chosen.min() < 0 or chosen.max() >= 2**31):
        raise ValueError(f"seeds must lie in [0, 2**31), got {chosen.min()} to {chosen.max()}")


def require_legal(actions: ndarray, avail: Bool[ndarray, "B N A"], running: ndarray) -> None:
    """Refuse actions that are no integers, do not fit the batch, or are masked out.

    Args:
        actions: The actions given.
        avail: Legal actions before the step.
        running: Which sub-environments are in the middle of an episode; others are not checked.

    Raises:
        ValueError: Naming the first offending sub-environment and agent.
    """
    if actions.shape != avail.shape[:2] or actions.dtype.kind not in "iu":
        raise ValueError(
            f"actions must be an integer array of shape {avail.shape[:2]}, "
            f"got {actions.dtype} {actions.shape}"
        )
    n_actions = avail.shape[2]
    in_range = (actions >= 0) & (actions < n_actions)
    rows = np.arange(0, avail.size, n_actions).reshape(actions.shape)
    legal = avail.take(rows + actions, mode="clip") & in_range
    if legal.all() or (legal | ~running[:, None]).all():
        return
    row, agent = np.argwhere(~legal & running[:, None])[0]
    raise ValueError(
        f"action {actions[row, agent]} of agent {agent} in sub-environment {row} is illegal; "
        f"legal here: {np.flatnonzero(avail[row, agent]).tolist()}"
    )


ENVS: Registry[Any] = Registry("environment")

DOORS: Registry[Any] = Registry("kind of environment")
"""What comes before the slash of a name that is in no table → function(rest) → entry or None."""
