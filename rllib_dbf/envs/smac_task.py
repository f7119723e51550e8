"""One battle of StarCraft II at a time: what SMAC's StarCraft2Env does, made dependable."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from rllib_dbf.envs.smac_packages import NO_GAME, game_folder
from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.envs.team_task import EpisodeLostError, TaskStep

logger = logging.getLogger(__name__)


class SmacTask:
    """A team in anything that behaves like StarCraft2Env.

    A battle is made with the seed of the first episode played in it; the following ones continue
    its random numbers, so that an episode is no function of its seed unless `new_game` is set.

    A new battle is made, too, where the old one cannot be trusted: when the game did not start,
    and when it was lost in the battle's first episode, after which StarCraft2Env adds the enemies'
    health to `max_reward` once more and all later rewards are too small.

    Args:
        make: Makes a battle from a seed; it has to tell time limits (`continuing_episode`).
        failures: What the battle raises if the game does not start or answer.
        launch_attempts: Battles to try before a reset gives up.
        new_game: Make a new battle for every episode.
        replays: Save a replay at the end of every episode.
    """

    def __init__(
        self,
        make: Callable[[int], Any],
        failures: tuple[type[Exception], ...] = (),
        launch_attempts: int = 3,
        new_game: bool = False,
        replays: bool = False,
    ) -> None:
        self._make, self._failures = make, failures
        self._attempts, self._new_game, self._replays = launch_attempts, new_game, replays
        self._battle: Any = make(0)  # asked for its sizes only: no game is started
        self._renew, self._ended = True, 0  # ended: episodes that this battle brought to an end
        info = self._battle.get_env_info()
        self.spec = TeamSpec(
            n_agents=int(info["n_agents"]),
            n_actions=int(info["n_actions"]),
            obs_dim=int(info["obs_shape"]),
            state_dim=int(info["state_shape"]),
            episode_limit=int(info["episode_limit"]),
            noop_action=0,
            reports_deaths=True,
            has_win=True,
        )

    def reset(self, seed: int) -> TaskStep:
        """Start an episode.

        Raises:
            EpisodeLostError: If no attempt at it succeeds.
            FileNotFoundError: If StarCraft II is not installed.
        """
        why = ""
        for attempt in range(self._attempts):
            if self._renew or self._new_game:
                self._make_again(seed)
            self._renew = True  # until it has started
            restarts = getattr(self._battle, "force_restarts", 0)
            try:
                self._battle.reset()
                why = self._what_is_wrong(restarts, last_attempt=attempt == self._attempts - 1)
                if not why:
                    self._renew = False
                    self._alive = np.ones(self.spec.n_agents, np.bool_)
                    return self._show(0.0, "")
            except FileNotFoundError as error:
                raise FileNotFoundError(NO_GAME.format(place=game_folder())) from error
            except (*self._failures, KeyError) as error:  # KeyError: it died before units were seen
                why = repr(error)
        raise EpisodeLostError(f"no battle started in {self._attempts} attempts; lastly: {why}")

    def _make_again(self, seed: int) -> None:
        self.close()
        self._battle, self._ended = self._make(seed), 0

    def _what_is_wrong(self, restarts: int, *, last_attempt: bool) -> str:
        """Why the battle that was just reset is of no use; "" if nothing is wrong with it.

        A game that dies in a reset is started again, but the units may be those of the old one,
        of which none would be found in the first step.
        """
        if getattr(self._battle, "force_restarts", 0) != restarts:
            return "StarCraft II died in between"
        if not self._standing().all():
            return "not everybody was alive at the start"
        total, wanted = _reward_totals(self._battle)
        if self._ended or abs(total - wanted) < 1e-3 * wanted:
            return ""
        if last_attempt:
            logger.warning(
                "the battle divides its rewards by %g instead of %g: they are that much smaller",
                *(total, wanted),
            )
            return ""
        return f"enemies were counted twice: max_reward is {total:g} instead of {wanted:g}"

    def step(self, actions: Int[ndarray, " N"]) -> TaskStep:
        """Play a joint action.

        Raises:
            EpisodeLostError: If the game died, or did not answer in time.
        """
        legal = self._avail[np.arange(len(actions)), actions]
        # Who was shown dead and is not, as far as the game is concerned, gets something it takes.
        chosen = np.where(legal, actions, self._avail.argmax(axis=1))
        try:
            reward, over, info = self._battle.step(chosen.tolist())
            if over and "battle_won" in info and self._replays:
                self._battle.save_replay()
        except self._failures as error:
            self._renew = True
            raise EpisodeLostError(f"StarCraft II failed: {error!r}") from error
        if over and "battle_won" not in info:
            self._renew = not self._ended
            raise EpisodeLostError("StarCraft II died or did not answer, and was started again")
        self._alive = self._alive & self._standing()
        self._ended += over
        return self._show(float(reward), self._outcome(info) if over else "")

    def _outcome(self, info: dict[str, Any]) -> str:
        if info["battle_won"]:
            return "win"
        if info.get("episode_limit"):
            return "timeout"
        nobody = not self._alive.any() and info.get("dead_enemies") == self._battle.n_enemies
        return "draw" if nobody else "loss"

    def _standing(self) -> Bool[ndarray, " N"]:
        """Who has health left."""
        agents = self._battle.agents
        return np.array([i in agents and agents[i].health > 0 for i in range(self.spec.n_agents)])

    def _show(self, reward: float, outcome: str) -> TaskStep:
        self._avail = np.asarray(self._battle.get_avail_actions()).astype(np.bool_)
        return TaskStep(
            obs=np.asarray(self._battle.get_obs(), np.float32),
            state=np.asarray(self._battle.get_state(), np.float32),
            avail=self._avail,
            alive=self._alive,
            reward=reward,
            outcome=outcome,
        )

    def close(self) -> None:
        """End the game."""
        self._renew = True
        with contextlib.suppress(*self._failures):  # it may be dead, which is what is wanted
            self._battle.close()


def _reward_totals(battle: Any) -> tuple[float, float]:
    """What a battle divides its rewards by (per 20), and what that should be after its first reset.

    Both 1 where a battle does not say.
    """
    if not hasattr(battle, "max_reward"):
        return 1.0, 1.0
    health = sum(unit.health_max + unit.shield_max for unit in battle.enemies.values())
    kills = battle.n_enemies * battle.reward_death_value
    return float(battle.max_reward), float(kills + battle.reward_win + health)
