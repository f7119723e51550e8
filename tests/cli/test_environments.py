"""Training from the command line on environments that others make."""

import json
import re
import shutil
from pathlib import Path

import pytest

from rllib_dbf.envs import check_team_env
from tests.cli.command import rllib

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "rescue.py"


def test_the_documented_example_is_the_file():
    documented = (ROOT / "docs" / "environments.md").read_text()
    assert f"```python\n{EXAMPLE.read_text()}```" in documented


def test_the_example_keeps_the_contract(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    check_team_env("rescue:Rescue").raise_if_failed()


@pytest.mark.ray
def test_the_example_learns_by_the_documented_command(tmp_path):
    documented = (ROOT / "docs" / "environments.md").read_text()
    block = re.search(r"cd examples\nrllib (train .*?)```", documented, re.S)
    assert block
    words = block[1].replace("\\\n", " ").split()
    options = ["--seed", "0", "--progress", "json", "-n", "run"]
    shutil.copy(EXAMPLE, tmp_path)
    done = rllib(*words, *options, cwd=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    played = rllib("evaluate", "results/run", "--episodes", "32", "--json", cwd=tmp_path)
    assert json.loads(played.stdout)["win_rate"] >= 0.9


@pytest.mark.ray
@pytest.mark.parametrize(
    ("env", "options"),
    [
        ("pettingzoo/kaz", {"max_cycles": 50}),
        ("pettingzoo/simple_spread", {}),
        ("metadrive/roundabout", {"horizon": 40}),
    ],
)
def test_simulators_train_from_the_command_line(env, options, tmp_path):
    words = ["--algo", "DBF", "--env", env, "--stop-iters", "2", "--num-env-runners", "0"]
    words += ["--set", f"env_config={json.dumps(options)}", "--num-envs-per-env-runner", "2"]
    words += ["--set", "min_sample_timesteps_per_iteration=400", "--set", "learning_starts=4"]
    words += ["--set", "batch_episodes=4", "--set", "episodes_per_update=2", "--seed", "0"]
    words += ["--set", "evaluation_interval=0", "-n", "run"]
    if env == "pettingzoo/simple_spread":  # nobody dies there, and DBF says so
        refused = rllib("train", *words, cwd=tmp_path)
        assert refused.returncode == 2 and "deaths" in refused.stderr
        words[1] = "QMIX"
    done = rllib("train", *words, "--progress", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *reports, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert reports[-1]["steps"] >= 800 and reports[-1]["td_loss"] > 0
    assert reports[-1]["illegal_actions"] == 0
    played = rllib("evaluate", "results/run", "--episodes", "2", "--render", "x.mp4", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    assert (tmp_path / "x.mp4").read_bytes()[4:8] == b"ftyp"
    assert Path(last["replay"]).is_file()
