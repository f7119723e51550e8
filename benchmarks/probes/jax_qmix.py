"""A fully compiled QMIX on JaxMARL's SMAX: ours, since JaxMARL's wheel has no learners.

It stands for how fast a learner can be that never leaves JAX, at the workload of JaxMARL's own
script: 8 environments play 128 steps each, restarting as episodes end; that piece goes into a
replay of 5,000 pieces; one update learns from 32 pieces of 128 steps. GRU 64, mixer 32, hypernet
64, double Q, one-step targets, Adam, a hard target update every 10 updates. Collecting and
learning are one compiled function; no evaluation, no logging, no checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxmarl import make
from jaxmarl.environments.smax import map_name_to_scenario

ENVS, STEPS, BATCH, PIECES, HIDDEN = 8, 128, 32, 5_000, 64
_OPTIMIZER = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3, eps=1e-5))


class Piece(NamedTuple):
    """128 steps of one environment; first axis T, in the replay a leading axis of pieces."""

    obs: Any  # [T, N, O]
    state: Any  # [T, S]
    avail: Any  # [T, N, A]
    actions: Any  # [T, N]
    reward: Any  # [T]
    fresh: Any  # [T] this observation begins an episode
    done: Any  # [T] this action ended one


class Agent(nn.Module):
    """Dense, GRU that forgets where an episode begins, Dense."""

    n_actions: int

    @nn.compact
    def __call__(self, carry, obs, fresh):
        """Action values of one step for rows of agents."""
        x = nn.relu(nn.Dense(HIDDEN)(obs))
        carry, x = nn.GRUCell(HIDDEN)(jnp.where(fresh[..., None], 0.0, carry), x)
        return carry, nn.Dense(self.n_actions)(x)


class Mixer(nn.Module):
    """QMIX's monotone mixing network."""

    @nn.compact
    def __call__(self, q, state):
        """Team value from agents' values q [..., N] and the state [..., S]."""
        state = nn.LayerNorm()(state)

        def hyper(size: int):
            return nn.Dense(size)(nn.relu(nn.Dense(64)(state)))

        w1 = jnp.abs(hyper(q.shape[-1] * 32)).reshape(*q.shape, 32)
        hidden = nn.elu(jnp.einsum("...n,...ne->...e", q, w1) + nn.Dense(32)(state))
        return (hidden * jnp.abs(hyper(32))).sum(-1) + hyper(1)[..., 0]


class Train(NamedTuple):
    """Everything that changes."""

    params: Any
    target: Any
    optimizer: Any
    replay: Piece
    count: jax.Array  # updates made
    env: Any  # state of the environments
    carry: jax.Array  # [ENVS, N, H]
    obs: Any
    fresh: jax.Array  # [ENVS]
    key: jax.Array


def prepare(scenario: str, seconds: float, seed: int) -> Callable[[], dict[str, float | None]]:
    """Measures `steps_per_second` of collecting and learning, compiled into one."""
    env: Any = make("HeuristicEnemySMAX", scenario=map_name_to_scenario(scenario))
    n_actions = max(env.action_space(agent).n for agent in env.agents)
    agent, mixer = Agent(n_actions), Mixer()
    train = jax.jit(lambda seed: _start(env, agent, mixer, jax.random.PRNGKey(seed)))(seed)
    advance = jax.jit(lambda t: _advance(env, agent, mixer, t), donate_argnums=0)
    for _ in range(5):
        train = jax.block_until_ready(advance(train))

    def measure() -> dict[str, float | None]:
        nonlocal train
        began, played = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            train = jax.block_until_ready(advance(train))
            played += ENVS * STEPS
        took = time.perf_counter() - began
        return {
            "steps_per_second": played / took,
            "updates_per_second": played / ENVS / STEPS / took,
        }

    return measure


def _stack(env, by_agent):
    return jnp.stack([by_agent[agent] for agent in env.agents], axis=-2)


def _start(env, agent: Agent, mixer: Mixer, key: jax.Array) -> Train:
    key, a, b, c = jax.random.split(key, 4)
    obs, state = jax.vmap(env.reset)(jax.random.split(a, ENVS))
    n, sizes = env.num_agents, (_stack(env, obs).shape[-1], obs["world_state"].shape[-1])
    carry = jnp.zeros((ENVS, n, HIDDEN))
    fresh = jnp.ones((ENVS,), bool)
    params = {
        "agent": agent.init(b, carry, _stack(env, obs), fresh[:, None]),
        "mixer": mixer.init(c, jnp.zeros((1, n)), jnp.zeros((1, sizes[1]))),
    }
    shape = (PIECES, STEPS)
    replay = Piece(
        obs=jnp.zeros((*shape, n, sizes[0])),
        state=jnp.zeros((*shape, sizes[1])),
        avail=jnp.ones((*shape, n, agent.n_actions), bool),
        actions=jnp.zeros((*shape, n), jnp.int32),
        reward=jnp.zeros(shape),
        fresh=jnp.zeros(shape, bool),
        done=jnp.zeros(shape, bool),
    )
    target = jax.tree.map(jnp.copy, params)
    optimizer = _OPTIMIZER.init(params)
    return Train(
        params, target, optimizer, replay, jnp.zeros((), jnp.int32), state, carry, obs, fresh, key
    )


def _advance(env, agent: Agent, mixer: Mixer, train: Train) -> Train:
    """128 steps of every environment and one update."""
    train, pieces = jax.lax.scan(lambda t, _: _step(env, agent, t), train, None, STEPS)
    pieces = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), pieces)  # [ENVS, T, ...]
    at = (train.count * ENVS + jnp.arange(ENVS)) % PIECES
    replay = jax.tree.map(lambda store, new: store.at[at].set(new), train.replay, pieces)
    key, draw = jax.random.split(train.key)
    stored = jnp.minimum((train.count + 1) * ENVS, PIECES)
    rows = jax.random.randint(draw, (BATCH,), 0, stored)
    batch = jax.tree.map(lambda store: jnp.swapaxes(store[rows], 0, 1), replay)  # [T, BATCH, ...]
    gradients = jax.grad(lambda p: _loss(agent, mixer, p, train.target, batch))(train.params)
    changes, optimizer = _OPTIMIZER.update(gradients, train.optimizer, train.params)
    params = optax.apply_updates(train.params, changes)
    renew = train.count % 10 == 0
    target = jax.tree.map(lambda new, old: jnp.where(renew, new, old), params, train.target)
    return train._replace(
        params=params,
        target=target,
        optimizer=optimizer,
        replay=replay,
        count=train.count + 1,
        key=key,
    )


def _step(env, agent: Agent, t: Train) -> tuple[Train, Piece]:
    """One ε-greedy step of every environment; those that end restart by themselves."""
    key, coin, pick, move = jax.random.split(t.key, 4)
    obs, legal = _stack(env, t.obs), _stack(env, jax.vmap(env.get_avail_actions)(t.env)) > 0
    carry, q = agent.apply(t.params["agent"], t.carry, obs, t.fresh[:, None])
    epsilon = jnp.maximum(0.05, 1.0 - t.count / 50)
    greedy = jnp.where(legal, q, -jnp.inf).argmax(-1)
    random = jax.random.categorical(pick, jnp.where(legal, 0.0, -jnp.inf))
    actions = jnp.where(jax.random.uniform(coin, greedy.shape) < epsilon, random, greedy)
    by_agent = {name: actions[:, i] for i, name in enumerate(env.agents)}
    keys = jax.random.split(move, ENVS)
    shown, state, reward, done, _ = jax.vmap(env.step)(keys, t.env, by_agent)
    over = done["__all__"]
    piece = Piece(
        obs, t.obs["world_state"], legal, actions, 10 * reward[env.agents[0]], t.fresh, over
    )
    return t._replace(env=state, carry=carry, obs=shown, fresh=over, key=key), piece


def _loss(agent: Agent, mixer: Mixer, params, target, batch: Piece) -> jax.Array:
    """Squared one-step TD error of the team value, double Q."""
    q, target_q = _unroll(agent, params["agent"], batch), _unroll(agent, target["agent"], batch)
    chosen = jnp.take_along_axis(q, batch.actions[..., None], -1)[..., 0]  # [T, BATCH, N]
    best = jnp.where(batch.avail, q, -jnp.inf).argmax(-1)
    following = jnp.take_along_axis(target_q, best[..., None], -1)[..., 0]
    value = mixer.apply(params["mixer"], chosen, batch.state)[:-1]
    next_value = mixer.apply(target["mixer"], following, batch.state)[1:]
    wanted = batch.reward[:-1] + 0.99 * (1 - batch.done[:-1]) * next_value
    return ((value - jax.lax.stop_gradient(wanted)) ** 2).mean()


def _unroll(agent: Agent, params, batch: Piece) -> Any:
    """Action values [T, BATCH, N, A] of whole pieces."""

    def step(carry, row):
        return agent.apply(params, carry, *row)

    carry = jnp.zeros((*batch.obs.shape[1:3], HIDDEN))
    return jax.lax.scan(step, carry, (batch.obs, batch.fresh[..., None]))[1]
