"""A batch of packed SMAX battles, stepped by XLA or by C code, which is many times as fast.

Both classes have the same methods and hold the same numbers, so that battles may go on in the other
one. Where the processor multiplies and adds in one instruction, steps on small maps are equal bit
for bit; elsewhere they differ by rounding, because XLA then rounds products before adding them or,
from about 17 units on, adds up pushes in the order of another library. After many steps, a battle
may therefore end otherwise in one than in the other.
"""

from __future__ import annotations

from ctypes import CDLL, Structure, byref, c_float, c_int64, c_void_p
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, UInt8
from numpy import ndarray

from rllib_dbf.compiled.library import pointer
from rllib_dbf.envs.team_env import TeamSpec


class Shown(NamedTuple):
    """What a batch of battles shows after a step, in fresh arrays."""

    obs: Float32[ndarray, "B N O"]
    state: Float32[ndarray, "B S"]
    avail: Bool[ndarray, "B N A"]
    alive: Bool[ndarray, "B N"]
    reward: Float32[ndarray, " B"]  # share of the enemies' health, + 1 for a win
    new_deaths: Int[ndarray, " B"]
    outcome: UInt8[ndarray, " B"]  # positions in OUTCOMES


class JaxBattles:
    """Battles stepped by XLA.

    Args:
        kernels: The module `smax_kernels`.
        rules: The task (`smax_kernels.Rules`).
        spec: Its sizes.
        num_envs: Number of battles, B.
    """

    def __init__(self, kernels: Any, rules: Any, spec: TeamSpec, num_envs: int) -> None:
        task, self._spec = kernels.kernels(rules), spec
        self._blocks = -(-num_envs // kernels.BLOCK)
        self._columns = self._blocks * kernels.BLOCK  # of which those beyond num_envs are idle
        self._step = kernels.step_kernel(rules, self._blocks)
        self._install = kernels.install_now
        self.place = task.place
        """Makes of start states [W, C] what the other methods take."""
        self.shape = self._blocks, task.width, kernels.BLOCK
        self.restore(np.zeros(self.shape, np.int32))

    def install(self, starts: Any, rows: Int32[ndarray, " B"]) -> None:
        """Put start states into the battles whose row is not negative."""
        self._packed = self._install(self._packed, starts, self._padded(rows, -1))

    def step(self, starts: Any, rows: Int32[ndarray, " B"], actions: Int[ndarray, "B N"]) -> Shown:
        """Install start states, then play one joint action in every battle that is running."""
        given = starts, self._padded(rows, -1), self._padded(actions, self._spec.noop_action)
        self._packed, *shown = self._step(self._packed, *given)
        obs, state, flags = (np.array(part)[: len(rows)] for part in shown)
        n, n_actions = self._spec.n_agents, self._spec.n_actions
        logical, actions_end = flags.view(np.bool_), n * n_actions
        return Shown(
            obs=obs,
            state=state[:, :-1],
            avail=logical[:, :actions_end].reshape(-1, n, n_actions),
            alive=logical[:, actions_end:-2],
            reward=state[:, -1],
            new_deaths=flags[:, -1].astype(np.int64),
            outcome=flags[:, -2].copy(),
        )

    def _padded(self, rows: ndarray, idle: int) -> Int32[ndarray, ...]:
        """The same in memory of its own, which JAX may keep, with rows for idle columns."""
        padded = np.full((self._columns, *rows.shape[1:]), idle, dtype=np.int32)
        padded[: len(rows)] = rows
        return padded

    def packed(self) -> Int32[ndarray, "K W BLOCK"]:
        """All battles, in memory of its own."""
        return np.array(self._packed)

    def restore(self, packed: Int32[ndarray, "K W BLOCK"]) -> None:
        """Go on from packed battles, of which this takes possession."""
        self._packed = self.place(packed)


_TABLES = ("velocity", "damage", "reach", "sight", "radius", "full_health", "full_cooldown")


class _Task(Structure):
    _fields_ = [
        ("allies", c_int64),
        ("enemies", c_int64),
        ("width", c_int64),
        ("drawn_types", c_int64),
        ("world_steps", c_int64),
        ("max_steps", c_int64),
        ("deadly_walls", c_int64),
        ("see_enemy_actions", c_int64),
        ("random_targets", c_int64),
        ("time_step", c_float),
        ("map_width", c_float),
        ("map_height", c_float),
        *((name, c_void_p) for name in _TABLES),
        ("directions", c_void_p),
    ]


class _Shown(Structure):
    _fields_ = [(name, c_void_p) for name in Shown._fields]


class CompiledBattles:
    """Battles stepped by C code (`smax_step` in `rllib_dbf/compiled`); as `JaxBattles`.

    Args:
        functions: The compiled functions.
        kernels: The module `smax_kernels`.
        rules: The task (`smax_kernels.Rules`).
        spec: Its sizes.
        num_envs: Number of battles, B.
    """

    def __init__(
        self, functions: CDLL, kernels: Any, rules: Any, spec: TeamSpec, num_envs: int
    ) -> None:
        task = kernels.kernels(rules)
        self._functions, self._spec = functions, spec
        self.shape = -(-num_envs // kernels.BLOCK), task.width, kernels.BLOCK
        self._tables = task.tables  # owns what the structure points to
        self._task = _task_of(task)
        self.restore(np.zeros(self.shape, np.int32))

    @staticmethod
    def place(starts: Int32[ndarray, "W C"]) -> Int32[ndarray, "W C"]:
        """Makes of start states [W, C] what the other methods take."""
        return starts

    def install(self, starts: Int32[ndarray, "W C"], rows: Int32[ndarray, " B"]) -> None:
        """Put start states into the battles whose row is not negative."""
        self._functions.smax_install(*self._given(starts, rows))

    def step(
        self,
        starts: Int32[ndarray, "W C"],
        rows: Int32[ndarray, " B"],
        actions: Int[ndarray, "B N"],
    ) -> Shown:
        """Install start states, then play one joint action in every battle that is running."""
        n, battles = self._spec.n_agents, len(rows)
        shown = Shown(
            obs=np.empty((battles, n, self._spec.obs_dim), np.float32),
            state=np.empty((battles, self._spec.state_dim), np.float32),
            avail=np.empty((battles, n, self._spec.n_actions), np.bool_),
            alive=np.empty((battles, n), np.bool_),
            reward=np.empty(battles, np.float32),
            new_deaths=np.empty(battles, np.int64),
            outcome=np.empty(battles, np.uint8),
        )
        actions = np.ascontiguousarray(actions, np.int32)
        to = _Shown(*(part.ctypes.data for part in shown))
        self._functions.smax_step(*self._given(starts, rows), pointer(actions), byref(to))
        return shown

    def _given(self, starts: Int32[ndarray, "W C"], rows: Int32[ndarray, " B"]) -> tuple[Any, ...]:
        sizes = c_int64(len(rows)), c_int64(starts.shape[1])
        return byref(self._task), *sizes, *map(pointer, (self._packed, starts, rows))

    def packed(self) -> Int32[ndarray, "K W BLOCK"]:
        """All battles, in memory of its own."""
        return self._packed.copy()

    def restore(self, packed: Int32[ndarray, "K W BLOCK"]) -> None:
        """Go on from packed battles, of which this takes possession."""
        self._packed = np.ascontiguousarray(packed, np.int32).reshape(self.shape)


def _task_of(kernels: Any) -> _Task:
    """The constants of a task as C reads them."""
    task = kernels.tables
    width, height = map(float, task.size)
    return _Task(
        allies=task.n_allies,
        enemies=task.n_enemies,
        width=kernels.width,
        drawn_types=task.types is None,
        world_steps=task.world_steps,
        max_steps=task.max_steps,
        deadly_walls=task.deadly_walls,
        see_enemy_actions=task.see_enemy_actions,
        random_targets=task.random_targets,
        time_step=task.time_step,
        map_width=width,
        map_height=height,
        directions=task.directions.ctypes.data,
        **{name: getattr(task, name).ctypes.data for name in _TABLES},
    )
