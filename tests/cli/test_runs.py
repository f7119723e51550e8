"""Real, small runs through the installed command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import SCRIPT, assert_refused, rllib

pytestmark = pytest.mark.ray

BROKEN_TASK = """
import gymnasium

class Task(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, config):
        pass

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        raise RuntimeError("the simulator has crashed")
"""


def test_team_run_ends_with_all_it_promises(tmp_path: Path) -> None:
    options = ["--env", "toy/pit_corridor", "--stop-timesteps", "6000", "--seed", "1", "-n", "run"]
    done = rllib("train", *options, "--progress", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    *reports, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert reports[-1]["steps"] >= 6000
    assert {"win_rate", "deaths_mean", "epsilon", "td_loss", "illegal_actions"} <= set(reports[-1])
    for what in ("run", "learning curve", "progress data", "checkpoint"):
        assert Path(last[what]).exists(), what

    played = rllib("evaluate", "results/run", "--episodes", "3", "--json", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    assert json.loads(played.stdout)["illegal_actions"] == 0
    assert len(json.loads(played.stdout)["rows"]) == 3
    assert_refused(rllib("train", *options, cwd=tmp_path), "overwritten")


def test_rllibs_own_algorithm(tmp_path: Path) -> None:
    options = ["--algo", "PPO", "--env", "CartPole-v1", "--stop-iters", "1", "-n", "ppo"]
    options += ["--num-env-runners", "0", "--set", "train_batch_size_per_learner=256"]
    done = rllib("train", *options, "--stop-reward", "1e6", "--as-test", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "rllib evaluate results/ppo" in done.stdout
    assert (tmp_path / "results" / "ppo" / "learning_curve.png").is_file()

    played = rllib("evaluate", "results/ppo", "--episodes", "2", "--json", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    assert json.loads(played.stdout)["episodes"] == 2


def test_dqn_trains(tmp_path: Path) -> None:
    options = ["--algo", "DQN", "--env", "CartPole-v1", "--stop-timesteps", "1500", "-n", "dqn"]
    options += ["--set", "num_steps_sampled_before_learning_starts=200", "--progress", "json"]
    done = rllib("train", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-2])["steps"] >= 1500
    assert (tmp_path / "results" / "dqn" / "learning_curve.png").is_file()


def test_failed_trial_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(BROKEN_TASK)
    options = ["--algo", "PPO", "--env", "task:Task", "--stop-iters", "1", "--num-env-runners", "0"]
    done = rllib("train", *options, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed: RuntimeError: the simulator has crashed" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr + done.stdout


def test_interrupt_saves_and_says_where(tmp_path: Path) -> None:
    options = ["--env", "toy/pit_corridor", "--stop-timesteps", "100000000", "-n", "long"]
    process = subprocess.Popen(
        [str(SCRIPT), "train", *options, "--progress", "plain"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "steps" in line:
            process.send_signal(signal.SIGINT)
            break
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    assert "interrupted; what was saved lies in" in errors
    assert list((tmp_path / "results" / "long").glob("*/checkpoint_*"))
