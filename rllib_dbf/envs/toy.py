"""Tiny team tasks in vectorised numpy, small enough to know their values by hand."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from numpy import ndarray

from rllib_dbf.envs.catalogue import EnvEntry, Option
from rllib_dbf.envs.team_env import (
    ENVS,
    OUTCOMES,
    RUNNING,
    TIMEOUT,
    TeamSpec,
    TeamStep,
    VectorTeamEnv,
    require_legal,
    require_reset_arguments,
)
from rllib_dbf.envs.toy_corridor import CORRIDOR_OPTIONS, PitCorridor
from rllib_dbf.envs.toy_games import BANDIT_OPTIONS, MATRIX_OPTIONS, Matrix, RiskyBandit, TwoStep

World = dict[str, ndarray]
"""All variables of a batch of games; the first axis of each is B. "alive" is one of them."""


@runtime_checkable
class Game(Protocol):
    """Rules of a toy, as functions of whole batches; randomness is drawn from the seeds."""

    spec: TeamSpec

    def start(self, seeds: Int[ndarray, " B"]) -> World:
        """The first world of each episode."""
        ...

    def look(
        self, world: World
    ) -> tuple[Float32[ndarray, "B N O"], Float32[ndarray, "B S"], Bool[ndarray, "B N A"]]:
        """Observations, state and legal actions."""
        ...

    def play(
        self, world: World, actions: Int[ndarray, "B N"]
    ) -> tuple[World, Float32[ndarray, " B"], UInt8[ndarray, " B"]]:
        """The next world (sharing no arrays that change), the reward and the outcome codes."""
        ...


class ToyEnv(VectorTeamEnv):
    """A batch of a toy game.

    Args:
        game: The rules.
        num_envs: Number of copies, B.
    """

    def __init__(self, game: Game, num_envs: int) -> None:
        self.spec, self.num_envs = game.spec, num_envs
        self._game = game
        self._world = game.start(np.zeros(num_envs, np.int64))
        self._started = np.zeros(num_envs, np.bool_)
        self._outcome = np.zeros(num_envs, np.uint8)
        self._reward = np.zeros(num_envs, np.float32)
        self._deaths = np.zeros(num_envs, np.int64)

    def reset(self, mask: Bool[ndarray, " B"], seeds: Int[ndarray, " B"]) -> TeamStep:
        """Start new episodes where the mask says so."""
        mask, seeds = np.asarray(mask), np.asarray(seeds)
        require_reset_arguments(mask, seeds, self.num_envs)
        fresh = self._game.start(np.where(mask, seeds, 0))
        self._world = _choose(mask, fresh, self._world)
        self._started = self._started | mask
        self._outcome = np.where(mask, RUNNING, self._outcome).astype(np.uint8)
        self._reward = np.where(mask, np.float32(0), self._reward)
        self._deaths = np.where(mask, 0, self._deaths)
        return self._show()

    def step(self, actions: Int[ndarray, "B N"]) -> TeamStep:
        """Play one joint action in every running episode."""
        actions = np.asarray(actions)
        if not self._started.all():
            raise RuntimeError("reset every sub-environment before the first step")
        running = self._outcome == RUNNING
        require_legal(actions, self._game.look(self._world)[2], running)
        actions = np.where(running[:, None], actions, self.spec.noop_action)
        world, reward, outcome = self._game.play(self._world, actions)
        deaths = (self._world["alive"] & ~world["alive"]).sum(axis=1)
        self._world = _choose(running, world, self._world)
        self._reward = np.where(running, reward, np.float32(0))
        self._deaths = np.where(running, deaths, 0)
        self._outcome = np.where(running, outcome, self._outcome)
        return self._show()

    def _show(self) -> TeamStep:
        """What the batch shows now."""
        obs, state, avail = self._game.look(self._world)
        ended = self._outcome != RUNNING
        return TeamStep(
            obs=obs,
            state=state,
            avail=avail,
            alive=self._world["alive"].copy(),
            reward=self._reward.copy(),
            new_deaths=self._deaths.copy(),
            terminated=ended & (self._outcome != TIMEOUT),
            truncated=self._outcome == TIMEOUT,
            outcome=tuple(OUTCOMES[code] for code in self._outcome),
        )

    def get_state(self) -> dict[str, Any]:
        """All variables of all episodes."""
        own = ("_started", "_outcome", "_reward", "_deaths")
        return {
            "world": {key: value.copy() for key, value in self._world.items()},
            **{key: getattr(self, key).copy() for key in own},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue episodes of the same game and number of copies."""
        shapes = {key: value.shape for key, value in self._world.items()}
        given = {key: value.shape for key, value in state["world"].items()}
        if given != shapes:
            raise ValueError(f"this state has variables {given}, the environment has {shapes}")
        self._world = {key: value.copy() for key, value in state["world"].items()}
        for key in ("_started", "_outcome", "_reward", "_deaths"):
            setattr(self, key, state[key].copy())


def _choose(mask: Bool[ndarray, " B"], new: World, old: World) -> World:
    """The new world where the mask is True, else the old one."""
    return {
        key: np.where(mask.reshape(-1, *[1] * (new[key].ndim - 1)), new[key], old[key])
        for key in new
    }


def _enter(name: str, game: type, options: dict[str, Option]) -> None:
    """Enter a game in the table of environments."""

    def make(num_envs: int, **given: Any) -> ToyEnv:
        defaults = {key: option.default for key, option in options.items()}
        return ToyEnv(game(**{**defaults, **given}), num_envs)

    ENVS.register(name)(EnvEntry(make, options))


_enter("toy/two_step", TwoStep, {})
_enter("toy/matrix", Matrix, MATRIX_OPTIONS)
_enter("toy/risky_bandit", RiskyBandit, BANDIT_OPTIONS)
_enter("toy/pit_corridor", PitCorridor, CORRIDOR_OPTIONS)
