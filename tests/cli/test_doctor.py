"""`rllib doctor`: what it says of this machine, of broken simulators, and of clusters."""

from __future__ import annotations

import json
import os
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.command import SCRIPT, assert_refused, rllib

HERE = Path(__file__).resolve().parent
FAKES = HERE.parent / "envs"
MPE, KAZ = "pettingzoo/simple_spread", "pettingzoo/kaz"
FIELDS = ["check", "status", "detail", "remedy"]


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """By check; stdout must be JSON and nothing else."""
    rows = json.loads(done.stdout)
    assert all(
        list(row) == FIELDS and all(isinstance(v, str) for v in row.values()) for row in rows
    )
    assert {row["status"] for row in rows} <= {"ok", "warning", "broken", "absent"}
    assert all(row["detail"] and "\n" not in row["detail"] + row["remedy"] for row in rows)
    assert len({row["check"] for row in rows}) == len(rows)
    return {row["check"]: row for row in rows}


def before(*folders: Path) -> str:
    """PYTHONPATH with folders that come before what is there."""
    return os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])


def shadow(folder: Path, package: str, content: str) -> str:
    """PYTHONPATH on which a package is replaced by a line of Python."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(content)
    return before(folder)


def examine(*envs: str, timeout: int = 60, **environment: str) -> tuple[int, dict]:
    """Exit code and findings without Ray."""
    named = [word for env in envs for word in ("--env", env)]
    done = rllib("doctor", "--json", "--no-ray", "--timeout", str(timeout), *named, **environment)
    return done.returncode, findings(done)


@pytest.mark.ray
def test_this_machine_can_train(tmp_path):
    done = rllib("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    found = findings(done)
    for check in ("python", "rllib-dbf", "ray", "torch", "numpy", "cores", "memory", "ray cluster"):
        assert found[check]["status"] in ("ok", "warning"), found[check]
    assert version("rllib-dbf") in found["rllib-dbf"]["detail"]
    for env in ("smax/3m", "metadrive/roundabout", KAZ, MPE):
        assert found[env]["status"] == "ok" and "steps (" in found[env]["detail"], found[env]
    assert "3 agents" in found["smax/3m"]["detail"]
    assert "started here" in found["ray cluster"]["detail"]
    nodes = [row for check, row in found.items() if check.startswith("node ")]
    assert [row["status"] for row in nodes] == ["ok"]
    for extra in ("wandb", "tensorboard", "mlflow", "optuna", "imageio-ffmpeg"):
        assert found[extra]["status"] in ("ok", "absent", "warning")
    assert not list(tmp_path.iterdir())


def test_the_table_has_a_line_per_check():
    done = rllib("doctor", "--no-ray", "--env", "toy/pit_corridor")
    assert done.returncode == 0 and done.stderr == ""
    *lines, summary = done.stdout.splitlines()
    assert all(line.split()[0] in ("ok", "warning", "absent") for line in lines)
    assert any(line.split()[:3] == ["ok", "toy/pit_corridor", "steps"] for line in lines)
    assert summary.startswith(f"{sum(line.startswith('ok') for line in lines)} ok, ")
    assert "smax" not in done.stdout


CRASHES = {
    "abort": ("import os; os.abort()", ["SIGABRT"]),
    "hang": ("import time; time.sleep(1000)", ["no answer within 10 s"]),
    "exit": ("raise SystemExit(0)", ["making it failed", "SystemExit"]),
    "raise": ("raise RuntimeError('wrong\\nABI')", ["making it failed", "wrong ABI"]),
    "noise": ("print('{}'); import os; os._exit(3)", ["exit code 3"]),
}


@pytest.mark.parametrize("case", CRASHES)
def test_a_broken_simulator_leaves_the_others_alone(case, tmp_path):
    content, words = CRASHES[case]
    path = shadow(tmp_path, "mpe2", content)
    code, found = examine(MPE, KAZ, timeout=10, PYTHONPATH=path)
    assert code == 1
    assert found[MPE]["status"] == "broken" and found[KAZ]["status"] == "ok"
    assert all(word in found[MPE]["detail"] for word in words), found[MPE]
    assert str(tmp_path / "mpe2") in found[MPE]["detail"]
    assert 'pip install "rllib-dbf[mpe]"' in found[MPE]["remedy"]


def test_a_hanging_simulator_does_not_outlive_the_doctor(tmp_path):
    pid = tmp_path / "pid"
    hang = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    command = [str(SCRIPT), "doctor", "--no-ray", "--env", MPE]
    environment = os.environ | {"PYTHONPATH": shadow(tmp_path, "mpe2", hang)}
    doctor = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    wait_for(lambda: pid.exists() and pid.read_text())
    doctor.kill()
    doctor.wait()
    wait_for(lambda: has_ended(int(pid.read_text())))


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(condition) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


ABSENT_HERE = {"smaclite/2s3z": "uoe-agents/smaclite", "smacv2/terran_5_vs_5": "oxwhirl/smacv2"}


@pytest.mark.parametrize("env", ABSENT_HERE)
def test_a_missing_simulator_is_absent_and_missed_if_asked_for(env):
    package = env.partition("/")[0]
    if subprocess.run([SCRIPT.with_name("python"), "-c", f"import {package}"]).returncode == 0:
        pytest.skip(f"{package} is installed")
    code, found = examine(env)
    assert code == 1 and found[env]["status"] == "absent"
    assert ABSENT_HERE[env] in found[env]["remedy"]


def test_missing_simulators_do_not_count_unless_asked_for(monkeypatch):
    from rllib_dbf.cli.checkups import environments, simulators

    monkeypatch.setattr(simulators, "_is_package", lambda name: False)
    extras = {"smax/3m": "smax", "metadrive/tollgate": "metadrive", KAZ: "kaz", MPE: "mpe"}
    for env, extra in extras.items():
        finding = environments.check_env(env, 10.0, asked_for=False)
        assert finding.status == ("warning" if extra == "smax" else "absent")
        assert finding.remedy == f'pip install "rllib-dbf[{extra}]"'
        assert environments.check_env(env, 10.0, asked_for=True).status == "absent"


def test_the_wrong_smac_is_told_from_the_right_one():
    wrong = before(FAKES / "fake_other_smac")
    code, found = examine("smac/3m", PYTHONPATH=wrong)
    assert code == 1 and found["smac/3m"]["status"] == "broken"
    assert "another project" in found["smac/3m"]["detail"]
    assert "pip uninstall smac" in found["smac/3m"]["remedy"]
    assert "oxwhirl/smac.git" in found["smac/3m"]["remedy"]


def test_another_smac_may_be_there_on_purpose(monkeypatch):
    from rllib_dbf.cli.checkups.environments import check_env

    monkeypatch.syspath_prepend(FAKES / "fake_other_smac")
    assert check_env("smac/3m", 10.0, asked_for=False).status == "warning"


def test_starcraft_is_looked_at(tmp_path):
    fakes = before(FAKES / "fake_smac", FAKES / "fake_pysc2", HERE.parents[1])
    game = tmp_path / "game"
    code, found = examine("smac/3m", PYTHONPATH=fakes, SC2PATH=str(game))
    assert code == 1 and found["StarCraft II"]["status"] == "broken"
    assert found["smac/3m"]["status"] == "broken" and "SC2PATH" in found["smac/3m"]["remedy"]

    (game / "Versions" / "Base75689").mkdir(parents=True)
    fine = {"PYTHONPATH": fakes, "SC2PATH": str(game), "SC2_STUB": str(tmp_path)}
    code, found = examine("smac/3m", **fine)
    assert code == 0 and found["smac/3m"]["status"] == "ok", found["smac/3m"]
    assert (
        found["StarCraft II"]["status"] == "warning" and "Maps" in found["StarCraft II"]["remedy"]
    )
    assert found["protobuf"]["status"] == "ok"

    (game / "Maps" / "SMAC_Maps").mkdir(parents=True)
    (game / "Maps" / "SMAC_Maps" / "3m.SC2Map").touch()
    code, found = examine("smac/3m", PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="upb", **fine)
    assert found["StarCraft II"]["status"] == "ok"
    assert "build 75689, with 1 maps" in found["StarCraft II"]["detail"]
    assert code == 1 and "needs protobuf in Python" in found["smac/3m"]["detail"]
    assert found["protobuf"]["status"] == "warning"


def install(folder: Path, name: str, version: str) -> None:
    """Lay down what pip leaves behind of a distribution."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_version_clashes_are_reported(tmp_path):
    install(tmp_path, "numpy", "1.26.4")  # this package asks for another
    install(tmp_path, "gymnasium", "0.29.1")  # Ray does
    install(tmp_path, "typer", "0.12.0")
    install(tmp_path, "mpe2", "1.0.0")  # the extra does
    code, found = examine(MPE, PYTHONPATH=before(tmp_path))
    assert code == 1
    assert found["numpy"]["status"] == "broken" and found["gymnasium"]["status"] == "warning"
    assert "1.26.4, but rllib-dbf asks for >=2" in found["numpy"]["detail"]
    assert "ray asks for ==" in found["gymnasium"]["detail"]
    assert "numpy" in found["numpy"]["remedy"] and ">=2" in found["numpy"]["remedy"]
    assert found["requirements"]["status"] == "broken"
    assert "typer 0.12.0" in found["requirements"]["detail"]
    assert found["torch"]["status"] == "ok"
    assert found[MPE]["status"] == "warning" and "asks for >=1.1" in found[MPE]["detail"]


def test_environments_of_ones_own_and_unknown_ones(tmp_path):
    assert_refused(rllib("doctor", "--env", "smax/3n"), "'smax/3n'", "Did you mean 'smax/3m'?")
    examples = HERE.parents[1] / "examples"
    done = rllib("doctor", "--json", "--no-ray", "--env", "rescue:Rescue", cwd=examples)
    assert done.returncode == 0 and "2 agents" in findings(done)["rescue:Rescue"]["detail"]
    code, found = examine("nowhere:Task")
    assert code == 1 and "nowhere" in found["nowhere:Task"]["detail"]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nothing"])
def test_a_cluster_that_is_not_there_is_one_broken_line(address):
    start = time.monotonic()
    done = rllib("doctor", "--json", "--env", "toy/pit_corridor", RAY_ADDRESS=address)
    assert time.monotonic() - start < 45  # Ray itself takes two minutes
    found = findings(done)
    assert done.returncode == 1 and found["toy/pit_corridor"]["status"] == "ok"
    assert found["ray cluster"]["status"] == "broken"
    assert address in found["ray cluster"]["detail"]
    assert [check for check, row in found.items() if row["status"] == "broken"] == ["ray cluster"]
