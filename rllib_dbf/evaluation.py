"""Evaluation: exactly the episodes asked for, one seed each, none dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rllib_dbf.checkpoint import load_team
from rllib_dbf.envs import make_env
from rllib_dbf.envs.naming import find_env
from rllib_dbf.envs.team_env import VectorTeamEnv
from rllib_dbf.episode import TeamEpisode
from rllib_dbf.film import film_writer
from rllib_dbf.sampler import Policy, Sampler

logger = logging.getLogger(__name__)


def play_episodes(
    env: VectorTeamEnv,
    policy: Policy,
    seeds: Sequence[int],
    epsilon: Callable[[float], float],
    rng: np.random.Generator,
) -> list[TeamEpisode]:
    """Play one episode from every seed, in the order of the seeds.

    Sub-environments that have nothing left to do play on with spare seeds; those episodes are not
    returned. So no episode is dropped for being long. A seed whose episode the simulator lost is
    played again; one that loses it three times gives way to another, which is told in a warning.
    """
    sampler = Sampler(env, policy, epsilon, rng, _then_spare(seeds), repeat_crashed=True)
    done: dict[int, TeamEpisode] = {}
    wanted = set(range(len(seeds)))
    order = {seed: i for i, seed in enumerate(seeds)}
    if len(order) != len(seeds):
        raise ValueError("evaluation seeds must differ from each other")
    while wanted:
        sampler.step()
        for seed in sampler.take_given_up():
            if seed not in order:
                continue  # a spare one
            other = next(s for s in range(2**31 - 1, 0, -1) if s not in order)
            order[other] = order.pop(seed)
            sampler.insert_seed(other)
            logger.warning("seed %d crashes its episode again and again; %d instead", seed, other)
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


def evaluate_checkpoint(
    path: str | Path, episodes: int = 100, seed: int = 0, explore: float = 0.0
) -> list[dict[str, Any]]:
    """Play fresh episodes with the team of a checkpoint.

    Args:
        path: Checkpoint directory of any preset.
        episodes: Number of episodes, each from a seed of its own drawn from `seed`.
        seed: Same seed, same episodes.
        explore: ε in [0, 1]; 0 acts greedily.

    Returns:
        One row per episode, see `TeamEpisode.summary`.

    Raises:
        CheckpointError: If the checkpoint cannot be used.
        ValueError: If `episodes` is not positive.
    """
    if episodes < 1:
        raise ValueError(f"episodes={episodes} must be at least 1")
    team = load_team(path)
    rng = np.random.default_rng(seed)
    seeds = _seeds(rng, episodes)
    copies = find_env(team.env).suggested.get("num_envs_per_env_runner", 32)
    env = make_env(team.env, min(episodes, copies), **team.env_options)
    try:
        played = play_episodes(env, team.module, seeds, lambda _: explore, rng)
    finally:
        env.close()
    return [{"episode": i, **e.summary()} for i, e in enumerate(played)]


def _seeds(rng: np.random.Generator, episodes: int) -> list[int]:
    return rng.choice(2**31, size=episodes, replace=False).tolist()


def render_checkpoint(
    path: str | Path, seed: int = 0, out: str | Path = "episode.gif", episodes: int = 1
) -> Path:
    """Draw one greedy episode of a checkpoint's team into an animated GIF or an MP4 film.

    Of a long episode every k-th step is drawn, so that there are at most some 250 pictures.

    Args:
        path: Checkpoint directory of any preset.
        seed: The episode is the first that `evaluate_checkpoint` plays with this seed and
            `episodes`.
        out: File to write, .gif or .mp4; its directory is made.
        episodes: See `seed`.

    Raises:
        CheckpointError: If the checkpoint cannot be used.
        ValueError: If the environment cannot draw itself, or for another kind of file.
        ImportError: If a film is asked for and imageio-ffmpeg is not installed.
    """
    write = film_writer(Path(out))
    team = load_team(path)
    first = _seeds(np.random.default_rng(seed), episodes)[0]
    env = make_env(team.env, 1, **team.env_options)
    try:
        frames = _frames(env, team.module, first, team.env)
    finally:
        env.close()
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(frames)
    return out


_FRAMES = 250


def _frames(env: VectorTeamEnv, policy: Policy, seed: int, name: str) -> list[np.ndarray]:
    sampler = Sampler(env, policy, lambda _: 0.0, np.random.default_rng(seed), _then_spare([seed]))
    frames: list[np.ndarray] = []
    every, steps = max(1, -(-env.spec.episode_limit // _FRAMES)), 0

    def draw() -> None:
        nonlocal steps
        steps += 1
        if (steps - 1) % every:
            return
        frame = env.draw()
        if frame is None:
            raise ValueError(f"env={name!r} cannot draw itself; leave out the picture")
        frames.append(frame)

    sampler.begin()
    draw()
    while not sampler.finished:
        sampler.step(before_restart=draw)
    return frames
