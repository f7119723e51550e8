"""Toy games that tell algorithms apart by what they can represent or dare."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_dbf.envs.catalogue import Option
from rllib_dbf.envs.counter_random import uniform
from rllib_dbf.envs.team_env import END, RUNNING, TeamSpec

TWO_STEP_PAYOFFS = np.array([[[7, 7], [7, 7]], [[0, 1], [1, 8]]], np.float32)
"""Reward of the second step: [which matrix, action of agent 0, action of agent 1]."""

MATRIX_OPTIONS = {
    "payoffs": Option(
        ((8, -12, -12), (-12, 0, 0), (-12, 0, 0)),
        "reward per joint action: one nesting level per agent, as many entries as actions",
    )
}

BANDIT_OPTIONS = {
    "n_agents": Option(2, "agents; the team reward is the sum of their arms"),
    "safe_reward": Option(1.0, "what action 0 pays"),
    "risky_reward": Option(2.5, "what action 1 pays when it goes well"),
    "risky_loss": Option(-8.0, "what action 1 pays when it goes badly"),
    "loss_probability": Option(0.1, "how often action 1 goes badly, per agent, independently"),
}


class TwoStep:
    """The two-step game of QMIX (Rashid et al., 2018, section 5).

    The first action of agent 0 chooses the second step's payoffs: 0 leads to 7 whatever is
    played, 1 to [[0, 1], [1, 8]]. A sum of utilities learns to take the certain 7, a monotonic
    mixer reaches 8. Everybody sees the phase as four bits: first step, 7s, matrix, over.
    """

    spec = TeamSpec(2, 2, 4, 4, 2, 0, reports_deaths=False, has_win=False)

    def start(self, seeds):
        """Both agents before the first step."""
        return {
            "phase": np.zeros(len(seeds), np.int64),
            "alive": np.ones((len(seeds), 2), np.bool_),
        }

    def look(self, world):
        """The phase, for everyone."""
        state = np.eye(4, dtype=np.float32)[world["phase"]]
        return _same_for_all(state, 2), state, np.ones((len(state), 2, 2), np.bool_)

    def play(self, world, actions):
        """Choose the payoffs, or collect them."""
        first = world["phase"] == 0
        matrix = np.clip(world["phase"] - 1, 0, 1)
        paid = TWO_STEP_PAYOFFS[matrix, actions[:, 0], actions[:, 1]]
        after = {"phase": np.where(first, 1 + actions[:, 0], 3), "alive": world["alive"].copy()}
        return after, np.where(first, np.float32(0), paid), np.where(first, RUNNING, END)


class Matrix:
    """One joint action, one payoff; everybody sees a constant 1, and 0 when it is over.

    The default payoffs are the non-monotonic game of QTRAN (Son et al., 2019, table 1) with its
    zeros and punishments kept: the best joint action (0, 0) pays 8, but each agent alone would
    rather not play 0 while its partner explores.

    Raises:
        ValueError: If the payoffs are no full table with as many actions for each agent.
    """

    def __init__(self, payoffs: Any) -> None:
        try:
            self.payoffs = np.asarray(payoffs, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"payoffs must be nested lists of numbers, got {payoffs!r}") from error
        shape = self.payoffs.shape
        if not shape or len(set(shape)) != 1 or shape[0] < 1 or not np.isfinite(payoffs).all():
            raise ValueError(
                "payoffs must be finite and have as many entries on every nesting level, "
                f"got shape {shape}"
            )
        self.spec = TeamSpec(len(shape), shape[0], 1, 1, 1, 0, reports_deaths=False, has_win=False)

    def start(self, seeds):
        """Nothing played yet."""
        size = (len(seeds), self.spec.n_agents)
        return {"over": np.zeros(len(seeds), np.bool_), "alive": np.ones(size, np.bool_)}

    def look(self, world):
        """Whether the action is still to come."""
        return _one_shot(world, self.spec)

    def play(self, world, actions):
        """Collect the payoff."""
        after = {"over": np.ones_like(world["over"]), "alive": world["alive"].copy()}
        return after, self.payoffs[tuple(actions.T)], np.full(len(actions), END, np.uint8)


class RiskyBandit:
    """One step: each agent takes a safe arm (0) or a risky one (1); the rewards are added.

    By default the safe arm pays 1 and the risky one 2.5, or -8 once in ten: its mean is 1.45,
    but the mean of its worst quarter is (0.1 × -8 + 0.15 × 2.5) / 0.25 = -1.7. So expected value
    takes the risk and CVaR at level 0.25 does not, whatever the other agent does.

    Raises:
        ValueError: If there is no agent or the probability is none.
    """

    def __init__(
        self,
        n_agents: int,
        safe_reward: float,
        risky_reward: float,
        risky_loss: float,
        loss_probability: float,
    ) -> None:
        if n_agents < 1:
            raise ValueError(f"n_agents must be at least 1, got {n_agents}")
        if not 0 <= loss_probability <= 1:
            raise ValueError(f"loss_probability must lie in [0, 1], got {loss_probability}")
        self.safe_reward, self.risky_reward = safe_reward, risky_reward
        self.risky_loss, self.loss_probability = risky_loss, loss_probability
        self.spec = TeamSpec(n_agents, 2, 1, 1, 1, 0, reports_deaths=False, has_win=False)

    def start(self, seeds):
        """Nothing played yet; the seed decides what goes badly."""
        size = (len(seeds), self.spec.n_agents)
        return {
            "over": np.zeros(len(seeds), np.bool_),
            "alive": np.ones(size, np.bool_),
            "seed": np.asarray(seeds, np.int64),
        }

    def look(self, world):
        """Whether the action is still to come."""
        return _one_shot(world, self.spec)

    def play(self, world, actions):
        """Draw what the risky arms pay."""
        now = np.zeros(len(actions), np.int64)
        badly = uniform(world["seed"], now, self.spec.n_agents) < self.loss_probability
        risky = np.where(badly, self.risky_loss, self.risky_reward)
        paid = np.where(actions == 1, risky, self.safe_reward).sum(axis=1)
        after = {**world, "over": np.ones_like(world["over"]), "alive": world["alive"].copy()}
        return after, paid.astype(np.float32), np.full(len(actions), END, np.uint8)


def _one_shot(world, spec):
    """What a game of a single step shows: 1 before it, 0 after it."""
    state = (~world["over"]).astype(np.float32)[:, None]
    avail = np.ones((len(state), spec.n_agents, spec.n_actions), np.bool_)
    return _same_for_all(state, spec.n_agents), state, avail


def _same_for_all(state, n_agents):
    """The state as everybody's observation, in fresh memory."""
    return np.repeat(state[:, None, :], n_agents, axis=1)
