"""SMAX as compiled functions of packed arrays: one dispatch resets and steps a batch.

A packed batch holds all numbers of all battles in one int32 array, so that little is handed to and
from JAX. This module imports JAX and JaxMARL; it is imported when a SMAX environment is
made, not before.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from rllib_dbf.envs.jax_cache import use_one_thread, use_persistent_cache, use_processor
from rllib_dbf.envs.packages import import_later
from rllib_dbf.envs.smax_drawing import draw_battle
from rllib_dbf.envs.smax_maps import ADDED_MAPS, UNIT_NAMES
from rllib_dbf.envs.team_env import DRAW, LOSS, RUNNING, TIMEOUT, WIN


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Swallow what JaxMARL 0.2.0 prints when imported, and undo its change of `sys.stdout`.

    Its `mabrax_env` replaces `sys.stdout` and `sys.stderr` by the ones Python started with, which
    would end any redirection of them for good (a progress display, pytest's capture).
    """
    saved = sys.stdout, sys.stderr, sys.__stdout__
    sys.stdout = sys.__stdout__ = io.StringIO()
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.__stdout__ = saved


with _silence():
    import jax
    import jax.numpy as jnp

    use_persistent_cache(jax)
    use_processor(jax)
    use_one_thread(jax)  # before JaxMARL, which starts JAX as it is imported
    for _package in ("jaxmarl", "jaxmarl.environments"):
        import_later(_package)  # they import every environment, some of which compute for seconds
    from jaxmarl.environments.smax import HeuristicEnemySMAX
    from jaxmarl.environments.smax.smax_env import MAP_NAME_TO_SCENARIO, Scenario

    from rllib_dbf.envs.jax_threefry import STRAIGHT_THREEFRY
    from rllib_dbf.envs.smax_scene import scene_of
    from rllib_dbf.envs.smax_sight import OWN_FEATURES, look, plan  # noqa: F401 (re-exported)
    from rllib_dbf.envs.smax_world import STOP, Battle, Tables, advance, tables

BLOCK = 32
"""Battles simulated together. Larger batches are several blocks, smaller ones are padded: so the
compiled arithmetic has the same shapes, and rounds in the same way, whatever the batch size."""


class Rules(NamedTuple):
    """What makes one SMAX task differ from another, as far as the simulator is concerned."""

    map_name: str
    walls_cause_death: bool
    see_enemy_actions: bool
    attack_mode: str


class Kernels(NamedTuple):
    """The compiled functions of one task and the sizes they work with."""

    simulator: HeuristicEnemySMAX
    tables: Tables
    shapes: Battle  # how many rows of a packed battle each field takes, and its dtype
    width: int  # rows of a packed battle
    start: Callable  # seeds [P] -> packed battles [width, P], obs, state, avail (batch first)
    place: Callable  # numpy array -> JAX array


@cache
def kernels(rules: Rules) -> Kernels:
    """The compiled functions of a task, made once per process."""
    simulator = make_simulator(rules)
    task = tables(simulator, rules)
    shapes = jax.eval_shape(lambda seeds: _start(simulator, task, seeds), _seeds(1))
    width = sum(field.shape[0] for field in shapes)

    def start(seeds):
        battle = _start(simulator, task, seeds)
        sight = look(task, battle)
        state = sight.state.reshape(-1, len(seeds))
        return pack(battle), *map(_batch_first, (sight.obs, state, sight.avail))

    return Kernels(simulator, task, shapes, width, jax.jit(start), jnp.asarray)


def make_simulator(rules: Rules) -> HeuristicEnemySMAX:
    """JaxMARL's simulator of a task, scripted enemies included."""
    if rules.map_name in ADDED_MAPS:
        allies, enemies = ADDED_MAPS[rules.map_name]
        types = [UNIT_NAMES.index(unit) for unit in allies + enemies]
        scenario = Scenario(
            jnp.array(types, dtype=jnp.uint8), len(allies), len(enemies), False, False
        )
    else:
        scenario = MAP_NAME_TO_SCENARIO[rules.map_name]
    return HeuristicEnemySMAX(
        scenario=scenario,
        walls_cause_death=rules.walls_cause_death,
        see_enemy_actions=rules.see_enemy_actions,
        attack_mode=rules.attack_mode,
    )


@cache
def step_kernel(rules: Rules, count: int) -> Callable:
    """The compiled step of K blocks of battles, made once per process and task.

    The function takes (packed battles [K, W, BLOCK], packed start states [W, C], start rows
    [K × BLOCK], actions [K × BLOCK, N]). Where the start row is not negative, the battle first
    becomes that start state. It returns the next packed battles and, batch first, observations
    [K × BLOCK, N, O], state and reward in one array [K × BLOCK, S + 1], and avail, alive, outcome
    and new deaths in one uint8 array [K × BLOCK, N × A + N + 2].
    """
    task = kernels(rules)

    def step(packed, starts, rows, actions):
        actions = jnp.swapaxes(actions.reshape(count, BLOCK, -1), 1, 2)  # [K, N, BLOCK]
        packed = install(packed, starts, rows)
        packed, *shown = jax.lax.map(lambda block: _step_block(task, *block), (packed, actions))
        # The three are kept apart: joining them in batch-first order is slow code.
        shown = (jnp.moveaxis(part, -1, 1) for part in shown)
        return packed, *(part.reshape(-1, *part.shape[2:]) for part in shown)

    return jax.jit(step, donate_argnums=0)


def _step_block(task: Kernels, packed: jax.Array, actions: jax.Array) -> tuple[jax.Array, ...]:
    """Step packed battles [W, BLOCK]; returns them and what they show, batch last."""
    before, n = unpack(task.shapes, packed), task.tables.n_allies
    after, reward = _step(task.tables, before, actions)
    sight = look(task.tables, after)
    deaths = (before.health[:n] > 0).sum(axis=0) - sight.alive.sum(axis=0)
    flags = [sight.avail.reshape(-1, BLOCK), sight.alive, after.outcome, deaths[None]]
    return (
        pack(after),
        sight.obs,
        jnp.concatenate([sight.state.reshape(-1, BLOCK), reward[None]]),
        jnp.concatenate([part.astype(jnp.uint8) for part in flags]),
    )


def install(packed: jax.Array, starts: jax.Array, rows: jax.Array) -> jax.Array:
    """Put start states into the sub-environments whose start row is not negative."""
    count = packed.shape[0]
    fresh = jnp.take(starts, jnp.maximum(rows, 0), axis=1).reshape(-1, count, BLOCK)
    return jnp.where(rows.reshape(count, 1, BLOCK) >= 0, jnp.swapaxes(fresh, 0, 1), packed)


install_now = jax.jit(install, donate_argnums=0)


def pack(battle: Battle) -> jax.Array:
    """All numbers of a batch as one int32 array [W, B], bit by bit."""
    return jnp.concatenate([field.view(jnp.int32) for field in battle])


def unpack(shapes: Battle, packed: jax.Array | np.ndarray) -> Battle:
    """Undo `pack`; numpy in, numpy out."""
    fields, position = [], 0
    for shape in shapes:
        fields.append(packed[position : position + shape.shape[0]].view(shape.dtype))
        position += shape.shape[0]
    return Battle(*fields)


def picture(rules: Rules, packed: np.ndarray, outcome: str) -> np.ndarray:
    """The first battle of a packed batch as a picture."""
    task = kernels(rules)
    battles = unpack(task.shapes, np.ascontiguousarray(packed[0, :, :1]))
    return draw_battle(scene_of(task.tables, battles, outcome))


def _start(simulator: HeuristicEnemySMAX, task: Tables, seeds: jax.Array) -> Battle:
    """New battles from seeds: placed by JaxMARL, and with the enemies' first plans."""

    def place(seed):
        key, reset_key = jax.random.split(jax.random.key(seed, impl=STRAIGHT_THREEFRY))
        return simulator.reset(reset_key)[1].state, jax.random.key_data(key)

    units, key = jax.tree.map(_batch_last, jax.vmap(place)(seeds))
    enemies = (task.n_enemies, len(seeds))
    battle = Battle(
        x=units.unit_positions[:, 0],
        y=units.unit_positions[:, 1],
        health=units.unit_health,
        cooldown=units.unit_weapon_cooldowns,
        types=units.unit_types.astype(jnp.int32),
        orders=jnp.full(units.unit_health.shape, STOP, jnp.int32),
        plans=jnp.zeros(enemies, jnp.int32),
        goal_x=jnp.zeros(enemies, jnp.float32),
        goal_y=jnp.zeros(enemies, jnp.float32),
        aim=jnp.full(enemies, -1, jnp.int32),
        time=jnp.zeros((1, len(seeds)), jnp.int32),
        outcome=jnp.full((1, len(seeds)), RUNNING, jnp.int32),
        world_key=jnp.zeros((2, len(seeds)), jnp.uint32),
        key=key,
    )
    return plan(task, battle)


def _step(task: Tables, before: Battle, actions: jax.Array) -> tuple[Battle, jax.Array]:
    """The allies' actions [N, B] and the enemies' plans, played; battles that are over stay."""
    n, over = task.n_allies, before.outcome != RUNNING
    after = advance(task, before, jnp.concatenate([actions, before.plans]))
    allies, enemies = (after.health[side] > 0 for side in (np.s_[:n], np.s_[n:]))
    allies, enemies = allies.any(axis=0, keepdims=True), enemies.any(axis=0, keepdims=True)
    unsettled = jnp.where(before.time >= task.max_steps, TIMEOUT, RUNNING)
    outcome = jnp.where(
        enemies, jnp.where(allies, unsettled, LOSS), jnp.where(allies, WIN, DRAW)
    ).astype(jnp.int32)
    after = plan(task, after._replace(time=before.time + 1, outcome=outcome))
    full = jnp.asarray(task.full_health)[before.types[n:]]
    damage = ((before.health[n:] - after.health[n:]) / full).sum(axis=0) / task.n_enemies
    reward = jnp.where(over[0], 0.0, damage + (outcome[0] == WIN))
    return Battle(
        *(jnp.where(over, old, new) for old, new in zip(before, after, strict=True))
    ), reward


def _seeds(count: int) -> jax.ShapeDtypeStruct:
    """The type of an array of seeds."""
    return jax.ShapeDtypeStruct((count,), jnp.uint32)


def _batch_first(array: jax.Array) -> jax.Array:
    """Move the last axis to the front."""
    return jnp.moveaxis(array, -1, 0)


def _batch_last(array: jax.Array) -> jax.Array:
    """Move the first axis to the end."""
    return jnp.moveaxis(array, 0, -1)
