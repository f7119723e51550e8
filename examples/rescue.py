"""A team task of one's own: firefighters who have to pass a fire."""

import numpy as np

from rllib_dbf.envs import TaskStep, TeamSpec

STAY, WALK, SPRAY = range(3)
FIRE, GOAL = 2, 4


class Rescue:
    """Everybody walks from cell 0 to cell 4, past a fire that kills until it is put out.

    After so many steps the building collapses; that is a loss, not a time limit that only cuts
    the episode (outcome "timeout"), behind which the task would go on.
    """

    def __init__(self, n_agents: int = 2, steps: int = 12) -> None:
        self.spec = TeamSpec(
            n_agents=n_agents, n_actions=3, obs_dim=3, state_dim=3 * n_agents, unit_dim=3,
            episode_limit=steps, noop_action=STAY, reports_deaths=True, has_win=True,
        )  # fmt: skip

    def reset(self, seed: int) -> TaskStep:
        """Everybody at the start; what is drawn comes from the seed."""
        self.rng, self.time, self.fire = np.random.default_rng(seed), 0, 4
        self.cell = np.zeros(self.spec.n_agents, int)
        self.alive = np.ones(self.spec.n_agents, bool)
        return self.show(0.0)

    def step(self, actions: np.ndarray) -> TaskStep:
        """One point for every cell that somebody walks."""
        self.time += 1
        self.fire = max(0, self.fire - int((actions == SPRAY).sum()))
        walks = self.alive & (actions == WALK) & (self.cell < GOAL)
        self.cell += walks
        burnt = walks & (self.cell == FIRE) & (self.fire > 0)
        self.alive &= ~(burnt & (self.rng.random(len(burnt)) < 0.7))
        return self.show(float(walks.sum()))

    def show(self, reward: float) -> TaskStep:
        """What everybody sees, and whether it is over."""
        arrived, limit = self.alive & (self.cell == GOAL), self.spec.episode_limit
        over = self.time == limit or (arrived | ~self.alive).all()
        outcome = ("win" if arrived.all() else "loss") if over else ""
        own = [self.cell / GOAL, np.full_like(self.cell, self.fire) / 4]
        obs = np.stack([*own, np.full_like(self.cell, self.time) / limit], axis=1)
        return TaskStep(obs, alive=self.alive.copy(), reward=reward, outcome=outcome)
