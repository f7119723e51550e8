"""Algorithms and environments of other packages, declared by entry points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import assert_refused, rllib

MODULE = '''
import gymnasium
import numpy as np
from ray.rllib.algorithms.ppo import PPO, PPOConfig

from rllib_dbf.envs import TaskStep, TeamSpec


class CalmPPO(PPO):
    """PPO with another default."""

    @classmethod
    def get_default_config(cls):
        return PPOConfig(algo_class=cls).training(lr=0.123, train_batch_size_per_learner=256)


class Coin(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, config):
        self.length = config.get("length", 5)

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.zeros(2, np.float32), float(action), self.time >= self.length, False, {}


class Pair:
    """Two agents who should both choose 1."""

    def __init__(self, steps: int = 3):
        self.spec = TeamSpec(
            n_agents=2, n_actions=2, obs_dim=1, state_dim=2, unit_dim=1, episode_limit=steps,
            noop_action=0, reports_deaths=False, has_win=False,
        )

    def reset(self, seed):
        self.time = 0
        return self.show(0.0)

    def step(self, actions):
        self.time += 1
        done = "loss" if self.time == self.spec.episode_limit else ""
        return self.show(float(sum(actions)), done)

    def show(self, reward, outcome=""):
        obs = np.full((2, 1), self.time, np.float32)
        return TaskStep(
            obs=obs, state=obs.ravel(), avail=np.ones((2, 2), bool), alive=np.ones(2, bool),
            reward=reward, outcome=outcome,
        )


class NotAnAlgorithm:
    pass
'''
ENTRY_POINTS = """
[rllib.algorithms]
CalmPPO = calm:CalmPPO
Broken = calm:Missing
Odd = calm:NotAnAlgorithm

[rllib.environments]
coin = calm:Coin
pair = calm:Pair
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An installed package as pip leaves it: a module, and metadata with entry points."""
    root = tmp_path_factory.mktemp("site")
    (root / "calm.py").write_text(MODULE)
    metadata = root / "calm_rl-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: calm-rl\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return str(root)


def test_they_are_listed(package: str) -> None:
    done = rllib("list", "algos", "--json", PYTHONPATH=package)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["CalmPPO"]["source"] == "calm-rl"
    envs = rllib("list", "envs", "--filter", "calm-rl", PYTHONPATH=package).stdout
    assert "coin" in envs
    assert "pair" in envs


@pytest.mark.ray
def test_an_algorithm_trains_on_an_environment(package: str, tmp_path: Path) -> None:
    options = ["--algo", "calmppo", "--env", "coin", "--stop-iters", "1", "--num-env-runners", "0"]
    options += ["--set", 'env_config={"length": 7}', "--progress", "json"]
    done = rllib("train", *options, cwd=tmp_path, PYTHONPATH=package)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["episode_len_mean"] == 7
    shown = rllib("train", *options, "--dry-run", cwd=tmp_path, PYTHONPATH=package)
    rows = {row["key"]: row["value"] for row in json.loads(shown.stdout)["values"]}
    assert rows["training.lr"] == 0.123


@pytest.mark.ray
def test_a_team_plays_a_declared_environment(package: str, tmp_path: Path) -> None:
    options = ["--algo", "VDN", "--env", "pair", "--stop-timesteps", "3000", "-n", "pair"]
    done = rllib("train", *options, "--progress", "json", cwd=tmp_path, PYTHONPATH=package)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["episode_len_mean"] == 3


def test_broken_ones_are_one_line(package: str, tmp_path: Path) -> None:
    options = ["--env", "coin", "--stop-iters", "1"]
    done = rllib("train", "--algo", "Broken", *options, cwd=tmp_path, PYTHONPATH=package)
    assert_refused(done, "'Broken'", "'calm-rl'", "cannot be loaded")
    done = rllib("train", "--algo", "Odd", *options, cwd=tmp_path, PYTHONPATH=package)
    assert_refused(done, "'Odd'", "no RLlib Algorithm")
    done = rllib("train", "--algo", "PPO", "--env", "coim", cwd=tmp_path, PYTHONPATH=package)
    assert_refused(done, "'coim'", "Did you mean 'coin'?")
