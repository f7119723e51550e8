"""From the numbers of a SMAX battle to the scene of a picture."""

from __future__ import annotations

import numpy as np

from rllib_dbf.envs.smax_drawing import Scene
from rllib_dbf.envs.smax_world import ATTACKS, Battle, Tables


def scene_of(task: Tables, battles: Battle, outcome: str) -> Scene:
    """What a picture needs of the first battle of a batch of numpy arrays."""
    battle, n = Battle(*(field[:, 0] for field in battles)), task.n_allies
    attacks, choice = battle.orders >= ATTACKS, np.maximum(battle.orders - ATTACKS, 0)
    # The enemies count the allies backwards.
    target = np.concatenate([n + choice[:n], n - 1 - choice[n:]])
    positions = np.stack([battle.x, battle.y], axis=1)
    distance = np.linalg.norm(positions - positions[target], axis=1)
    reached = attacks & (battle.health > 0) & (distance < task.reach[battle.types])
    return Scene(
        positions=positions,
        health=battle.health / task.full_health[battle.types],
        alive=battle.health > 0,
        types=battle.types,
        targets=np.where(reached, target, -1),
        n_allies=n,
        step=int(battle.time[0]),
        outcome=outcome,
        deadly_walls=task.deadly_walls,
    )
