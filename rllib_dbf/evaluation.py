"""Evaluation: exactly the episodes asked for, one seed each, none dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rllib_dbf.envs.team_env import VectorTeamEnv
from rllib_dbf.episode import TeamEpisode
from rllib_dbf.sampler import Policy, Sampler


def play_episodes(
    env: VectorTeamEnv,
    policy: Policy,
    seeds: Sequence[int],
    epsilon: Callable[[float], float],
    rng: np.random.Generator,
) -> list[TeamEpisode]:
    """Play one episode from every seed, in the order of the seeds.

    Sub-environments that have nothing left to do play on with spare seeds; those episodes are not
    returned. So no episode is dropped for being long.
    """
    sampler = Sampler(env, policy, epsilon, rng, _then_spare(seeds))
    done: dict[int, TeamEpisode] = {}
    wanted = set(range(len(seeds)))
    order = {seed: i for i, seed in enumerate(seeds)}
    if len(order) != len(seeds):
        raise ValueError("evaluation seeds must differ from each other")
    while wanted:
        sampler.step()
        for episode in sampler.take_finished():
            position = order.get(episode.seed)
            if position in wanted:
                done[position] = episode
                wanted.discard(position)
    return [done[i] for i in range(len(seeds))]


def _then_spare(seeds: Sequence[int]) -> Iterator[int]:
    yield from seeds
    taken, spare = set(seeds), 0
    while True:
        if spare not in taken:
            yield spare
        spare += 1
