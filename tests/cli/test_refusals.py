"""Bad input: exit code 2, one line that says what was meant, and nothing trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import assert_refused, rllib

WITHOUT_RAY = {
    "unknown algorithm": (["--algo", "DBG"], ["'DBG'", "Did you mean 'DBF'?"]),
    "misspelt algorithm of RLlib": (["--algo", "POP"], ["'POP'", "'PPO'"]),
    "ray: without such a name": (["--algo", "ray:QMIX"], ["'ray:QMIX'", "unknown"]),
    "unknown map": (["--env", "smax/3n"], ["'smax/3n'", "Did you mean 'smax/3m'?"]),
    "single-agent task for a team": (["--env", "CartPole-v1"], ["plays teams"]),
    "team task for one agent": (
        ["--algo", "PPO", "--env", "smax/3m", "--stop-iters", "1"],
        ["single-agent", "QMIX"],
    ),
    "unknown Gymnasium task": (
        ["--algo", "PPO", "--env", "CartPol-v1", "--stop-iters", "1"],
        ["'CartPol-v1'", "'CartPole-v1'"],
    ),
    "no task": (["--algo", "PPO"], ["needs an environment"]),
    "no end": (["--algo", "PPO", "--env", "CartPole-v1"], ["--stop-iters"]),
    "class that is not there": (
        ["--algo", "PPO", "--env", "nowhere:Task", "--stop-iters", "1"],
        ["'nowhere:Task'", "module:name"],
    ),
    "--set without a value": (["--set", "gamma_b"], ["KEY=VALUE"]),
    "--config that is no mapping": (["--config", "[1]"], ["--config", "mapping"]),
    "stop criterion that is no number": (["--stop", '{"a": "b"}'], ["'b'", "number"]),
    "file that is not there": (["nothing.yaml"], ["nothing.yaml", "does not exist"]),
    "removed option": (["--local-dir", "x"], ["--local-dir", "--storage-path"]),
    "removed option with a value": (["--framework=tf"], ["--framework", "Torch"]),
    "unknown option": (["--alg", "DBF"], ["--alg"]),
    "option of a wrong type": (["--num-samples", "many"], ["--num-samples", "integer"]),
    "number out of range": (["--stop-iters", "0"], ["--stop-iters"]),
    "test without a target": (["--as-test"], ["--stop-reward"]),
    "restore from nothing": (["--restore", "nothing"], ["'nothing'", "does not exist"]),
    "name that is a path": (["-n", "../up"], ["--experiment-name"]),
}


@pytest.mark.parametrize("case", WITHOUT_RAY)
def test_train_refuses(case: str, tmp_path: Path) -> None:
    arguments, words = WITHOUT_RAY[case]
    assert_refused(rllib("train", *arguments, cwd=tmp_path), *words)
    assert not list(tmp_path.iterdir())


def test_train_never_overwrites_a_run(tmp_path: Path) -> None:
    (tmp_path / "results" / "mine").mkdir(parents=True)
    assert_refused(rllib("train", "-n", "mine", cwd=tmp_path), "mine", "overwritten")


FILES = {
    "no mapping": ("- run: DBF\n", ["must map experiment names"]),
    "broken YAML": ("a: [1\n", ["not valid YAML", "line"]),
    "key twice": ("a:\n  run: DBF\n  run: QMIX\n", ["'run' is given twice"]),
    "no algorithm": ("a: {env: smax/3m}\n", ["'run' is missing"]),
    "unknown key": ("a: {run: DBF, enw: smax/3m}\n", ["'enw'", "Did you mean 'env'?"]),
    "setting outside config": ("a: {run: DBF, gamma_b: 1}\n", ["'gamma_b'", "under config"]),
    "removed key": ("a: {run: DBF, local_dir: x}\n", ["'local_dir'", "storage_path"]),
    "unknown algorithm": ("a: {run: DBX}\n", ["'DBX'", "Did you mean 'DBF'?"]),
    "wrong type": ("a: {run: DBF, num_samples: few}\n", ["num_samples", "int"]),
    "unknown checkpoint key": (
        "a: {run: DBF, checkpoint_config: {frequency: 1}}\n",
        ["checkpoint_config.frequency", "checkpoint_frequency"],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_train_refuses_file(case: str, tmp_path: Path) -> None:
    content, words = FILES[case]
    (tmp_path / "experiment.yaml").write_text(content)
    assert_refused(rllib("train", "experiment.yaml", cwd=tmp_path), *words)


SETTINGS = {
    "unknown": (["--set", "gama_b=0.5"], ["'gama_b'", "Did you mean 'gamma_b'?"]),
    "unknown in --config": (["--config", '{"omaga": 1}'], ["'omaga'", "Did you mean 'omega'?"]),
    "wrong type": (["--set", "lr=abc"], ["lr='abc'", "float"]),
    "another algorithm's preset": (
        ["--algo", "QMIX", "--set", "preset=dbf"],
        ["'dbf'", "QMIX", "--algo"],
    ),
    "preset swept": (["--sweep", "preset=qmix,dbf"], ["preset=", "--algo", "one file"]),
    "barrier without deaths": (["--env", "toy/two_step"], ["barrier_estimator", "none"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_train_refuses_setting(case: str, tmp_path: Path) -> None:
    arguments, words = SETTINGS[case]
    arguments = arguments if "--env" in arguments else [*arguments, "--env", "toy/pit_corridor"]
    assert_refused(rllib("train", *arguments, cwd=tmp_path), *words)
    assert not list(tmp_path.iterdir())


CHECKPOINTS = {
    "missing": (lambda path: None, ["does not exist"]),
    "a file": (lambda path: path.write_text("x"), ["is a file"]),
    "empty": (lambda path: path.mkdir(), ["neither a checkpoint nor a run"]),
    "without content": (
        lambda path: (path / "checkpoint_000000").mkdir(parents=True),
        ["holds no rllib_checkpoint.json"],
    ),
    "damaged": (
        lambda path: (path.mkdir(), (path / "rllib_checkpoint.json").write_bytes(b"\xff{")),
        ["damaged"],
    ),
    "foreign": (
        lambda path: (path.mkdir(), (path / "rllib_checkpoint.json").write_text('{"type": "x"}')),
        ["no complete Algorithm checkpoint"],
    ),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_evaluate_refuses(case: str, tmp_path: Path) -> None:
    make, words = CHECKPOINTS[case]
    make(tmp_path / "there")
    assert_refused(rllib("evaluate", "there", cwd=tmp_path), *words)
