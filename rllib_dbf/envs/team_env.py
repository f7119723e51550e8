"""The contract every environment door fulfils: a batch of teams that never resets itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Integer
from numpy import ndarray

from rllib_dbf.registry import Registry


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


class TeamStep(NamedTuple):
    """What a batch of B sub-environments shows after a reset or a step.

    Terminal observations are the true ones. `outcome` is "" while an episode runs and
    "win", "loss", "draw", "timeout" or "end" (nothing to win) on its last step.
    """

    obs: Float32[ndarray, "B N O"]
    state: Float32[ndarray, "B S"]
    avail: Bool[ndarray, "B N A"]
    alive: Bool[ndarray, "B N"]
    reward: Float32[ndarray, " B"]  # team reward of the transition that led here (0 after reset)
    new_deaths: Integer[ndarray, " B"]  # agents that died on arrival here (0 after reset)
    terminated: Bool[ndarray, " B"]  # the task ended: nothing to bootstrap from
    truncated: Bool[ndarray, " B"]  # time limit: the episode is cut, the task goes on
    outcome: tuple[str, ...]  # one word per sub-environment


class VectorTeamEnv(ABC):
    """B copies of a team task, stepped together; sub-environments are reset one by one.

    * `alive` only goes from True to False within an episode; `new_deaths` counts failures, never
      arrivals at a goal nor the end of the game for the living.
    * A dead agent keeps its slot: zero observation, and `spec.noop_action` as only legal action.
    * Every row of `avail` has at least one True. Illegal actions raise `ValueError`.
    * `terminated` and `truncated` are never both True.
    * An episode is a function of its seed and of the actions, whatever B is.
    * A sub-environment whose episode ended must be reset before it is stepped again; until then
      its rows in the returned step are frozen (reward and new_deaths 0, ends still set).
    """

    spec: TeamSpec
    num_envs: int

    @abstractmethod
    def reset(self, mask: Bool[ndarray, " B"], seeds: Int[ndarray, " B"]) -> TeamStep:
        """Start new episodes in the sub-environments chosen by `mask`, from their seeds.

        Rows outside the mask show the sub-environment as it last was. Seeds outside the mask are
        ignored. Seeds lie in [0, 2**31).
        """

    @abstractmethod
    def step(self, actions: Int[ndarray, "B N"]) -> TeamStep:
        """Play one joint action in every sub-environment."""

    def prepare(self, seeds: Int[ndarray, " P"]) -> None:
        """Hint that these seeds will be asked for soon; an environment may reset in bulk."""

    def get_state(self) -> dict[str, Any] | None:
        """Everything needed to continue every episode exactly, or None if that is impossible."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        raise NotImplementedError(f"{type(self).__name__} cannot restore running episodes")

    def draw(self) -> np.ndarray | None:
        """Sub-environment 0 as an RGB picture (uint8 [height, width, 3]); None: no picture."""
        return None

    def close(self) -> None:
        """Free simulators and processes; calling it twice is harmless."""


ENVS: Registry[Any] = Registry("environment")
