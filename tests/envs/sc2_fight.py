"""A tiny fight for stand-ins of StarCraft II: deterministic, and winnable by concentrated fire.

Everybody stands on a lane of four cells. Whoever is not in the westernmost cell reaches every
enemy, and is reached by them; enemies shoot at the first of the team they reach.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

MAPS = {  # agents, enemies, limit, whether the last agent is a medivac
    "3m": (3, 3, 60, False),
    "2s3z": (5, 5, 120, False),
    "MMM": (10, 10, 150, True),
    "10gen_terran": (10, 10, 200, False),
    "10gen_protoss": (10, 10, 200, False),
}
STOP, NORTH, SOUTH, EAST, WEST = range(1, 6)
HEALTH, HIT, SHOT = 45.0, 15.0, 3.0
MEDIVAC = 54


@dataclass
class Unit:
    """A unit as pysc2 shows it, as far as anybody asks."""

    unit_type: int = 48
    health: float = HEALTH
    health_max: float = HEALTH
    shield: float = 0.0
    shield_max: float = 0.0
    cell: int = 1


class Fight:
    """Two teams; `agents` and `enemies` by number, the dead with health 0."""

    def __init__(self, n_agents, n_enemies, medivac=False, noise=None):
        self.agents = {i: Unit() for i in range(n_agents)}
        self.enemies = {i: Unit() for i in range(n_enemies)}
        if medivac:
            self.agents[n_agents - 1].unit_type = MEDIVAC
        self.noise = random.Random(noise) if noise is not None else None

    def avail(self, agent):
        unit = self.agents[agent]
        legal = np.zeros(6 + len(self.enemies), np.int64)
        if unit.health == 0:
            legal[0] = 1
            return legal.tolist()
        legal[STOP] = legal[SOUTH] = 1
        legal[EAST], legal[WEST] = unit.cell < 3, unit.cell > 0
        if unit.cell and unit.unit_type != MEDIVAC:
            legal[6:] = [enemy.health > 0 for enemy in self.enemies.values()]
        return legal.tolist()

    def play(self, actions):
        """Everybody acts, then the enemies shoot."""
        for agent, action in enumerate(actions):
            unit = self.agents[agent]
            unit.cell += (action == EAST) - (action == WEST)
            if action >= 6:
                self.hurt(self.enemies[action - 6], HIT)
        for enemy in self.enemies.values():
            reached = [u for u in self.fighters() if u.cell]
            if enemy.health and reached:
                more = self.noise.random() if self.noise else 0.0
                self.hurt(reached[0], SHOT + more)

    def hurt(self, unit, points):
        unit.health = max(0.0, unit.health - points)

    def fighters(self):
        return [u for u in self.agents.values() if u.health and u.unit_type != MEDIVAC]

    def standing(self, team):
        return [unit for unit in team.values() if unit.health]

    def end(self):
        """1 won, -1 lost, 0 nobody stands, None goes on."""
        ours, theirs = self.standing(self.agents), self.standing(self.enemies)
        if ours and not theirs:
            return 1
        if theirs and not self.fighters():
            return -1
        return None if ours else 0

    def obs(self, agent):
        """4 + 5 per enemy + 5 per ally + 1 numbers, zeros for the dead."""
        unit, n, m = self.agents[agent], len(self.agents), len(self.enemies)
        if unit.health == 0:
            return np.zeros(4 + 5 * m + 5 * (n - 1) + 1, np.float32)
        legal = self.avail(agent)
        parts = [legal[2:6]]
        for j, enemy in self.enemies.items():
            near = (legal[6 + j], 0.5, 0.5, 0.0, enemy.health / HEALTH)
            parts.append(near if enemy.health else (0,) * 5)
        for i, ally in self.agents.items():
            if i != agent:
                near = (1, 0.1, ally.cell / 3, 0, ally.health / HEALTH)
                parts.append(near if ally.health else (0,) * 5)
        return np.concatenate([*parts, [unit.health / HEALTH]]).astype(np.float32)

    def state(self):
        """4 numbers per agent and 3 per enemy."""
        ours = [[u.health / HEALTH, 0, u.cell / 3, 0] for u in self.agents.values()]
        theirs = [[u.health / HEALTH, 0, 0] for u in self.enemies.values()]
        return np.concatenate([np.ravel(ours), np.ravel(theirs)]).astype(np.float32)
