"""JaxMARL's SMAX as JaxMARL runs it: many steps in one compiled scan, random legal actions.

Nothing leaves JAX, so this is an upper bound for any learner built on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxmarl import make
from jaxmarl.environments.smax import map_name_to_scenario

_STEPS = 256  # per call of the compiled function


def prepare(
    scenario: str, num_envs: list[int], seconds: float, seed: int = 0
) -> Callable[[], dict[str, float | None]]:
    """Measures batches of several sizes: `steps_per_second_B`."""
    env = make("HeuristicEnemySMAX", scenario=map_name_to_scenario(scenario))
    runs = {n: _Run(env, n, seed) for n in num_envs}

    def measure() -> dict[str, float | None]:
        return {f"steps_per_second_{n}": run.play_for(seconds) for n, run in runs.items()}

    return measure


class _Run:
    """A batch of environments and the compiled function that plays it."""

    def __init__(self, env: Any, num_envs: int, seed: int) -> None:
        self._num_envs, self._key = num_envs, jax.random.PRNGKey(seed)
        keys = jax.random.split(self._key, num_envs)
        self._state = jax.jit(jax.vmap(env.reset))(keys)[1]
        self._play = jax.jit(lambda key, state: _play(env, num_envs, key, state))
        for _ in range(3):  # what a call returns may be typed otherwise than what a reset does
            self._call()

    def play_for(self, seconds: float) -> float:
        """Steps per second of all environments together."""
        began, played = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            self._call()
            played += _STEPS * self._num_envs
        return played / (time.perf_counter() - began)

    def _call(self) -> None:
        carry, _ = jax.block_until_ready(self._play(self._key, self._state))
        self._key, self._state = carry


def _play(env, num_envs: int, key: jax.Array, state):
    """`_STEPS` random steps of every environment, and its rewards, which keep it all needed."""

    def step(carry, _):
        key, state = carry
        key, act, move = jax.random.split(key, 3)
        legal = jax.vmap(env.get_avail_actions)(state)
        acts = jax.random.split(act, env.num_agents)
        actions = {
            agent: jax.random.categorical(acts[i], jnp.where(legal[agent] > 0, 0.0, -1e9))
            for i, agent in enumerate(env.agents)
        }
        keys = jax.random.split(move, num_envs)
        _, state, reward, _, _ = jax.vmap(env.step)(keys, state, actions)
        return (key, state), reward[env.agents[0]].sum()

    return jax.lax.scan(step, (key, state), None, _STEPS)
