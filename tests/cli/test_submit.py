"""`rllib submit` against a real Ray head of this machine, with a token."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.command import SCRIPT, rllib

pytestmark = pytest.mark.ray


class Head(NamedTuple):
    address: str  # of the dashboard, where jobs go
    gcs: str  # of the cluster itself
    token: Path
    home: Path


def _free_port() -> int:
    """A port outside 10002-19999, which Ray keeps for its workers."""
    while True:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            if not 10001 < found.getsockname()[1] < 20000:
                return found.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    home = tmp_path_factory.mktemp("head")
    token = home / "token"
    token.write_text(secrets.token_hex(32))
    dashboard, port = _free_port(), _free_port()
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
    }
    log = (home / "log").open("w")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--port", str(port), "--dashboard-port", str(dashboard), "--num-cpus", "2"),
            *("--disable-usage-stats", "--dashboard-host", "127.0.0.1"),
            # Jobs go through the agent; its usual port may belong to another test's Ray.
            *("--dashboard-agent-listen-port", str(_free_port())),
            *("--dashboard-agent-grpc-port", str(_free_port())),
            *("--metrics-export-port", str(_free_port())),
        ],
        env=environment,
        stdout=log,
        stderr=log,
    )
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", dashboard)) == 0:
                    break
            time.sleep(0.5)
        yield Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", token, home)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        log.close()


def _submit(head: Head, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    where = ["--address", head.address, "--token-file", str(head.token)]
    for _ in range(10):  # the dashboard answers before it takes jobs
        done = rllib("submit", *where, *arguments, cwd=cwd, timeout=280)
        if "takes jobs" not in done.stderr and "refused the job" not in done.stderr:
            return done
        time.sleep(3)
    return done


def test_a_job_trains_and_its_log_streams(head: Head, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "large.bin").write_bytes(b"0" * 1000)
    train = ["train", "--algo", "DBF", "--env", "smax/3m", "--stop-timesteps", "20000"]
    options = ["--submission-id", "mine", "--env-var", "COLUMNS=120", "--driver-num-cpus", "0"]
    options += ["--driver-num-gpus", "0", "--working-dir", str(tmp_path), "--traceback"]
    done = _submit(head, *options, "--", *train, "-n", "job", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "job mine submitted" in done.stderr
    assert "trial 1:" in done.stdout
    run = head.home / "ray_results" / "job"  # not in the job's copy of the directory, which goes
    assert str(run) in done.stdout
    assert list(run.glob("trial_001/checkpoint_*"))


def _documented() -> list[str]:
    """Lines of docs/cluster.md that submit with nothing but what the environment says."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("rllib submit ")]
    assert len(lines) == 3
    assert lines[0].endswith("-- train --algo DBF --env smax/3m --stop-timesteps 20000")  # above
    return lines[1:]


@pytest.mark.parametrize("line", _documented())
def test_documented_lines(line: str, head: Head, tmp_path: Path) -> None:
    where = {"RAY_API_SERVER_ADDRESS": head.address, "RAY_AUTH_MODE": "token"}
    where["RAY_AUTH_TOKEN_PATH"] = str(head.token)
    arguments = [*shlex.split(line)[1:], "--stop-iters", "1"]
    done = rllib(*arguments, cwd=tmp_path, **where)
    assert done.returncode == 0, done.stdout + done.stderr
    if "--no-follow" in line:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "job"]
        follow = [*ray, "logs", "--follow", done.stdout.strip()]
        environment = {**os.environ, **where, "RAY_ADDRESS": head.address}
        log = subprocess.run(follow, env=environment, capture_output=True, text=True, timeout=280)
        assert "best: trial" in log.stdout, log.stdout + log.stderr
    else:
        assert (head.home / "ray_results" / "mine" / ".rllib" / "run.json").is_file()
        again = rllib(*arguments, cwd=tmp_path, **where)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "nothing is left to do" in again.stdout


def test_a_failing_job_hands_on_its_exit_code(head: Head, tmp_path: Path) -> None:
    (tmp_path / "env.yaml").write_text("env_vars: {NOTE: there}\n")
    done = _submit(head, "--runtime-env", "env.yaml", "--", "train", "--algo", "DBX", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Did you mean 'DBF'?" in done.stdout
    assert "failed" in done.stderr.splitlines()[-1]


def test_a_job_without_directory_is_not_followed(head: Head, tmp_path: Path) -> None:
    options = ["--no-working-dir", "--no-follow", "--", "list", "algos"]
    done = _submit(head, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("raysubmit_")


def test_without_token_it_is_one_line(head: Head, tmp_path: Path) -> None:
    done = rllib(
        *("submit", "--address", head.address, "--", "list", "algos"),
        cwd=tmp_path,
        HOME=str(tmp_path),
        RAY_AUTH_MODE="disabled",
    )
    assert done.returncode == 2
    assert "--token-file" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_train_joins_the_cluster(head: Head, tmp_path: Path) -> None:
    options = ["--env", "toy/pit_corridor", "--stop-iters", "1", "--ray-address", head.gcs]
    options += ["--num-env-runners", "1", "--progress", "json", "--storage-path"]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(head.token)}
    done = rllib("train", *options, f"file://{tmp_path}/shared", "-n", "uri", cwd=tmp_path, **token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "shared" / "uri" / "trial_001").glob("checkpoint_*"))
    assert (tmp_path / "results" / "uri" / "learning_curve.png").is_file()
