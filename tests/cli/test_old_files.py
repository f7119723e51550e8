"""Experiment files of Ray ≤ 2.40 train, or say what has a new name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import assert_refused, rllib

OLD = """
cartpole-ppo:
    env: CartPole-v1
    run: PPO
    stop:
        episode_reward_mean: 150
        timesteps_total: 100000
    checkpoint_freq: 3
    checkpoint_at_end: false
    keep_checkpoints_num: 5
    checkpoint_score_attr: min-episode_len_mean
    storage_path: kept
    config:
        framework: torch
        num_gpus: 0
        gamma: {grid_search: [0.9, 0.99]}
        lr: 3e-4
cartpole-dqn:
    env: CartPole-v1
    run: DQN
    num_samples: 2
    stop: {training_iteration: 1}
    config:
        lr: {loguniform: [1e-4, 1e-2]}
"""


def test_several_experiments_with_old_keys(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    done = rllib("train", "file", "old.yaml", "--dry-run", "--progress", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    values = {row["key"]: row["value"] for row in first["values"]}
    assert values["stop.env_runners/episode_return_mean"] == 150
    assert values["stop.num_env_steps_sampled_lifetime"] == 100000
    assert values["training.gamma"] == {"grid_search": [0.9, 0.99]}
    assert values["training.lr"] == 3e-4
    values = {row["key"]: row["value"] for row in second["values"]}
    assert values["training.lr"] == {"loguniform": [1e-4, 1e-2]}
    assert values["num_samples"] == 2


def test_old_keys_of_checkpoints_and_storage(tmp_path: Path) -> None:
    from rllib_dbf.cli.experiment_file import read_experiments

    (tmp_path / "old.yaml").write_text(OLD)
    first, second = read_experiments(tmp_path / "old.yaml", None, None)
    saving = first.checkpointing
    assert (saving.frequency, saving.at_end, saving.keep) == (3, False, 5)
    assert (saving.score, saving.order) == ("episode_len_mean", "min")
    assert (first.storage, second.storage) == ("kept", None)


GONE = {
    "renamed": ("num_workers: 2", ["'num_workers'", "num_env_runners"]),
    "renamed with its section": ("lambda: 0.9", ["'lambda'", "lambda_"]),
    "of the old stack": ("model: {fcnet_hiddens: [8]}", ["'model'", "model_config"]),
    "GPUs": ("num_gpus: 1", ["'num_gpus'", "num_gpus_per_learner"]),
    "TensorFlow": ("framework: tf2", ["'tf2'", "Torch"]),
    "no distribution": ("lr: {uniform: [1]}", ["uniform takes 2 values"]),
}


@pytest.mark.parametrize("case", GONE)
def test_what_is_gone_is_named_with_its_replacement(case: str, tmp_path: Path) -> None:
    line, words = GONE[case]
    (tmp_path / "old.yaml").write_text(
        f"old:\n  run: PPO\n  env: CartPole-v1\n  stop: {{training_iteration: 1}}\n"
        f"  config:\n    {line}\n"
    )
    assert_refused(rllib("train", "old.yaml", cwd=tmp_path), *words)


def test_python_file_with_its_stop(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from ray.rllib.algorithms.ppo import PPOConfig\n"
        "config = PPOConfig().environment('CartPole-v1').training(gamma=0.5)\n"
        "stop = {'timesteps_total': 7}\n"
    )
    done = rllib("train", "mine.py", "--dry-run", "--progress", "json", cwd=tmp_path)
    values = {row["key"]: row["value"] for row in json.loads(done.stdout)["values"]}
    assert values["stop.num_env_steps_sampled_lifetime"] == 7
    assert values["training.gamma"] == 0.5


def test_a_printed_configuration_trains_the_same(tmp_path: Path) -> None:
    options = ["--algo", "QBF", "--env", "toy/pit_corridor", "--set", "lr=1e-3", "--seed", "5"]
    options += ["--sweep", "gamma_b=0.4,0.5", "--stop-iters", "3"]
    printed = rllib("config", *options, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    (tmp_path / "mine.yaml").write_text(printed.stdout)

    def values(*arguments: str) -> dict[str, Any]:
        done = rllib("train", *arguments, "--dry-run", "--progress", "json", cwd=tmp_path)
        rows = {row["key"]: row["value"] for row in json.loads(done.stdout)["values"]}
        return {key: value for key, value in rows.items() if " at 0x" not in str(value)}

    assert values("mine.yaml") == values(*options)
