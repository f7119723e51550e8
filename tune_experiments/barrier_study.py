"""The barrier study: forms x environments x seeds from one file, each run played once.

    python -m tune_experiments.barrier_study run       # play what is missing, two runs at a time
    python -m tune_experiments.barrier_study report    # table and figure of what there is

A run is one file, RESULTS/ENVIRONMENT/FORM/seed_N.json, written when it ends. Interrupted, the
study goes on where it was; a run that failed has a file that says so, and is counted. Delete the
file to play it again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
import yaml

from benchmarks.machine import describe

HERE = Path(__file__).parent
STUDY, RESULTS = HERE / "barrier_study.yaml", HERE.parent / "results" / "barrier_study"
EVALUATION_SEED = 10_000  # all runs are judged by the same episodes

app = typer.Typer(add_completion=False, no_args_is_help=True)


class Run(NamedTuple):
    """One training: where, how, and from which seed."""

    environment: str
    form: str
    seed: int
    task: dict[str, Any]  # of the environment: env, steps, evaluations, episodes, config, …
    settings: dict[str, Any]

    def file(self, results: Path) -> Path:
        """Where it is recorded."""
        return results / self.environment / self.form / f"seed_{self.seed}.json"


def runs_of(study: dict[str, Any]) -> Iterator[Run]:
    """All runs of a study, seeds outermost, so that whatever is there can be compared early.

    Raises:
        ValueError: If an environment names a form that is not defined.
    """
    for task in study["environments"].values():
        named = {form for seed in _seeds(task) for form in _forms(study, task, seed)}
        unknown = named - set(study["forms"])
        if unknown:
            raise ValueError(
                f"{', '.join(sorted(unknown))}: no such form; defined: {', '.join(study['forms'])}"
            )
    seeds = sorted({s for task in study["environments"].values() for s in _seeds(task)})
    for seed in seeds:
        for name, task in study["environments"].items():
            for form in _forms(study, task, seed):
                parts = (study["base"], task.get("config", {}), study["forms"][form]["config"])
                settings = {k: v for part in parts for k, v in part.items()}
                yield Run(name, form, seed, task, settings)


def _seeds(task: dict[str, Any]) -> list[int]:
    return [*task["seeds"], *task.get("more_seeds", [])]


def _forms(study: dict[str, Any], task: dict[str, Any], seed: int) -> list[str]:
    """Who plays a seed, controls first: the environment's forms (all unless it names some) or,
    from `more_seeds`, the leading ones; nobody, if it is none of the environment's seeds.
    """
    if seed in task["seeds"]:
        named = task.get("forms", list(study["forms"]))
    elif seed in task.get("more_seeds", []):
        named = study["leading"]
    else:
        return []
    return list(dict.fromkeys([*study["controls"], *named]))


def train(run: Run) -> dict[str, Any]:
    """Play one run in this process and return its record.

    Returns:
        `training`: per iteration, means over its exploring episodes. `evaluations`: per evaluation
        the return, deaths, length and win of every greedy episode.
    """
    import numpy as np
    import torch

    from rllib_dbf import DBFConfig
    from rllib_dbf.envs import make_env

    torch.set_num_threads(1)
    config = DBFConfig().update_from_dict({"env": run.task["env"], **run.settings})
    interval = run.task["steps"] // run.task["evaluations"]
    config = (
        config.debugging(seed=run.seed, log_level="ERROR")
        .env_runners(num_env_runners=0)
        .evaluation(evaluation_interval=0)
        .reporting(
            min_sample_timesteps_per_iteration=min(interval, 5_000),
            metrics_num_episodes_for_smoothing=run.task.get("smoothing", 250),
        )
    )
    started, algo = time.time(), config.build_algo()
    copies = min(run.task["episodes"], config.num_envs_per_env_runner)
    env = make_env(config.env, copies, **config.env_config)
    seeds = np.random.default_rng(EVALUATION_SEED).choice(
        2**31, size=run.task["episodes"], replace=False
    )
    training: list[dict[str, Any]] = []
    evaluations: list[dict[str, Any]] = []
    while (steps := training[-1]["env_steps"] if training else 0) < run.task["steps"]:
        training.append(_row(algo.train()))
        if training[-1]["env_steps"] // interval > steps // interval:
            evaluations.append(_evaluate(algo, env, seeds.tolist(), training[-1]["env_steps"]))
    env.close()
    algo.stop()
    return {"training": training, "evaluations": evaluations, "seconds": time.time() - started}


_EPISODES = ("episode_return_mean", "deaths_mean", "episode_len_mean", "win_rate")
_UPDATES = (
    "gradient_cosine", "gradient_conflict_rate", "gradient_norm_ratio", "policy_temperature",
    "critic_explained_variance", "barrier_loss", "barrier_multiplier",
)  # fmt: skip


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an iteration."""
    played = result["env_runners"]
    learnt = result.get("learners", {}).get("default_policy", {})
    row = {"env_steps": int(played["num_env_steps_sampled_lifetime"])}
    row |= {name: round(float(played[name]), 4) for name in _EPISODES if name in played}
    return row | {name: round(float(learnt[name]), 4) for name in _UPDATES if name in learnt}


def _evaluate(algo: Any, env: Any, seeds: list[int], env_steps: int) -> dict[str, Any]:
    import numpy as np

    from rllib_dbf.evaluation import play_episodes

    episodes = play_episodes(
        env, algo.env_runner.module, seeds, lambda _: 0.0, np.random.default_rng(0)
    )
    return {
        "env_steps": env_steps,
        "return": [round(float(e.reward.sum()), 3) for e in episodes],
        "deaths": [int(e.deaths.sum()) for e in episodes],
        "length": [len(e) for e in episodes],
        "win": [int(e.outcome == "win") for e in episodes],
    }


def _head(run: Run) -> dict[str, Any]:
    """What every record begins with, that of a failed run included."""
    return {
        "environment": run.environment,
        "env": run.task["env"],
        "form": run.form,
        "seed": run.seed,
        "settings": run.settings,
        "steps": run.task["steps"],
        "made": describe(),
    }


def _record(run: Run) -> dict[str, Any]:
    """The record of a run, a failed one included."""
    head = _head(run)
    try:
        return head | train(run)
    except Exception as error:  # whatever it was, it is a result: counted, and shown
        return head | {"error": f"{type(error).__name__}: {error}"}


def play(missing: list[Run], results: Path, jobs: int) -> None:
    """Play runs, `jobs` at a time, each on one core in a process of its own."""
    import ray
    from rich.progress import Progress

    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    ray.init(address="local", num_cpus=jobs, include_dashboard=False, log_to_driver=False)
    task = ray.remote(num_cpus=1, max_retries=0)(_record)
    waiting, running = list(reversed(missing)), {}
    with Progress() as progress:
        bar = progress.add_task("runs", total=len(missing))
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop()
                running[task.remote(run)] = run
            done, _ = ray.wait(list(running))
            run = running.pop(done[0])
            try:
                record = ray.get(done[0])
            except ray.exceptions.RayError as error:
                record = _head(run) | {"error": f"{type(error).__name__}: {error}"}
            _write(run.file(results), record)
            outcome = record.get("error") or f"{record['seconds']:.0f} s"
            progress.print(f"{run.environment} {run.form} seed {run.seed}: {outcome}")
            progress.advance(bar)
    ray.shutdown()


def _write(file: Path, record: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    part.replace(file)


@app.command("run")
def run_study(
    study: Annotated[Path, typer.Option(help="What to play.")] = STUDY,
    results: Annotated[Path, typer.Option(help="Where the records are.")] = RESULTS,
    environment: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
    form: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 2,
    dry_run: Annotated[bool, typer.Option(help="Say what is missing.")] = False,
) -> None:
    """Play what is missing."""
    described = yaml.safe_load(study.read_text())
    for given, known in ((environment, described["environments"]), (form, described["forms"])):
        for name in given or []:
            if name not in known:
                raise typer.BadParameter(f"{name!r} is not in {study}; choose from {[*known]}")
    every = [
        run
        for run in runs_of(described)
        if run.environment in (environment or [run.environment])
        and run.form in (form or [run.form])
    ]
    missing = [run for run in every if not run.file(results).exists()]
    print(f"{len(every)} runs, {len(missing)} missing")
    if dry_run:
        for run in missing:
            print(run.environment, run.form, run.seed)
    elif missing:
        play(missing, results, jobs)


@app.command()
def report(
    study: Annotated[Path, typer.Option(help="What was to be played.")] = STUDY,
    results: Annotated[Path, typer.Option(help="Where the records are.")] = RESULTS,
) -> None:
    """Write table.md and figure.svg beside the records."""
    from tune_experiments.barrier_report import write_report

    for file in write_report(yaml.safe_load(study.read_text()), results):
        print(file)


if __name__ == "__main__":
    app()
