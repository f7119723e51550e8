"""Every command and every option once with good input and, where it can be wrong, with bad."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.command import assert_refused, rllib

TOY = "--env toy/pit_corridor"
DRY = "--dry-run --progress json"

# Command lines that have to end well; {run} is a finished run, {file} an experiment file.
GOOD = {
    "settings": f"train --algo DMIX {TOY} --config '{{\"lr\": 1e-3}}' --set gamma=0.9 --seed 3"
    " --num-env-runners 1 --num-envs-per-env-runner 4 --num-learners 0 --num-cpus-per-learner 1"
    " --num-gpus-per-learner 0 --evaluation-interval 3 --evaluation-duration 7"
    " --evaluation-duration-unit episodes --evaluation-num-env-runners 0"
    f" --log-level ERROR --stop '{{\"training_iteration\": 2}}' --stop-reward 5 {DRY}",
    "parallel evaluation": "train --algo PPO --env CartPole-v1 --stop-iters 1 --evaluation-interval"
    f" 1 --evaluation-num-env-runners 1 --evaluation-parallel-to-training {DRY}",
    "file": f"train file {{file}} --stop-timesteps 5 --num-samples 2 {DRY}",
    "search": f"train {TOY} --sweep 'lr=loguniform(1e-4,1e-2)' --num-samples 4 --scheduler asha"
    " --scheduler-config '{\"reduction_factor\": 2}' --search optuna --search-config '{}'"
    f" --metric training_iteration --mode max --max-concurrent-trials 1 {DRY}",
    "names": f"train --run DBF {TOY} --ray-num-cpus 2 --ray-num-gpus 0"
    f" --ray-object-store-memory 100000000 --wandb-project p --wandb-key k --wandb-run-name n"
    f" --mlflow-experiment e --mlflow-uri sqlite:///m.db --no-tensorboard --no-tune {DRY}",
    "restore": f"train {TOY} --restore {{run}} --as-test --stop-reward 1 --traceback -v {DRY}",
    "config": f"config --algo QMIX {TOY} --config '{{\"lr\": 1e-3}}' --set gamma=0.9 --seed 3"
    " --num-env-runners 1 --num-envs-per-env-runner 4 --num-learners 0 --num-cpus-per-learner 1"
    " --num-gpus-per-learner 0 --evaluation-interval 3 --evaluation-duration 7"
    " --evaluation-duration-unit episodes --evaluation-num-env-runners 0 --log-level ERROR"
    " --stop-timesteps 9 --stop-iters 2 --stop-reward 5 --stop '{\"time_total_s\": 2}'"
    " --num-samples 2 --sweep lr=1e-3,1e-4 --format json --all --traceback",
    "config of a file": "config {file}",
    "config of another": "config --algo PPO --env CartPole-v1 --stop-iters 1 --evaluation-interval"
    " 1 --evaluation-num-env-runners 1 --evaluation-parallel-to-training",
    "evaluate": "evaluate {run} --episodes 2 --seed 1 --json --explore --out rows.csv -v"
    " --traceback",
    "resume what is done": "resume {run} --progress none --traceback -v",
    "list": "list runs --storage-path {results} --filter done --json --traceback",
    "list settings": "list settings --algo VDN --filter lr",
    "list examples": "list examples",
    "example list": "example list --filter paper --json",
    "example get": "example get tune/barrier_3m",
    "example run": f"example run paper {TOY} {DRY}",
    "doctor": "doctor --env toy/two_step --no-ray --json --timeout 60 --storage-path . --traceback",
}

# Command lines that are refused with one line that holds these words.
BAD: dict[str, tuple[str, list[str]]] = {
    "command": ("trains", ["'trains'"]),
    "two files": ("train a.yaml b.yaml", ["one experiment file"]),
    "--num-learners": ("train --num-learners -1", ["--num-learners"]),
    "--num-cpus-per-learner": ("train --num-cpus-per-learner x", ["--num-cpus-per-learner"]),
    "--num-gpus-per-learner": ("train --num-gpus-per-learner -1", ["--num-gpus-per-learner"]),
    "--num-env-runners": ("train --num-env-runners -1", ["--num-env-runners"]),
    "--num-envs-per-env-runner": ("train --num-envs-per-env-runner 0", ["--num-envs-per"]),
    "--evaluation-interval": ("train --evaluation-interval -1", ["--evaluation-interval"]),
    "--evaluation-duration": (f"train {TOY} --evaluation-duration x", ["evaluation_duration"]),
    "--evaluation-duration-unit": ("train --evaluation-duration-unit days", ["days"]),
    "--evaluation-num-env-runners": ("train --evaluation-num-env-runners -1", ["--evaluation-num"]),
    "--log-level": ("train --log-level LOUD", ["LOUD"]),
    "--seed": ("train --seed -1", ["--seed"]),
    "--stop": ("train --stop x", ["--stop", "mapping"]),
    "--stop-timesteps": ("train --stop-timesteps 0", ["--stop-timesteps"]),
    "--stop-reward": ("train --stop-reward much", ["--stop-reward"]),
    "--num-samples": ("train --num-samples 0", ["--num-samples"]),
    "--sweep without a value": ("train --sweep lr", ["KEY=VALUES"]),
    "--sweep of an unknown form": ("train --sweep 'lr=unifor(1,2)'", ["Did you mean 'uniform'?"]),
    "--sweep of too few": ("train --sweep 'lr=uniform(1)' --num-samples 2", ["takes 2 values"]),
    "--sweep upside down": ("train --sweep 'lr=uniform(2,1)' --num-samples 2", ["lower bound"]),
    "--sweep of words": ("train --sweep 'lr=uniform(a1,2)' --num-samples 2", ["numbers"]),
    "--sweep without --num-samples": ("train --sweep 'lr=uniform(1,2)'", ["--num-samples N"]),
    "--sweep of an unknown setting": (f"train {TOY} --sweep lt=1,2", ["Did you mean 'lr'?"]),
    "--sweep of a wrong type": (f"train {TOY} --sweep hidden_dim=8,x", ["hidden_dim='x'", "int"]),
    "--sweep out of range": (
        f"train {TOY} --sweep 'gamma_b=uniform(0.5,2)' --num-samples 2",
        ["gamma_b=2"],
    ),
    "--mode": ("train --mode best", ["best"]),
    "--max-concurrent-trials": ("train --max-concurrent-trials 0", ["--max-concurrent-trials"]),
    "--scheduler": ("train --scheduler ahsa", ["Did you mean 'asha'?"]),
    "--scheduler-config alone": ("train --scheduler-config '{\"a\": 1}'", ["needs --scheduler"]),
    "--scheduler-config": ("train --scheduler asha --scheduler-config 1", ["mapping"]),
    "--search": ("train --search optnua", ["Did you mean 'optuna'?"]),
    "--search-config alone": ("train --search-config '{\"a\": 1}'", ["needs --search"]),
    "--no-tune with trials": (f"train {TOY} --no-tune --num-samples 2", ["single trial"]),
    "--storage-path of --no-tune": (
        f"train {TOY} --no-tune --storage-path file:///x",
        ["a directory"],
    ),
    "--checkpoint-freq": ("train --checkpoint-freq -1", ["--checkpoint-freq"]),
    "--keep-checkpoints-num": ("train --keep-checkpoints-num 0", ["--keep-checkpoints-num"]),
    "--resume without a name": ("train --resume", ["--experiment-name"]),
    "--ray-num-cpus": ("train --ray-num-cpus 0", ["--ray-num-cpus"]),
    "--ray-num-gpus of a cluster": (
        "train --ray-num-gpus 1 --ray-address 127.0.0.1:1",
        ["--ray-num-gpus", "has its own"],
    ),
    "--ray-object-store-memory": ("train --ray-object-store-memory 5", ["--ray-object-store"]),
    "--ray-address": (f"train {TOY} --ray-address 127.0.0.1:1", ["127.0.0.1:1", "nobody answers"]),
    "--wandb-key alone": ("train --wandb-key x", ["--wandb-project"]),
    "--wandb-project": ("train --wandb-project p", ["WANDB_API_KEY"]),
    "--mlflow-uri alone": ("train --mlflow-uri x", ["--mlflow-experiment"]),
    "--progress": ("train --progress loud", ["loud"]),
    "old setting": (f"train {TOY} --set num_workers=2", ["is now called num_env_runners"]),
    "setting that is ignored": (
        f"train {TOY} --set model={{}}",
        ["no longer exists", "hidden_dim"],
    ),
    "--local-mode": ("train --local-mode", ["--num-env-runners 0"]),
    "--resources-per-trial": ("train --resources-per-trial x", ["num_cpus_for_main_process"]),
    "--trace": ("train --trace", ["--traceback"]),
    "--upload-dir": ("train --upload-dir x", ["--storage-path"]),
    "--use-shelve": ("evaluate x --use-shelve", ["--out"]),
    "config": ("config --set lr", ["KEY=VALUE"]),
    "config --format": ("config --format toml", ["toml"]),
    "resume": ("resume nothing", ["'nothing' does not exist"]),
    "resume no run": ("resume {results}", ["no run of"]),
    "resume two ways": ("resume {run} --errored --restart-errored", ["exclude each other"]),
    "resume on no cluster": ("resume {run} --ray-address 127.0.0.1:1", ["nobody answers"]),
    "evaluate --episodes": ("evaluate {run} --episodes 0", ["--episodes"]),
    "evaluate --seed": ("evaluate {run} --seed x", ["--seed"]),
    "evaluate --render": ("evaluate {run} --render x.bmp", ["--render"]),
    "evaluate --out": ("evaluate {run} --out x.txt", ["--out"]),
    "list": ("list algorithms", ["algorithms"]),
    "list --algo": ("list envs --algo DBF", ["belongs to `rllib list settings`"]),
    "list --storage-path": ("list envs --storage-path x", ["belongs to `rllib list runs`"]),
    "list settings of nobody": ("list settings --algo DBX", ["Did you mean 'DBF'?"]),
    "example get": ("example get papre", ["Did you mean 'paper'?"]),
    "example run": ("example run papre", ["Did you mean 'paper'?"]),
    "submit nothing": ("submit", ["COMMAND"]),
    "submit --address": ("submit --address http://127.0.0.1:1 -- train", ["no cluster takes jobs"]),
    "submit --token-file": ("submit --token-file x -- train", ["--token-file"]),
    "submit --working-dir": ("submit --working-dir x -- train", ["is no directory"]),
    "submit two directories": (
        "submit --working-dir . --no-working-dir -- train",
        ["exclude each other"],
    ),
    "submit --runtime-env": ("submit --runtime-env x.yaml -- train", ["does not exist"]),
    "submit --env-var": ("submit --env-var x -- train", ["NAME=VALUE"]),
    "submit --driver-num-cpus": ("submit --driver-num-cpus -1 -- train", ["--driver-num-cpus"]),
    "submit --driver-num-gpus": ("submit --driver-num-gpus x -- train", ["--driver-num-gpus"]),
    "doctor --env": ("doctor --env smax/3n", ["Did you mean 'smax/3m'?"]),
    "doctor --timeout": ("doctor --timeout 0", ["--timeout"]),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run that used every option of what is kept, and an experiment file."""
    root = tmp_path_factory.mktemp("every")
    file = root / "one.yaml"
    file.write_text("one:\n  run: VDN\n  env: toy/pit_corridor\n  stop: {training_iteration: 1}\n")
    options = "--storage-path results --experiment-name kept --checkpoint-freq 1"
    options += " --checkpoint-at-end --keep-checkpoints-num 1 --checkpoint-score-attr"
    options += " min-training_iteration --stop-iters 3 --resume --progress none --tensorboard"
    options += " --num-env-runners 0 --set num_envs_per_env_runner=8"
    done = rllib("train", *TOY.split(), *options.split(), cwd=root)
    assert done.returncode == 0, done.stderr
    run = root / "results" / "kept"
    kept = {path.name for path in (run / "trial_001").glob("checkpoint_*")}
    assert kept == {"checkpoint_000000", "checkpoint_000002"}  # the least iteration, the latest
    return {"run": run, "file": file, "results": root / "results"}


def _line(text: str, places: dict[str, Path]) -> list[str]:
    for name, path in places.items():
        text = text.replace(f"{{{name}}}", str(path))
    return shlex.split(text)


@pytest.mark.ray
@pytest.mark.parametrize("case", GOOD)
def test_good(case: str, places: dict[str, Path], tmp_path: Path) -> None:
    done = rllib(*_line(GOOD[case], places), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if "json" in GOOD[case] and "example run" not in case:
        json.loads(done.stdout)


@pytest.mark.ray
@pytest.mark.parametrize("case", BAD)
def test_bad(case: str, places: dict[str, Path], tmp_path: Path) -> None:
    text, words = BAD[case]
    assert_refused(rllib(*_line(text, places), cwd=tmp_path), *words)
    assert not list(tmp_path.iterdir())


def _commands() -> dict[str, Any]:
    from rllib_dbf.cli.app import app

    root: Any = typer.main.get_command(app)
    found = {}
    for name, command in root.commands.items():
        for sub, part in getattr(command, "commands", {"": command}).items():
            found[f"{name} {sub}".strip()] = part
    return found


# Tried elsewhere: `submit` against a real cluster, errored trials and old files in files of theirs.
ELSEWHERE = {"submit": "test_submit.py", "--errored": "test_resume.py"}
ELSEWHERE |= {
    "--ray-address": "test_submit.py",
    "--restart-errored": "test_resume.py",
    "--render": "test_environments.py",
}


@pytest.mark.parametrize("name", _commands())
def test_no_option_is_left_out(name: str) -> None:
    kept = "--storage-path --experiment-name --checkpoint-freq --checkpoint-at-end --stop-iters"
    kept += " --keep-checkpoints-num --checkpoint-score-attr --resume --tensorboard"
    lines = [line for line in GOOD.values() if line.startswith(f"{name} ") or line == name]
    tried = set(shlex.split(" ".join([*lines, kept if name == "train" else ""])))
    assert lines or name in ELSEWHERE
    for parameter in _commands()[name].params:
        names = {*parameter.opts, *parameter.secondary_opts}
        if name not in ELSEWHERE and not names & {"--help", *ELSEWHERE}:
            assert parameter.param_type_name == "argument" or names & tried, names
