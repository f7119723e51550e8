"""SMAX: micromanagement battles against scripted enemies, as JaxMARL has them, in batches."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray

from rllib_dbf.compiled import library
from rllib_dbf.envs.catalogue import EnvEntry, Option
from rllib_dbf.envs.smax_battles import CompiledBattles, JaxBattles
from rllib_dbf.envs.smax_maps import MAPS
from rllib_dbf.envs.smax_pool import CHUNK, StartPool
from rllib_dbf.envs.team_env import (
    ENVS,
    OUTCOMES,
    RUNNING,
    TIMEOUT,
    TeamSpec,
    TeamStep,
    VectorTeamEnv,
    blank_step,
    copy_step,
    require_legal,
    require_reset_arguments,
)

STOP = 4
"""The no-op of SMAX: the one legal action of a dead unit, and legal for the living too."""

MOVES = 5
"""Actions before the attacks: north, east, south, west, stop."""

EPISODE_LIMIT = 101
"""JaxMARL 0.2.0 compares the step counter with its limit of 100 before counting the step."""


class Smax(VectorTeamEnv):
    """A batch of SMAX battles on one map.

    Actions are north, east, south, west, stop (also the no-op of the dead) and then one attack
    per enemy. The world state has ten numbers per unit, allies first: health, x, y and weapon
    cooldown, each divided by its greatest value, and six type bits; zeros for the dead. The
    reward is `reward_scale` × (share of the enemies' health taken in the step, + 1 for a win), so
    a win returns 2 × `reward_scale` in total. The side wiped out first loses; both at once is a
    draw; an episode lasts 101 steps at most.

    Args:
        map_name: One of `smax_maps.MAPS`.
        num_envs: Number of battles, B.
        walls_cause_death: Whether a unit that touches the border dies (JaxMARL's default).
        see_enemy_actions: Whether observations show what visible enemies did last.
        attack_mode: How scripted enemies choose a target, "closest" or "random".
        reward_scale: Factor on the reward.

    Raises:
        ImportError: If JaxMARL is not installed.
    """

    def __init__(
        self,
        map_name: str,
        num_envs: int,
        walls_cause_death: bool = True,
        see_enemy_actions: bool = True,
        attack_mode: str = "closest",
        reward_scale: float = 10.0,
    ) -> None:
        self._kernels = kernels = _import_kernels()
        self._rules = kernels.Rules(map_name, walls_cause_death, see_enemy_actions, attack_mode)
        self._task = kernels.kernels(self._rules)
        self._reward_scale = reward_scale
        self.num_envs = num_envs
        simulator = self._task.simulator
        n, units = simulator.num_allies, simulator.num_allies + simulator.num_enemies
        self.spec = TeamSpec(
            n_agents=n,
            n_actions=MOVES + simulator.num_enemies,
            obs_dim=simulator.obs_size,
            state_dim=units * kernels.OWN_FEATURES,
            episode_limit=EPISODE_LIMIT,
            noop_action=STOP,
            reports_deaths=True,
            has_win=True,
            unit_dim=kernels.OWN_FEATURES,
        )
        self._battles = _battles(kernels, self._rules, self.spec, num_envs)
        self._pool = StartPool(self._task, self._battles.place)
        self._pending = np.full(num_envs, -1, dtype=np.int32)
        self._started = np.zeros(num_envs, dtype=np.bool_)
        self._outcome = np.zeros(num_envs, dtype=np.uint8)
        self._last = blank_step(self.spec, num_envs)

    def prepare(self, seeds: Int[ndarray, " P"]) -> None:
        """Note seeds that will be asked for; they are computed together with the next miss."""
        self._pool.announce(np.asarray(seeds))

    def reset(self, mask: Bool[ndarray, " B"], seeds: Int[ndarray, " B"]) -> TeamStep:
        """Start new battles; the simulator itself is told in the next step."""
        mask, seeds = np.asarray(mask), np.asarray(seeds)
        require_reset_arguments(mask, seeds, self.num_envs)
        rows = np.flatnonzero(mask)
        shown = blank_step(self.spec, self.num_envs) if mask.all() else copy_step(self._last)
        for first in range(0, len(rows), CHUNK):
            self._restart(rows[first : first + CHUNK], seeds, shown)
        self._last = shown._replace(outcome=self._words())
        return self._last

    def _restart(self, rows: Int[ndarray, " R"], seeds: Int[ndarray, " B"], shown: TeamStep):
        """Note the start states of some sub-environments and write what they show."""
        slots = self._pool.slots(seeds[rows])
        if (slots < 0).any():
            self._flush()
            self._pool.add(seeds[rows])
            slots = self._pool.slots(seeds[rows])
        self._pending[rows], self._outcome[rows], self._started[rows] = slots, RUNNING, True
        shown.obs[rows], shown.state[rows] = self._pool.obs[slots], self._pool.state[slots]
        shown.avail[rows], shown.alive[rows] = self._pool.avail[slots], True
        shown.reward[rows], shown.new_deaths[rows] = 0.0, 0
        shown.terminated[rows] = shown.truncated[rows] = False

    def step(self, actions: Int[ndarray, "B N"]) -> TeamStep:
        """Play one joint action in every battle that is running."""
        actions = np.asarray(actions)
        if not self._started.all():
            raise RuntimeError("reset every sub-environment before the first step")
        require_legal(actions, self._last.avail, self._outcome == RUNNING)
        shown = self._battles.step(self._pool.packed, self._pending, actions)
        self._pending.fill(-1)
        outcome = self._outcome = shown.outcome
        self._last = TeamStep(
            obs=shown.obs,
            state=shown.state,
            avail=shown.avail,
            alive=shown.alive,
            reward=shown.reward * np.float32(self._reward_scale),
            new_deaths=shown.new_deaths,
            terminated=(outcome != RUNNING) & (outcome != TIMEOUT),
            truncated=outcome == TIMEOUT,
            outcome=self._words(),
        )
        return self._last

    def _words(self) -> tuple[str, ...]:
        """The outcome codes as words."""
        if not self._outcome.any():
            return ("",) * self.num_envs
        return tuple(OUTCOMES[code] for code in self._outcome)

    def get_state(self) -> dict[str, Any]:
        """The packed battles and what they last showed, as numpy arrays."""
        self._flush()
        return {
            "rules": tuple(self._rules),
            "packed": self._battles.packed(),
            "started": self._started.copy(),
            "outcome": self._outcome.copy(),
            "last": copy_step(self._last)._asdict(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue battles of the same map, rules and number of copies."""
        if state["rules"] != tuple(self._rules) or len(state["outcome"]) != self.num_envs:
            raise ValueError(
                f"this state is of {len(state['outcome'])} battles {state['rules']}, "
                f"but the environment plays {self.num_envs} of {tuple(self._rules)}"
            )
        self._battles.restore(state["packed"].copy())
        self._pending.fill(-1)
        self._started, self._outcome = state["started"].copy(), state["outcome"].copy()
        self._last = copy_step(TeamStep(**state["last"]))

    def draw(self) -> UInt8[ndarray, "H W 3"]:
        """Battle 0 as a picture: units, health, deaths and who attacks whom."""
        self._flush()
        packed, outcome = self._battles.packed(), self._last.outcome[0]
        return self._kernels.picture(self._rules, packed, outcome)

    def _flush(self) -> None:
        """Tell the simulator about resets now, because start states are about to be replaced."""
        if (self._pending >= 0).any():
            self._battles.install(self._pool.packed, self._pending)
            self._pending.fill(-1)


def _battles(
    kernels: Any, rules: Any, spec: TeamSpec, num_envs: int
) -> CompiledBattles | JaxBattles:
    """The battles of a task, stepped by compiled C code where there is a compiler."""
    functions = library.library().functions
    if functions is None or kernels.jax.default_backend() != "cpu":  # asked for by JAX_PLATFORMS
        return JaxBattles(kernels, rules, spec, num_envs)
    return CompiledBattles(functions, kernels, rules, spec, num_envs)


def _import_kernels():
    """The JAX half of this environment.

    Raises:
        ImportError: Naming the extra to install.
    """
    try:
        return importlib.import_module("rllib_dbf.envs.smax_kernels")
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("jax", "jaxlib", "jaxmarl", "flax"):
            raise
        raise ImportError(
            f'SMAX needs JaxMARL ({error}): pip install "rllib-dbf[smax]"', name=error.name
        ) from error


OPTIONS = {
    "walls_cause_death": Option(True, "whether a unit that touches the border dies"),
    "see_enemy_actions": Option(True, "whether observations show what visible enemies did last"),
    "attack_mode": Option(
        "closest", "how scripted enemies choose a target", choices=("closest", "random")
    ),
    "reward_scale": Option(10.0, "factor on the reward; a win returns twice as much in total"),
}

for _map in MAPS:
    ENVS.register(f"smax/{_map}")(EnvEntry(partial(Smax, _map), OPTIONS))
