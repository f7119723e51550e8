"""What SMAX allies observe and may do, and what its scripted enemies decide.

The rules are JaxMARL's (version 0.2.0, "unit_list" observations and the heuristic policy), for
arrays whose last axis is the batch, like those of `smax_world`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rllib_dbf.envs.jax_threefry import children, rows_of_children, uniform
from rllib_dbf.envs.smax_world import ATTACKS, STOP, Battle, Tables, distance, moves_of, of_units

OWN_FEATURES = 10
"""Features of a unit about itself: health, x, y, cooldown, all in [0, 1], and six type bits."""

TYPES = 6


class Sight(NamedTuple):
    """What a battle shows, of N allies among U units."""

    obs: jax.Array  # float32 [N, O, B]
    state: jax.Array  # float32 [U, 10, B]
    avail: jax.Array  # bool [N, A, B]
    alive: jax.Array  # bool [N, B]


def look(task: Tables, battle: Battle) -> Sight:
    """What the allies see, what they may do, and the state of the world."""
    n = task.n_allies
    alive, itself = battle.health > 0, _itself(task, battle)
    dx, dy = battle.x[None] - battle.x[:n, None], battle.y[None] - battle.y[:n, None]
    apart = distance(dx, dy)  # [N, U, B]
    both = alive[:n, None] & alive[None]
    sight = of_units(task, task.sight, battle.types)[:n, None]
    reach = of_units(task, task.reach, battle.types)[:n, None]
    others = _others(task, battle, itself, dx / sight, dy / sight)
    seen = jnp.where((both & (apart < sight))[:, :, None], others, 0.0)  # [N, U, 13, B]
    obs = _without_oneself(seen).reshape(n, -1, alive.shape[-1])
    move = jnp.broadcast_to(alive[:n, None], (n, STOP, alive.shape[-1]))
    stop = jnp.ones_like(move[:, :1])
    attack = (both & (apart < reach))[:, n:]
    return Sight(
        obs=jnp.concatenate([obs, itself[:n]], axis=1),
        state=itself,
        avail=jnp.concatenate([move, stop, attack], axis=1),
        alive=alive[:n],
    )


def _itself(task: Tables, battle: Battle) -> jax.Array:
    """Every unit's features about itself [U, 10, B]; zeros for the dead."""
    numbers = [
        battle.health / of_units(task, task.full_health, battle.types),
        battle.x / task.size[0],
        battle.y / task.size[1],
        jnp.clip(battle.cooldown / of_units(task, task.full_cooldown, battle.types), 0.0, 1.0),
    ]
    features = jnp.concatenate([jnp.stack(numbers, axis=1), _type_bits(battle)], axis=1)
    return jnp.where(battle.health[:, None] > 0, features, 0.0)


def _type_bits(battle: Battle) -> jax.Array:
    """Types as bits [U, 6, B]."""
    return (battle.types[:, None] == np.arange(TYPES)[:, None]).astype(jnp.float32)


def _others(task: Tables, battle: Battle, itself, dx, dy) -> jax.Array:
    """What every unit would show to each ally if it were seen [N, U, 13, B]."""
    n, shape = task.n_allies, dx.shape
    east, north = moves_of(task, battle.orders)
    actions = np.repeat([task.n_enemies, n], [n, task.n_enemies])[:, None] + ATTACKS - 1
    shot = jnp.where(battle.orders >= ATTACKS, battle.orders, 0) / actions.astype(np.float32)
    acts = jnp.stack([east, north, shot], axis=1)  # [U, 3, B]
    if not task.see_enemy_actions:
        acts = acts.at[n:].set(0.0)

    def to_all(features):
        return jnp.broadcast_to(features[None], (n, *features.shape))

    return jnp.concatenate(
        [
            to_all(itself[:, :1]),
            dx.reshape(shape[0], shape[1], 1, shape[2]),
            dy.reshape(shape[0], shape[1], 1, shape[2]),
            to_all(acts),
            to_all(itself[:, 3:]),
        ],
        axis=2,
    )


def _without_oneself(seen: jax.Array) -> jax.Array:
    """Leave out what unit i sees of unit i: [N, U, ...] becomes [N, U - 1, ...]."""
    n, units = seen.shape[:2]
    later = np.arange(units - 1)[None, :] >= np.arange(n)[:, None]
    return jnp.where(later[:, :, None, None], seen[:, 1:], seen[:, :-1])


def plan(task: Tables, battle: Battle) -> Battle:
    """Let the scripted enemies choose their next actions, and draw the keys of the next step.

    An enemy keeps shooting at its last target while it can, else takes the closest (or a random)
    one in reach. If nobody is in reach it walks towards a random ally in sight, or else towards
    the point opposite to where it started.
    """
    n, e = task.n_allies, task.n_enemies
    key, step_key = children(tuple(battle.key), 2)
    world_key, enemy_key = children(step_key, 2)
    walk_key, aim_key = children(rows_of_children(enemy_key, e), 2)
    sight = of_units(task, task.sight, battle.types)[n:, None]
    reach = of_units(task, task.reach, battle.types)[n:, None]
    # Enemies see allies in reverse order. Dividing and multiplying rounds as JaxMARL does.
    x, y, alive = battle.x[:n][::-1], battle.y[:n][::-1], battle.health[:n][::-1] > 0
    real_dx, real_dy = x[None] - battle.x[n:, None], y[None] - battle.y[n:, None]  # [E, N, B]
    in_sight = (distance(real_dx, real_dy) < sight) & alive & (battle.health[n:, None] > 0)
    dx, dy = real_dx / sight * sight, real_dy / sight * sight
    apart = distance(dx, dy)
    in_reach = in_sight & (apart < reach)
    aim = _aim(task, battle.aim, in_reach, apart, aim_key)
    can_shoot = in_reach.any(axis=1)

    first = (battle.goal_x == 0) & (battle.goal_y == 0) & (battle.aim == -1)
    middle_x, middle_y = task.size[0] / 2, task.size[1] / 2
    goal_x = jnp.where(first, middle_x - (battle.x[n:] - middle_x), battle.goal_x)
    goal_y = jnp.where(first, middle_y - (battle.y[n:] - middle_y), battle.goal_y)
    chosen = _random_one(in_sight, uniform(walk_key))
    sees = in_sight.any(axis=1)
    there_x, there_y = dx + battle.x[n:, None], dy + battle.y[n:, None]
    to_x = jnp.where(sees, (chosen * there_x).sum(axis=1), goal_x) - battle.x[n:]
    to_y = jnp.where(sees, (chosen * there_y).sum(axis=1), goal_y) - battle.y[n:]
    walk = _steepest([to_y, to_x, -to_y, -to_x])
    return battle._replace(
        plans=jnp.where(can_shoot, ATTACKS + jnp.maximum(aim, 0), walk),
        goal_x=goal_x,
        goal_y=goal_y,
        aim=aim,
        world_key=jnp.stack(world_key),
        key=jnp.stack(key),
    )


def _aim(task: Tables, last, in_reach, apart, key) -> jax.Array:
    """Whom each enemy shoots at [E, B], in its own order of allies; -1 if nobody is in reach."""
    ally = np.arange(task.n_allies)[:, None]
    if task.random_targets:
        new = (_random_one(in_reach, uniform(key)) * ally).sum(axis=1)
    else:
        new = jnp.argmin(jnp.where(in_reach, apart, np.float32(np.hypot(*task.size))), axis=1)
    still = ((last[:, None] == ally) & in_reach).any(axis=1)
    target = jnp.where(still, last, new)
    return jnp.where(in_reach.any(axis=1), target, -1).astype(jnp.int32)


def _random_one(among: jax.Array, chance: jax.Array) -> jax.Array:
    """One of those marked in [E, N, B], as what `jax.random.choice` picks for this chance."""
    weight = among / jnp.maximum(among.sum(axis=1, keepdims=True), 1).astype(jnp.float32)
    below = [jnp.zeros_like(chance)]
    for ally in range(among.shape[1]):
        below.append(below[-1] + weight[:, ally])
    wanted = below[-1] * (1 - chance)
    picked = [(wanted > below[i]) & (wanted <= below[i + 1]) for i in range(among.shape[1])]
    return jnp.stack(picked, axis=1)


def _steepest(options: list[jax.Array]) -> jax.Array:
    """Index of the greatest of some arrays, the first of equals."""
    best, index = options[0], jnp.zeros(options[0].shape, jnp.int32)
    for number, option in enumerate(options[1:], start=1):
        index = jnp.where(option > best, number, index)
        best = jnp.maximum(best, option)
    return index
