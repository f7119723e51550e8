"""A corridor with a pit: the shorter way pays a little more and costs lives."""

from __future__ import annotations

import numpy as np

from rllib_dbf.envs.catalogue import Option
from rllib_dbf.envs.counter_random import uniform
from rllib_dbf.envs.team_env import LOSS, RUNNING, TIMEOUT, WIN, TeamSpec

STAY, FORWARD, SIDESTEP = range(3)

GOAL, PIT = 4, 2
"""Cells of the corridor: it starts at 0, ends at 4, and the near lane has a pit at 2."""

CORRIDOR_OPTIONS = {
    "n_agents": Option(2, "agents who walk, 1 to 5"),
    "fall_probability": Option(0.5, "how likely an agent who enters the pit falls and dies"),
    "fall_reward": Option(6.0, "what a fall pays the team"),
    "goal_reward": Option(10.0, "what an arrival pays the team"),
    "step_cost": Option(1.0, "what the team pays per step and agent on the way"),
    "time_limit": Option(12, "steps after which the episode is cut, at least 6"),
}


class PitCorridor:
    """Agents walk from cell 0 to the goal at cell 4 of the near lane, where a pit lies at cell 2.

    Actions: 0 stay (also the no-op), 1 forward, 2 step to the other lane. The far lane has no
    pit and no goal: through it the way takes six steps instead of four. With the default numbers
    an agent on the short way earns 0.5 × (10 - 4) + 0.5 × (6 - 2) = 5 and dies every second
    time; on the detour it earns 10 - 6 = 4 and lives. So the return says short way, though only
    by a fifth, and whoever counts deaths says detour.

    An agent who arrived lives on and waits. The episode is a win when all arrived, a loss when
    none is on the way and some fell. Observation: own cell (5 bits), far lane, and over the team
    the shares alive and arrived, and the time used; zeros for the dead. State: cell and lane and
    alive of everyone, and the time used.

    Raises:
        ValueError: If a count or probability is out of range.
    """

    def __init__(
        self,
        n_agents: int,
        fall_probability: float,
        fall_reward: float,
        goal_reward: float,
        step_cost: float,
        time_limit: int,
    ) -> None:
        if not 1 <= n_agents <= 5:
            raise ValueError(f"n_agents must lie in [1, 5], got {n_agents}")
        if not 0 <= fall_probability <= 1:
            raise ValueError(f"fall_probability must lie in [0, 1], got {fall_probability}")
        if time_limit < 6:
            raise ValueError(f"time_limit must be at least 6, the detour's length: {time_limit}")
        self.fall_probability, self.fall_reward = fall_probability, fall_reward
        self.goal_reward, self.step_cost = goal_reward, step_cost
        self.spec = TeamSpec(
            n_agents=n_agents,
            n_actions=3,
            obs_dim=GOAL + 5,
            state_dim=n_agents * (GOAL + 3) + 1,
            episode_limit=time_limit,
            noop_action=STAY,
            reports_deaths=True,
            has_win=True,
            unit_dim=GOAL + 3,
        )

    def start(self, seeds):
        """Everyone at the start of the near lane; the seed decides who falls."""
        size = (len(seeds), self.spec.n_agents)
        return {
            "cell": np.zeros(size, np.int64),
            "far": np.zeros(size, np.bool_),
            "alive": np.ones(size, np.bool_),
            "time": np.zeros(len(seeds), np.int64),
            "seed": np.asarray(seeds, np.int64),
        }

    def look(self, world):
        """What everyone sees, and where they may go."""
        alive, walking = world["alive"], _walking(world)
        size, n = alive.shape
        cells = np.eye(GOAL + 1, dtype=np.float32)[world["cell"]]
        time = (world["time"] / self.spec.episode_limit)[:, None]
        team = [alive.mean(axis=1)[:, None], _arrived(world).mean(axis=1)[:, None], time]
        shared = np.repeat(np.concatenate(team, axis=1)[:, None, :], n, axis=1)
        own = np.concatenate([cells, world["far"][:, :, None]], axis=2)
        obs = np.concatenate([own, shared], axis=2) * alive[:, :, None]
        units = np.concatenate([own, np.ones((size, n, 1))], axis=2) * alive[:, :, None]
        state = np.concatenate([units.reshape(size, -1), time], axis=1)
        avail = np.zeros((size, n, 3), np.bool_)
        avail[:, :, STAY] = True
        avail[:, :, FORWARD] = walking & (world["cell"] < GOAL)
        avail[:, :, SIDESTEP] = walking
        return obs.astype(np.float32), state.astype(np.float32), avail

    def play(self, world, actions):
        """Everyone moves; who steps into the pit may fall."""
        walking = _walking(world)
        cell = world["cell"] + (actions == FORWARD)
        far = world["far"] ^ (actions == SIDESTEP)
        entered = (cell == PIT) & ~far & (actions != STAY) & walking
        chance = uniform(world["seed"], world["time"], self.spec.n_agents)
        fallen = entered & (chance < self.fall_probability)
        after = {
            "cell": cell,
            "far": far,
            "alive": world["alive"] & ~fallen,
            "time": world["time"] + 1,
            "seed": world["seed"],
        }
        arrivals = _arrived(after) & walking
        reward = (
            self.goal_reward * arrivals.sum(axis=1)
            + self.fall_reward * fallen.sum(axis=1)
            - self.step_cost * walking.sum(axis=1)
        )
        settled = ~_walking(after).any(axis=1)
        ended = np.where(after["alive"].all(axis=1), WIN, LOSS)
        late = np.where(after["time"] >= self.spec.episode_limit, TIMEOUT, RUNNING)
        return after, reward.astype(np.float32), np.where(settled, ended, late)


def _arrived(world):
    """Who stands at the goal."""
    return world["alive"] & (world["cell"] == GOAL) & ~world["far"]


def _walking(world):
    """Who is alive and on the way."""
    return world["alive"] & ~_arrived(world)
