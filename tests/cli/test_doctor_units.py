"""Parts of `rllib doctor` that need neither the command nor a cluster; and one real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.command import rllib

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
TOKEN, OTHER = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def cluster():
    """Two nodes that ask for a token, in a process of their own; their address."""
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=os.environ | secret,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    address = process.stdout.readline().strip()
    assert address
    yield address
    process.stdin.close()
    process.wait(60)


def examine(cluster: str, **environment: str) -> tuple[int, list[dict[str, str]]]:
    environment |= {"RAY_ADDRESS": cluster, "RAY_AUTH_MODE": "token"}
    done = rllib("doctor", "--json", "--env", "toy/pit_corridor", **environment)
    rows = json.loads(done.stdout)
    return done.returncode, [r for r in rows if r["check"].startswith(("node ", "ray cluster"))]


@pytest.mark.ray
def test_every_node_is_asked(cluster):
    code, (joined, *nodes) = examine(cluster, RAY_AUTH_TOKEN=TOKEN)
    assert code == 0, nodes
    assert f"joined {cluster}" in joined["detail"] and "2 nodes" in joined["detail"]
    assert [node["status"] for node in nodes] == ["ok", "ok"]
    versions = [f"{name} {version(name)}" for name in ("ray", "torch", "rllib-dbf")]
    assert all(text in node["detail"] for node in nodes for text in versions)
    assert len({node["check"] for node in nodes}) == 2


@pytest.mark.ray
def test_nodes_with_other_versions_are_broken(cluster, tmp_path):
    about = tmp_path / "rllib_dbf-0.0.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rllib-dbf\nVersion: 0.0.9\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    code, (joined, *nodes) = examine(cluster, RAY_AUTH_TOKEN=TOKEN, PYTHONPATH=path)
    assert code == 1 and joined["status"] == "ok"
    assert [node["status"] for node in nodes] == ["broken", "broken"]
    there = f"rllib-dbf {version('rllib-dbf')}, here 0.0.9"
    assert all(there in node["detail"] for node in nodes)


@pytest.mark.ray
@pytest.mark.parametrize("token", [OTHER, ""])
def test_a_wrong_token_is_one_line(cluster, token, tmp_path):
    home = {"HOME": str(tmp_path)}  # where a token may be kept
    code, rows = examine(cluster, RAY_AUTH_TOKEN=token, **home)
    assert code == 1 and [row["status"] for row in rows] == ["broken"]
    assert "authentication token" in rows[0]["detail"] and "RAY_AUTH_TOKEN" in rows[0]["remedy"]


NODE = {
    "NodeManagerHostname": "worker",
    "NodeManagerAddress": "10.0.0.2",
    "NodeID": "0123456789",
    "Resources": {"CPU": 4.0, "GPU": 1.0},
}
HERE = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0+cpu", "numpy": "2.4.6"}
HERE |= {"rllib-dbf": "0.1.0", "cuda": None, "code": "x"}


@pytest.mark.parametrize(
    ("seen", "status", "words"),
    [
        ({"torch": "2.13.0+cu130", "cuda": "13.0"}, "ok", "4 cores, 1 GPUs"),
        ({}, "warning", "without CUDA"),
        ({"python": "3.12.1"}, "broken", "python 3.12.1, here 3.11.7"),
        ({"rllib-dbf": None}, "broken", "rllib-dbf None, here 0.1.0"),
        ({"code": "y"}, "broken", "other code"),
        ({"error": "ImportError: no torch"}, "broken", "no torch"),
    ],
)
def test_nodes_are_judged_beside_this_machine(seen, status, words):
    from rllib_dbf.cli.checkups.try_ray import judge

    finding = judge(NODE, HERE | seen, HERE)
    assert (finding.check, finding.status) == ("node worker 012345", status)
    assert words in finding.detail and bool(finding.remedy) == (status != "ok")


def group(folder: Path, own: str, files: dict[str, str]) -> dict[str, Path]:
    """A tree of control groups, and the file that says which of them this process is in."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "own").write_text(own)
    return {"root": folder, "own": folder / "own"}


def test_limits_of_containers_version_2(tmp_path):
    from rllib_dbf.cli.checkups.limits import core_limit, memory_limit, memory_used

    files = {
        "memory.max": "max\n",
        "pod/memory.max": "5000\n",
        "pod/box/memory.max": "9000\n",
        "pod/box/memory.current": "3000\n",
        "pod/box/memory.stat": "anon 5\ninactive_file 1000\n",
        "pod/cpu.max": "150000 100000\n",
        "pod/box/cpu.max": "max 100000\n",
    }
    here = group(tmp_path, "0::/pod/box\n", files)
    assert (memory_limit(**here), memory_used(**here), core_limit(**here)) == (5000, 2000, 1.5)


def test_limits_of_containers_version_1(tmp_path):
    from rllib_dbf.cli.checkups.limits import core_limit, memory_limit, memory_used

    files = {
        "memory/memory.limit_in_bytes": "7000\n",  # the container's own group is its root
        "memory/memory.usage_in_bytes": "500\n",
        "cpu/cpu.cfs_quota_us": "50000\n",
        "cpu/cpu.cfs_period_us": "100000\n",
    }
    here = group(tmp_path, "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/\n", files)
    assert (memory_limit(**here), memory_used(**here), core_limit(**here)) == (7000, 500, 0.5)
    files = {"memory/memory.limit_in_bytes": "9223372036854771712", "cpu/cpu.cfs_quota_us": "-1"}
    here = group(tmp_path, "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/\n", files)
    assert memory_limit(**here) is None and core_limit(**here) is None


@pytest.mark.parametrize(
    ("given", "status"),
    [(None, "ok"), ("1", "ok"), ("2,1", "ok"), ("64", "warning"), ("many", "warning")],
)
def test_threads_are_held_against_the_cores(given, status, monkeypatch):
    from rllib_dbf.cli.checkups import machine

    monkeypatch.setattr(machine, "cores", lambda: 4.0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert machine.check_threads().status == status


USAGE = namedtuple("usage", "total used free")


@pytest.mark.parametrize(
    ("free", "total", "status"), [(50e9, 99e9, "ok"), (1e9, 3e9, "warning"), (9e9, 1e12, "warning")]
)
def test_disks_must_have_room(free, total, status, monkeypatch, tmp_path):
    from rllib_dbf.cli.checkups import machine

    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: USAGE(total, total - free, free))
    assert machine.check_disk("disk", tmp_path / "not" / "yet", "another").status == status
    (tmp_path / "file").touch()
    assert machine.check_disk("disk", tmp_path / "file" / "x", "another").status == "broken"


@pytest.mark.parametrize(
    ("free", "status"), [(64 * 2**20, "warning"), (4e9, "warning"), (11e9, "ok"), (300e9, "ok")]
)
def test_shared_memory_must_hold_the_object_store(free, status, monkeypatch, tmp_path):
    from rllib_dbf.cli.checkups import machine

    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: USAGE(free, 0, free))
    monkeypatch.setattr(machine, "memory", lambda: (100e9, 100e9))  # Ray would take 30 GB
    finding = machine.check_shared_memory(tmp_path)
    assert finding.status == status and ("--shm-size=33g" in finding.remedy) == (status != "ok")


GPU = {"version": "2.13.0", "cuda": "13.0", "gpus": {}}
GPUS = {
    "none": ([], {}, {}, "absent", "none"),
    "works": (["H100"], {"gpus": {"H100": 80e9}}, {}, "ok", "80.0 GB"),
    "Torch without CUDA": (["H100"], {"cuda": None}, {}, "warning", "built without CUDA"),
    "not found": (["H100"], {}, {}, "warning", "does not find it"),
    "hidden": (["H100"], {}, {"CUDA_VISIBLE_DEVICES": ""}, "warning", "hidden"),
    "no kernels": (
        ["H100"],
        {"gpus": {"H100": 80e9}, "failed": "no kernel image"},
        {},
        "broken",
        "no kernel image",
    ),
}


@pytest.mark.parametrize("case", GPUS)
def test_gpus_are_no_use_without_cuda(case, monkeypatch):
    from rllib_dbf.cli.checkups import gpu
    from rllib_dbf.cli.checkups.child import Answer

    there, seen, environment, status, words = GPUS[case]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(gpu, "_driver_sees", lambda: there)
    monkeypatch.setattr(gpu, "ask", lambda *_: Answer([{"seen": GPU | seen}], "", ""))
    finding = gpu.check_gpus(10.0)
    assert finding.status == status and words in finding.detail


COMPILED = {
    "built": ({"found": True, "reason": "built with cc"}, "ok", ""),
    "no compiler": ({"found": False, "reason": "no C compiler"}, "warning", "apt install gcc"),
    "off": ({"found": False, "reason": "switched off by X=0"}, "warning", "unset"),
    "odd": ({"error": "RLLIB_DBF_COMPILED='no' is neither"}, "broken", "set it to 0 or 1"),
}


@pytest.mark.parametrize("case", COMPILED)
def test_what_becomes_of_the_compiled_layers_is_told(case, monkeypatch):
    from rllib_dbf.cli.checkups import compiled
    from rllib_dbf.cli.checkups.child import Answer

    told, status, words = COMPILED[case]
    monkeypatch.setattr(compiled, "ask", lambda *_: Answer([told], "", ""))
    finding = compiled.check_compiled(10.0)
    assert finding.status == status and words in finding.remedy
    assert next(iter(reversed(told.values()))) in finding.detail


def test_a_switch_of_another_value_reaches_the_doctor(monkeypatch):
    from rllib_dbf.cli.checkups import compiled

    monkeypatch.setenv("RLLIB_DBF_COMPILED", "no")
    finding = compiled.check_compiled(60.0)
    assert finding.status == "broken" and "'no' is neither 0" in finding.detail


def test_a_check_that_fails_itself_takes_no_other_along():
    from rllib_dbf.cli.checkups.finding import Finding
    from rllib_dbf.cli.doctor import run

    def fails():
        yield Finding("before", "ok", "x")
        raise OSError("no /proc")

    found = run({"odd": fails, "fine": lambda: [Finding("fine", "ok", "y")]})
    assert [(f.check, f.status) for f in found] == [("odd", "warning"), ("fine", "ok")]
    assert "no /proc" in found[0].detail


MLFLOW = {
    "the small one": ({"mlflow-skinny": "3.1.0"}, "ok", "3.1.0 (runs in MLflow)"),
    "both": ({"mlflow": "3.2.0", "mlflow-skinny": "3.1.0"}, "ok", "3.2.0 (runs in MLflow)"),
    "too old": ({"mlflow-skinny": "2.1.0"}, "warning", "asks for >=3"),
    "none": ({}, "absent", "not installed"),
}


@pytest.mark.parametrize("case", MLFLOW)
def test_either_distribution_of_mlflow_will_do(case, monkeypatch):
    from rllib_dbf.cli.checkups import extras

    installed, status, words = MLFLOW[case]
    monkeypatch.setattr(extras, "installed_version", installed.get)
    (found,) = [f for f in extras.check_extras() if f.check == "mlflow"]
    assert found.status == status and words in found.detail
