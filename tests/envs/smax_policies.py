"""Scripted teams for SMAX tests; they read positions off the normalised world state."""

from __future__ import annotations

import numpy as np

from rllib_dbf.envs import TeamStep, VectorTeamEnv

DIRECTIONS = np.array([[0, 1], [1, 0], [0, -1], [-1, 0], [0, 0]])  # north, east, south, west, stop
MAP, STOP, MOVES = 32, 4, 5


def units_of(step: TeamStep) -> tuple[np.ndarray, np.ndarray]:
    """Positions [B, U, 2] on the map and who is alive [B, U]."""
    units = step.state.reshape(len(step.outcome), -1, 10)
    return units[:, :, 1:3] * MAP, units[:, :, 0] > 0


def attack(step: TeamStep) -> np.ndarray:
    """Shoot the first enemy in reach, else walk towards the nearest one."""
    positions, alive = units_of(step)
    n = step.alive.shape[1]
    away = positions[:, None, n:] - positions[:, :n, None]  # [B, N, E, 2]
    distance = np.where(alive[:, None, n:], np.linalg.norm(away, axis=-1), 99)
    nearest = np.take_along_axis(away, distance.argmin(-1)[:, :, None, None], axis=2)[:, :, 0]
    actions = (nearest @ DIRECTIONS[:4].T).argmax(-1)
    shots = step.avail[:, :, MOVES:]
    actions = np.where(shots.any(-1), MOVES + shots.argmax(-1), actions)
    return np.where(step.alive, actions, STOP)


def flee(step: TeamStep) -> np.ndarray:
    """Keep away from enemies and walls; units faster than their enemies survive so."""
    positions, alive = units_of(step)
    n = step.alive.shape[1]
    ahead = positions[:, :n, None] + DIRECTIONS * 2.07  # [B, N, 5, 2], a stalker's step
    distance = np.linalg.norm(ahead[:, :, :, None] - positions[:, None, None, n:], axis=-1)
    nearest = np.where(alive[:, None, None, n:], distance, 99).min(-1)
    margin = np.minimum(ahead, MAP - ahead).min(-1)
    score = np.minimum(nearest, 12) - 0.25 * np.linalg.norm(ahead - MAP / 2, axis=-1)
    return np.where(step.alive, (score - 100 * (margin < 2.5)).argmax(-1), STOP)


def idle(step: TeamStep) -> np.ndarray:
    """Stand still."""
    return np.full(step.alive.shape, STOP)


def west(step: TeamStep) -> np.ndarray:
    """Walk towards the wall behind the team."""
    return np.where(step.alive, 3, STOP)


def episodes(env: VectorTeamEnv, policy, seed: int = 0) -> list[TeamStep]:
    """One episode in every sub-environment, until the last one is over."""
    seeds = seed + np.arange(env.num_envs)
    steps = [env.reset(np.ones(env.num_envs, np.bool_), seeds)]
    while not (steps[-1].terminated | steps[-1].truncated).all():
        steps.append(env.step(policy(steps[-1])))
    return steps
