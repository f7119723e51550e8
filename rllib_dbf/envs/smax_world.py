"""The dynamics of SMAX for whole batches: moving, shooting, dying, pushing.

These are JaxMARL's rules (`jaxmarl/environments/smax/smax_env.py`, version 0.2.0), written for
arrays whose last axis is the batch. JaxMARL describes one battle and leaves batching to `vmap`,
which on processors turns its scatters, gathers and random numbers into many small loops; here
every operation runs along the batch, several times faster, and an episode comes out the same
whatever the batch size. A test plays both side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rllib_dbf.envs.jax_threefry import Key, children, rows_of_children, uniform

ATTACKS = 5
"""The first attack; the actions before it are north, east, south, west, stop."""

STOP = 4


class Tables(NamedTuple):
    """What never changes within a task, taken from JaxMARL's simulator."""

    n_allies: int
    n_enemies: int
    types: np.ndarray | None  # unit types [U], None: drawn anew for every episode
    velocity: np.ndarray  # per unit type, as the following
    damage: np.ndarray
    reach: np.ndarray
    sight: np.ndarray
    radius: np.ndarray
    full_health: np.ndarray
    full_cooldown: np.ndarray
    directions: np.ndarray  # of the five moves [5, 2]
    size: np.ndarray  # width and height of the map
    time_step: float  # seconds of a world step
    world_steps: int  # per environment step
    max_steps: int
    deadly_walls: bool
    see_enemy_actions: bool
    random_targets: bool


class Battle(NamedTuple):
    """Everything a batch of battles needs; U units, allies first, E enemies among them.

    Enemies choose at the end of a step what they will do in the next one, because their choice
    depends on the same distances as the allies' observations.
    """

    x: jax.Array  # float32 [U, B]
    y: jax.Array  # float32 [U, B]
    health: jax.Array  # float32 [U, B]; 0: dead
    cooldown: jax.Array  # float32 [U, B], seconds; at most 0: ready to shoot
    types: jax.Array  # int32 [U, B]
    orders: jax.Array  # int32 [U, B], last actions
    plans: jax.Array  # int32 [E, B], the enemies' next actions
    goal_x: jax.Array  # float32 [E, B], where enemies go who see nobody
    goal_y: jax.Array  # float32 [E, B]
    aim: jax.Array  # int32 [E, B], whom enemies shot at last; -1: nobody
    time: jax.Array  # int32 [1, B], steps played
    outcome: jax.Array  # int32 [1, B], position in OUTCOMES
    world_key: jax.Array  # uint32 [2, B], randomness of the next step
    key: jax.Array  # uint32 [2, B], where the randomness of later steps comes from


def tables(simulator: Any, rules: Any) -> Tables:
    """Read the constants of a task off JaxMARL's simulator."""
    inner = simulator._env
    drawn = inner.smacv2_unit_type_generation
    moves, _ = inner._decode_discrete_actions(jnp.arange(ATTACKS))
    return Tables(
        n_allies=inner.num_allies,
        n_enemies=inner.num_enemies,
        types=None if drawn else np.asarray(inner.scenario, np.int32),
        velocity=np.asarray(inner.unit_type_velocities, np.float32),
        damage=np.asarray(inner.unit_type_attacks, np.float32),
        reach=np.asarray(inner.unit_type_attack_ranges, np.float32),
        sight=np.asarray(inner.unit_type_sight_ranges, np.float32),
        radius=np.asarray(inner.unit_type_radiuses, np.float32),
        full_health=np.asarray(inner.unit_type_health, np.float32),
        full_cooldown=np.asarray(inner.unit_type_weapon_cooldowns, np.float32),
        directions=np.asarray(moves, np.float32),
        size=np.array([inner.map_width, inner.map_height], np.float32),
        time_step=inner.time_per_step,
        world_steps=inner.world_steps_per_env_step,
        max_steps=inner.max_steps,
        deadly_walls=rules.walls_cause_death,
        see_enemy_actions=rules.see_enemy_actions,
        random_targets=rules.attack_mode == "random",
    )


def of_units(task: Tables, table: np.ndarray, types: jax.Array) -> jax.Array:
    """A quantity per unit [U, B], or [U, 1] where the types are always the same."""
    if task.types is not None:
        return jnp.asarray(table[task.types][:, None])
    return jnp.asarray(table)[types]


def moves_of(task: Tables, orders: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Directions in which orders move, zero for stop and attacks."""
    east, north = jnp.zeros(orders.shape), jnp.zeros(orders.shape)
    for move in range(STOP):
        east = jnp.where(orders == move, task.directions[move, 0], east)
        north = jnp.where(orders == move, task.directions[move, 1], north)
    return east, north


def distance(dx: jax.Array, dy: jax.Array) -> jax.Array:
    """Length of a vector."""
    return jnp.sqrt(dx * dx + dy * dy)


def advance(task: Tables, battle: Battle, orders: jax.Array) -> Battle:
    """Everyone follows their orders [U, B] for one environment step."""
    east, north = moves_of(task, orders)
    pace = of_units(task, task.velocity, battle.types)
    steps = east * pace * task.time_step, north * pace * task.time_step
    radius = of_units(task, task.radius, battle.types)
    touching = radius[:, None] + radius[None, :]
    targets = _targets(task, orders)
    reload = of_units(task, task.full_cooldown, battle.types)

    def world_step(_, body):
        x, y, health, cooldown, key = body
        key, world_key = children(key, 2)
        delay = reload + _deviation(task, world_key)
        hit, cooldown = _shoot(task, battle.types, orders, targets, body, delay)
        after = jnp.maximum(health - _damage(task, targets, hit), 0.0)
        alive = health > 0
        x = jnp.where(alive, jnp.clip(x + steps[0], 0.0, task.size[0]), x)
        y = jnp.where(alive, jnp.clip(y + steps[1], 0.0, task.size[1]), y)
        if task.deadly_walls:
            inside = (x > 0) & (y > 0) & (x < task.size[0]) & (y < task.size[1])
            after = jnp.where(inside, after, 0.0)
        x, y = _push_apart(x, y, after > 0, touching)
        return x, y, after, cooldown, key

    body = battle.x, battle.y, battle.health, battle.cooldown, tuple(battle.world_key)
    # A loop, not unrolled: the next key would otherwise be computed anew wherever it is used.
    x, y, health, cooldown, _ = jax.lax.fori_loop(0, task.world_steps, world_step, body)
    return battle._replace(x=x, y=y, health=health, cooldown=cooldown, orders=orders)


def _targets(task: Tables, orders: jax.Array) -> jax.Array:
    """Which unit an attack is on [U, B]; the enemies count the allies backwards."""
    n, choice = task.n_allies, jnp.maximum(orders - ATTACKS, 0)
    return jnp.concatenate([n + choice[:n], n - 1 - choice[n:]])


def _shoot(task, types, orders, targets, body, reload):
    """Damage dealt by each unit [U, B] and the cooldowns afterwards."""
    x, y, health, cooldown, _ = body
    dx = x - jnp.take_along_axis(x, targets, axis=0)
    dy = y - jnp.take_along_axis(y, targets, axis=0)
    there = jnp.take_along_axis(health, targets, axis=0) > 0
    in_reach = distance(dx, dy) < of_units(task, task.reach, types)
    shoots = (orders >= ATTACKS) & in_reach & there & (health > 0) & (cooldown <= 0)
    # Added as a difference, like in JaxMARL, so that both round alike.
    cooldown = cooldown + jnp.where(shoots, reload - cooldown, -task.time_step)
    return jnp.where(shoots, of_units(task, task.damage, types), 0.0), cooldown


def _damage(task: Tables, targets: jax.Array, hit: jax.Array) -> jax.Array:
    """Damage suffered by each unit [U, B]."""
    n, unit = task.n_allies, np.arange(task.n_allies + task.n_enemies)[:, None, None]
    on_allies = jnp.where(targets[None, n:] == unit[:n], hit[None, n:], 0.0).sum(axis=1)
    on_enemies = jnp.where(targets[None, :n] == unit[n:], hit[None, :n], 0.0).sum(axis=1)
    return jnp.concatenate([on_allies, on_enemies])


def _push_apart(x, y, alive, touching):
    """Move overlapping living units away from each other, each by half of the overlap."""
    dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]  # [U, U, B]
    oneself = np.eye(len(x), dtype=np.float32)[:, :, None]
    overlap = jnp.maximum(touching / (distance(dx, dy) + oneself + 1e-6) - 1.0, 0.0)
    overlap = jnp.where(alive[:, None] & alive[None, :], overlap, 0.0)
    # Of dead units all overlaps are zero: they stay where they are.
    return x + (dx * overlap).sum(axis=1) / 2, y + (dy * overlap).sum(axis=1) / 2


def _deviation(task: Tables, world_key: Key) -> jax.Array:
    """How much longer or shorter reloading takes in a world step [U, B], in seconds."""
    low, high = np.float32(-task.time_step), np.float32(2 * task.time_step)
    chance = uniform(rows_of_children(world_key, task.n_allies + task.n_enemies))
    return jnp.maximum(chance * (high - low) + low, low)
