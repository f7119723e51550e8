"""Runs that were interrupted, killed or failed go on, and lose nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import SCRIPT, assert_refused, rllib

pytestmark = pytest.mark.ray

QUICK = ["--num-env-runners", "0", "--progress", "json", "--seed", "1", "--set"]
QUICK += ["num_envs_per_env_runner=8", "--set", "min_sample_timesteps_per_iteration=500"]
SWEEP = ["--env", "toy/pit_corridor", "--stop-iters", "12", "--checkpoint-freq", "2", *QUICK]
SWEEP += ["--sweep", "gamma_b=0.4,0.5,0.6", "--max-concurrent-trials", "1", "-n", "sweep"]


def _start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start a training; its log comes back line by line."""
    return subprocess.Popen(
        [str(SCRIPT), "train", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
    )


def _wait_for(process: subprocess.Popen[str], lines: int) -> None:
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline(), "the training ended early"


def _iterations(run: Path) -> dict[str, list[int]]:
    """The iterations in each trial's result file, in the order they were written."""
    return {
        file.parent.name: [
            json.loads(line)["training_iteration"] for line in file.read_text().splitlines()
        ]
        for file in sorted(run.glob("trial_*/result.json"))
    }


def test_interrupted_sweep_goes_on_without_loss_or_repetition(tmp_path: Path) -> None:
    process = _start(*SWEEP, cwd=tmp_path)
    _wait_for(process, 17)  # in the second of three trials, between two checkpoints
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    run = tmp_path / "results" / "sweep"
    before = _iterations(run)
    assert before["trial_001_gamma_b=0.4"] == list(range(1, 13))
    assert len(before) == 2

    other = [*SWEEP, "--resume", "--set", "beta_b=0.1"]
    assert_refused(rllib("train", *other, cwd=tmp_path), "other settings", "beta_b: None → 0.1")
    done = rllib("train", *SWEEP, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = _iterations(run)
    assert list(after.values()) == [list(range(1, 13))] * 3
    cut = before["trial_002_gamma_b=0.5"]
    assert after["trial_002_gamma_b=0.5"][: len(cut)] == cut

    again = rllib("resume", "results/sweep", cwd=tmp_path)
    assert again.returncode == 0
    assert "all 3 trials are done" in again.stdout


def test_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    options = ["--env", "toy/pit_corridor", "--stop-iters", "40", "--checkpoint-freq", "1", *QUICK]
    process = _start(*options, "-n", "killed", cwd=tmp_path)
    _wait_for(process, 6)
    time.sleep(1.0)  # a save of Tune's own state
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    run = tmp_path / "results" / "killed"
    before = _iterations(run)["trial_001"]
    assert before[-1] < 40
    done = rllib("resume", str(run), "--progress", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout.splitlines()[0])["iterations"]
    assert 2 <= first <= before[-1] + 1
    assert _iterations(run)["trial_001"][-1] == 40


FRAGILE = """
import pathlib
import gymnasium
import numpy as np

class Fragile(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, config):
        self.steps, self.flag = 0, pathlib.Path(config["flag"])

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps > 700 and not self.flag.exists():
            raise RuntimeError("the cable is loose")
        return np.zeros(2, np.float32), 1.0, self.steps % 10 == 0, False, {}
"""


@pytest.mark.parametrize("way", ["--errored", "--restart-errored"])
def test_failed_trial_goes_on_once_its_reason_is_gone(way: str, tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(FRAGILE)
    flag = tmp_path / "mended"
    options = ["--algo", "PPO", "--env", "fragile:Fragile", "--stop-iters", "5", "-n", "fragile"]
    options += ["--num-env-runners", "0", "--set", "train_batch_size_per_learner=256"]
    options += ["--checkpoint-freq", "1", "--set", f'env_config={{"flag": "{flag}"}}']
    done = rllib("train", *options, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    run = "results/fragile"
    refused = rllib("resume", run, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert_refused(refused, "1 of 1 trials failed", "--errored")
    flag.touch()
    done = rllib("resume", run, way, "--progress", "json", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    first = json.loads(done.stdout.splitlines()[0])["iterations"]
    assert first == 1 if way == "--restart-errored" else first > 1
