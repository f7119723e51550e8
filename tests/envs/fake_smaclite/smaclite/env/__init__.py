"""SMAClite's environment as its users see it."""

import random

import gymnasium
import numpy as np

from tests.envs.sc2_fight import MAPS, Fight


class SMACliteEnv(gymnasium.Env):
    def __init__(self, map_info=None, map_file=None, seed=None, use_cpp_rvo2=False):
        if seed is not None:
            random.seed(seed)
        self.n_agents, self.n_enemies, _, self._medivac = MAPS[map_info]
        n, m = self.n_agents, self.n_enemies
        self.n_actions, self.obs_size = 6 + m, 5 + 5 * m + 5 * (n - 1)
        self.state_size = 4 * n + 3 * m
        self.agents, self.enemies = {}, {}

    def reset(self, *, seed=None, options=None):
        noise = random.randrange(2**31)
        self._fight = Fight(self.n_agents, self.n_enemies, self._medivac, noise)
        self.max_reward = 10 * self.n_enemies + 200 + 45 * self.n_enemies
        self._update()
        return self._obs(), {}

    def _update(self):
        self.agents = {i: u for i, u in self._fight.agents.items() if u.health}
        self.enemies = {j: u for j, u in self._fight.enemies.items() if u.health}

    def step(self, actions):
        assert all(type(action) is int for action in actions)
        for i, action in enumerate(actions):
            assert self._fight.avail(i)[action], f"Invalid action for agent {i}: {action}"
        before = sum(unit.health for unit in self._fight.enemies.values()), len(self.enemies)
        self._fight.play(actions)
        self._update()
        won = not self.enemies
        after = sum(unit.health for unit in self._fight.enemies.values())
        reward = before[0] - after + 10 * (before[1] - len(self.enemies)) + 200 * won
        done = won or not self.agents
        return self._obs(), reward / self.max_reward * 20, done, False, {"battle_won": won}

    def _obs(self):
        return tuple(self._fight.obs(i) for i in range(self.n_agents))

    def get_state(self):
        return self._fight.state()

    def get_avail_actions(self):
        return [np.array(self._fight.avail(i), np.float64) for i in range(self.n_agents)]
