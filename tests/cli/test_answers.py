"""What the command tells without training: help, lists, versions, dry runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.command import rllib


def test_help_answers_in_half_a_second() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert rllib("--help").returncode == 0
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_python_m_is_the_same_command() -> None:
    command = [sys.executable, "-m", "rllib_dbf", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("rllib-dbf ")


def test_list_algos_shows_presets_and_rllibs_own() -> None:
    from rllib_dbf.presets import PRESETS

    rows = json.loads(rllib("list", "algos", "--json").stdout)
    names = [row["name"] for row in rows]
    assert names[: len(PRESETS)] == [row.title for row in PRESETS.values()]
    assert {"PPO", "SAC", "ray:IQL"} <= set(names)


def test_list_envs_filters() -> None:
    done = rllib("list", "envs", "--filter", "smax/3m")
    assert "smax/3m" in done.stdout
    assert "toy/" not in done.stdout


def test_list_settings_of_an_algorithm() -> None:
    rows = json.loads(rllib("list", "settings", "--filter", "gamma_b", "--json").stdout)
    assert [row["name"] for row in rows] == ["training.gamma_b"]
    assert rows[0]["meaning"]


def test_dry_run_names_every_origin(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(
        "mine:\n  run: DBF\n  env: toy/pit_corridor\n  stop: {training_iteration: 3}\n"
        "  config: {gamma_b: 0.1, lambda_b: 0.2, beta_q: 1e-1, beta_b: 0.3, lr: 1e-3, seed: 1}\n"
    )
    options = ["--config", '{"lambda_b": 0.3, "beta_q": 0.3, "beta_b": 0.4}', "--seed", "7"]
    options += ["--set", "beta_q=4e-1", "--set", "training.beta_b=0.5", "--stop-iters", "2"]
    done = rllib("train", str(file), *options, "--dry-run", "--progress", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = {
        row["key"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)["values"]
    }
    assert values["training.gamma_b"] == (0.1, str(file))
    assert values["training.lr"] == (0.001, str(file))
    assert values["training.lambda_b"] == (0.3, "--config")
    assert values["training.beta_q"] == (0.4, "--set")
    assert values["training.beta_b"] == (0.5, "--set")
    assert values["debugging.seed"] == (7, "--seed")
    assert values["stop.training_iteration"][0] == 2
    assert values["training.omega"] == (None, "default")
    assert [p.name for p in tmp_path.iterdir()] == ["e.yaml"]


def test_names_of_rllibs_algorithms_are_up_to_date() -> None:
    from ray.rllib.algorithms.registry import ALGORITHMS

    from rllib_dbf.cli.names import RAY_ALGORITHMS

    assert sorted(RAY_ALGORITHMS) == sorted(ALGORITHMS)


def test_every_name_that_is_listed_is_understood() -> None:
    from rllib_dbf.cli.names import find_algorithm
    from rllib_dbf.presets import PRESETS

    for name, row in PRESETS.items():
        assert find_algorithm(row.title).preset == find_algorithm(name).preset == name


def test_presets_win_over_rllibs_names() -> None:
    from rllib_dbf.cli.names import find_algorithm

    assert find_algorithm("iql").preset == "iql"
    assert find_algorithm("ray:iql")[:2] == ("IQL", None)
    assert find_algorithm("dBf").title == "DBF"
