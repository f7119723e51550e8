"""`rllib evaluate`: plays whole episodes with a checkpoint and tells how they went."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rllib_dbf.cli.checkpoints import config_state, find_checkpoint
from rllib_dbf.cli.errors import DONE, CommandError, one_line
from rllib_dbf.cli.options import path_of
from rllib_dbf.cli.places import why_unwritable

Option = typer.Option
_FORMATS = (".json", ".csv", ".parquet")


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            parser=path_of("CHECKPOINT"),
            metavar="CHECKPOINT|RUN_DIR",
            help="A run means its latest one.",
        ),
    ],
    episodes: Annotated[int, Option(min=1, help="How many episodes.")] = 20,
    seed: Annotated[int, Option(min=0, help="Seed that the episodes' seeds are drawn from.")] = 0,
    explore: Annotated[
        bool, Option("--explore/--no-explore", help="Act as at the end of training, not greedily.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
    render: Annotated[
        Path | None,
        Option(
            parser=path_of("--render"), metavar="FILE", help="Draw the first episode: .gif .mp4"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option(
            parser=path_of("--out"),
            metavar="FILE",
            help="Write a row per episode: .json .csv .parquet",
        ),
    ] = None,
    traceback: Annotated[bool, Option("--traceback", help="Show more of an error.")] = False,
    verbose: Annotated[int, Option("--verbose", "-v", count=True, help="More of Ray's log.")] = 0,
) -> int:
    """Play episodes with a trained team, greedily, and report returns, wins and deaths."""
    path = find_checkpoint(checkpoint)
    if out is not None and out.suffix not in _FORMATS:
        raise CommandError(f"--out {str(out)!r} must end in {', '.join(_FORMATS)}")
    if render is not None:
        _check_film(render)
    for option, file in (("--out", out), ("--render", render)):
        _check_writable(option, file)
    from rllib_dbf.cli.running import load_ray, start_ray

    load_ray(verbose)
    state = config_state(path)
    if "preset" in state:
        epsilon = _last_epsilon(state) if explore else 0.0
        rows = _play_team(path, episodes, seed, epsilon, render)
    else:
        if render is not None:
            raise CommandError("--render draws teams only; this checkpoint is none")
        start_ray(verbose)
        rows = _play_other(path, state, episodes, seed, explore)
    if out is not None:
        _write(rows, out)
    policy = "exploring" if explore else "greedy"
    summary = {"checkpoint": str(path), "episodes": len(rows), "policy": policy, "seed": seed}
    summary |= _means(rows)
    if as_json:
        typer.echo(json.dumps(summary | {"rows": rows}, default=float))
    else:
        _print(summary, render, out)
    return DONE


def _check_film(path: Path) -> None:
    from rllib_dbf.film import film_writer

    try:
        film_writer(path)
    except (ValueError, ImportError) as error:
        raise CommandError(f"--render: {error}") from error


def _check_writable(option: str, file: Path | None) -> None:
    """Refuse a file that cannot be written before anything is played for it."""
    if file is None:
        return
    if file.is_dir():
        reason = "it is a directory"
    elif file.exists():
        reason = "" if os.access(file, os.W_OK) else "no permission to overwrite it"
    else:
        reason = why_unwritable(file.parent)
    if reason:
        raise CommandError(f"{option} {str(file)!r} cannot be written ({reason}); name another")


def _last_epsilon(state: dict[str, Any]) -> float:
    """The exploration rate at which training ends."""
    epsilon = state["epsilon"]
    return float(epsilon[-1][1] if isinstance(epsilon, list | tuple) else epsilon)


def _play_team(
    path: Path, episodes: int, seed: int, epsilon: float, render: Path | None
) -> list[dict[str, Any]]:
    from rllib_dbf.checkpoint import CheckpointError
    from rllib_dbf.evaluation import evaluate_checkpoint, render_checkpoint

    try:
        rows = evaluate_checkpoint(path, episodes=episodes, seed=seed, explore=epsilon)
    except CheckpointError as error:
        raise CommandError(one_line(error)) from error
    if render is not None:
        try:
            render_checkpoint(path, seed=seed, out=render, episodes=episodes)
        except ValueError as error:  # an environment without a picture
            raise CommandError(one_line(error)) from error
    return rows


def _play_other(
    path: Path, state: dict[str, Any], episodes: int, seed: int, explore: bool
) -> list[dict[str, Any]]:
    """Episodes of RLlib's own algorithms, by RLlib's own evaluation."""
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    rows: list[dict[str, Any]] = []

    def note(*, episode: Any, **info: Any) -> None:
        rows.append({"return": float(episode.get_return()), "length": len(episode)})

    try:
        config = AlgorithmConfig.from_state(state)
        config.env_runners(num_env_runners=0, num_envs_per_env_runner=1)
        config.learners(num_learners=0)
        # One local environment: with several, RLlib drops the longest unfinished episodes.
        config.evaluation(
            evaluation_interval=1,
            evaluation_duration=episodes,
            evaluation_duration_unit="episodes",
            evaluation_num_env_runners=0,
            evaluation_config=AlgorithmConfig.overrides(explore=explore, seed=seed),
        )
        config.debugging(seed=seed).callbacks(on_episode_end=note)
        algorithm = config.build_algo()
        algorithm.restore_from_path(str(path))
    except Exception as error:  # whatever a damaged file makes Ray raise
        raise CommandError(f"{str(path)!r} cannot be restored: {error}") from error
    algorithm.evaluate()
    algorithm.stop()
    return rows[:episodes]


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means over the episodes that have the number (`won` is None where nothing can be won)."""
    names = {"won": "win_rate", "return": "return", "length": "length", "deaths": "deaths"}
    names |= {"survivors": "survivors", "illegal_actions": "illegal_actions"}
    means = {}
    for key, name in names.items():
        values = [float(row[key]) for row in rows if row.get(key) is not None]
        if values:
            means[name] = sum(values) / len(values)
    return means


def _write(rows: list[dict[str, Any]], out: Path) -> None:
    import pandas as pd

    out.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    if out.suffix == ".json":
        out.write_text(json.dumps(rows, indent=1, default=float) + "\n", encoding="utf-8")
    elif out.suffix == ".csv":
        frame.to_csv(out, index=False)
    else:
        frame.to_parquet(out, index=False)


def _print(summary: dict[str, Any], *written: Path | None) -> None:
    typer.echo(f"{summary['episodes']} {summary['policy']} episodes, seed {summary['seed']}")
    for name in ("win_rate", "deaths", "survivors", "return", "length", "illegal_actions"):
        if name in summary:
            value = f"{summary[name]:.1%}" if name == "win_rate" else f"{summary[name]:.3f}"
            typer.echo(f"  {name.replace('_', ' '):<16} {value}")
    for path in written:
        if path is not None:
            typer.echo(f"  written          {path}")
