"""SMAX as compiled functions of packed arrays: one dispatch starts, resets and steps a batch.

This is the only module that imports JAX and JaxMARL; it is imported when a SMAX environment is
made, not before.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from rllib_dbf.envs.jax_cache import use_persistent_cache
from rllib_dbf.envs.smax_drawing import Scene, draw_battle
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
    from jaxmarl.environments.smax import HeuristicEnemySMAX
    from jaxmarl.environments.smax.smax_env import MAP_NAME_TO_SCENARIO, Scenario

    from rllib_dbf.envs.jax_threefry import STRAIGHT_THREEFRY

use_persistent_cache(jax)

OWN_FEATURES = 10
"""Features of a unit about itself: health, x, y, cooldown, all in [0, 1], and six type bits."""


class Rules(NamedTuple):
    """What makes one SMAX task differ from another, as far as the simulator is concerned."""

    map_name: str
    walls_cause_death: bool
    see_enemy_actions: bool
    attack_mode: str


class Battle(NamedTuple):
    """Everything that a running battle needs, for one sub-environment.

    The heuristic enemies choose at the end of a step what they will do in the next one: their
    choice depends on the same observations as the allies', which are so computed once per step.
    """

    units: Any  # JaxMARL's SMAX state
    enemy_memory: Any
    enemy_actions: jax.Array
    world_key: jax.Array  # randomness of the next step
    key: jax.Array  # where the randomness of later steps comes from
    outcome: jax.Array  # position in OUTCOMES


class Sight(NamedTuple):
    """What a battle shows: observations, state, legal actions, alive (of the allies)."""

    obs: jax.Array
    state: jax.Array
    avail: jax.Array
    alive: jax.Array


class Kernels(NamedTuple):
    """The compiled functions of one task and the sizes they work with."""

    simulator: HeuristicEnemySMAX
    template: Battle  # shapes and dtypes of an unpacked battle
    width: int  # of a packed battle
    start: Callable  # seeds [P] -> packed battles [P, width], Sight
    place: Callable  # numpy array -> JAX array


@cache
def kernels(rules: Rules) -> Kernels:
    """The compiled functions of a task, made once per process."""
    simulator = make_simulator(rules)
    template = jax.eval_shape(lambda seed: _start(simulator, seed)[0], jnp.uint32(0))
    width = sum(leaf.size for leaf in jax.tree.leaves(template))

    def start(seeds):
        battle, sight = jax.vmap(lambda seed: _start(simulator, seed))(seeds)
        return jax.vmap(pack)(battle), sight

    return Kernels(simulator, template, width, jax.jit(start), jnp.asarray)


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
def step_kernel(rules: Rules, num_envs: int) -> Callable:
    """The compiled step of a batch, made once per process, task and batch size.

    The function takes (packed battles [B, W], packed start states [C, W], start rows [B],
    actions [B, N]); where the start row is not negative the sub-environment first becomes that
    start state. It returns the next packed battles, one flat float32 array (obs, state, reward)
    and one flat uint8 array (avail, alive, outcome, new deaths).
    """
    task = kernels(rules)
    advance = jax.vmap(lambda battle, actions: _step(task.simulator, battle, actions))

    def step(packed, starts, rows, actions):
        packed = install(packed, starts, rows)
        battle = jax.vmap(lambda flat: unpack(task.template, flat))(packed)
        after, sight, reward, deaths = advance(battle, actions)
        floats = jnp.concatenate([sight.obs.ravel(), sight.state.ravel(), reward])
        bytes_ = jnp.concatenate(
            [
                part.astype(jnp.uint8).ravel()
                for part in (sight.avail, sight.alive, after.outcome, deaths)
            ]
        )
        return jax.vmap(pack)(after), floats, bytes_

    return jax.jit(step, donate_argnums=0)


def install(packed: jax.Array, starts: jax.Array, rows: jax.Array) -> jax.Array:
    """Put start states into the sub-environments whose start row is not negative."""
    return jnp.where(rows[:, None] >= 0, starts[jnp.maximum(rows, 0)], packed)


install_now = jax.jit(install, donate_argnums=0)


def pack(tree: Any) -> jax.Array:
    """All numbers of one sub-environment as one int32 vector, bit by bit."""
    parts = []
    for leaf in jax.tree.leaves(tree):
        exact = leaf.dtype in (jnp.float32, jnp.uint32)
        whole = jax.lax.bitcast_convert_type(leaf, jnp.int32) if exact else leaf.astype(jnp.int32)
        parts.append(whole.ravel())
    return jnp.concatenate(parts)


def unpack(template: Any, flat: jax.Array | np.ndarray) -> Any:
    """Undo `pack`, given the shapes and dtypes; numpy in, numpy out."""
    leaves, tree = jax.tree.flatten(template)
    parts, position = [], 0
    for leaf in leaves:
        whole = flat[position : position + leaf.size].reshape(leaf.shape)
        exact = leaf.dtype in (jnp.float32, jnp.uint32)
        parts.append(whole.view(leaf.dtype) if exact else whole.astype(leaf.dtype))
        position += leaf.size
    return jax.tree.unflatten(tree, parts)


def picture(rules: Rules, row: np.ndarray, outcome: str) -> np.ndarray:
    """One packed battle as a picture."""
    return draw_battle(scene(rules, row, outcome))


def scene(rules: Rules, row: np.ndarray, outcome: str) -> Scene:
    """What a picture needs of one packed battle."""
    task = kernels(rules)
    units, simulator = unpack(task.template, row).units, task.simulator
    n, types = simulator.num_allies, units.unit_types.astype(np.int64)
    order = units.prev_attack_actions - simulator.num_movement_actions
    # The enemies count the allies backwards.
    target = np.where(np.arange(len(types)) < n, n + order, n - 1 - order)
    target = np.where(order >= 0, target, 0)
    distance = np.linalg.norm(units.unit_positions - units.unit_positions[target], axis=-1)
    reach = np.asarray(simulator.unit_type_attack_ranges)[types]
    attacks = (order >= 0) & units.unit_alive & (distance < reach)
    return Scene(
        positions=units.unit_positions,
        health=units.unit_health / np.asarray(simulator.unit_type_health)[types],
        alive=units.unit_alive,
        types=types,
        targets=np.where(attacks, target, -1),
        n_allies=n,
        step=int(units.step),
        outcome=outcome,
        deadly_walls=rules.walls_cause_death,
    )


def _start(simulator: HeuristicEnemySMAX, seed: jax.Array) -> tuple[Battle, Sight]:
    """A new battle from a seed."""
    key, reset_key = jax.random.split(jax.random.key(seed, impl=STRAIGHT_THREEFRY))
    _, state = simulator.reset(reset_key)
    key = jax.random.key_data(key)
    return _look(simulator, state.state, state.enemy_policy_state, key, jnp.int32(RUNNING))


def _step(simulator: HeuristicEnemySMAX, battle: Battle, actions: jax.Array):
    """Play one joint action; a battle that is over stays as it is."""
    n = simulator.num_allies
    everyone = jnp.concatenate([actions.astype(jnp.int32), battle.enemy_actions])
    _, units, rewards, dones, _ = simulator.step_env_no_decode(
        _as_key(battle.world_key), battle.units, simulator._decode_discrete_actions(everyone)
    )
    over = battle.outcome != RUNNING
    units = jax.tree.map(lambda new, old: jnp.where(over, old, new), units, battle.units)
    allies_left, enemies_left = units.unit_alive[:n].any(), units.unit_alive[n:].any()
    survivors = jnp.where(
        enemies_left,
        jnp.where(allies_left, jnp.where(dones["__all__"], TIMEOUT, RUNNING), LOSS),
        jnp.where(allies_left, WIN, DRAW),
    )
    outcome = jnp.where(over, battle.outcome, survivors).astype(jnp.int32)
    after, sight = _look(simulator, units, battle.enemy_memory, battle.key, outcome)
    after = jax.tree.map(lambda new, old: jnp.where(over, old, new), after, battle)
    reward = jnp.where(over, 0.0, rewards[simulator.agents[0]])
    deaths = (battle.units.unit_alive[:n] & ~units.unit_alive[:n]).sum()
    return after, sight, reward, deaths


def _look(simulator: HeuristicEnemySMAX, units: Any, enemy_memory: Any, key, outcome):
    """What the battle shows now, and what the enemies decide upon seeing it."""
    n = simulator.num_allies
    seen = simulator._env.get_obs(units)
    seen = jnp.stack([seen[agent] for agent in simulator.all_agents])
    avail = simulator._env.get_avail_actions(units)
    key, step_key = jax.random.split(_as_key(key))
    world_key, enemy_key = jax.random.split(step_key)
    decisions, enemy_memory = simulator.get_enemy_actions(enemy_key, enemy_memory, seen[n:])
    enemy_actions = jnp.stack([decisions[agent] for agent in simulator.enemy_agents])
    battle = Battle(
        units=_strong(units),
        enemy_memory=_strong(enemy_memory),
        enemy_actions=enemy_actions.astype(jnp.int32),
        world_key=jax.random.key_data(world_key),
        key=jax.random.key_data(key),
        outcome=outcome,
    )
    sight = Sight(
        obs=seen[:n],
        # A unit's features about itself are the normalised world state: health, x, y and
        # cooldown in [0, 1] and the type; JaxMARL's own world state is not normalised.
        state=seen[:, -OWN_FEATURES:].reshape(-1),
        avail=jnp.stack([avail[agent] for agent in simulator.agents]) > 0,
        alive=units.unit_alive[:n],
    )
    return battle, sight


def _as_key(words: jax.Array) -> jax.Array:
    """Two numbers as a key of the generator that XLA can fuse."""
    return jax.random.wrap_key_data(words, impl=STRAIGHT_THREEFRY)


def _strong(tree: Any) -> Any:
    """Drop JAX's weak types, which would make packed and unpacked battles differ."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), tree)
