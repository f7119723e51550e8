"""Images, manifests and cluster files: what can be known about them without Docker or a cluster."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml

from tests.cli.command import rllib

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
YAML_FILES = sorted(DOCKER.rglob("*.yaml"))
DOCKERFILES = sorted(DOCKER.glob("Dockerfile*"))
LOCKS = sorted(DOCKER.glob("*.lock"))
RESULTS = "/home/ray/results"


def name_of(path: Path) -> str:
    return str(path.relative_to(DOCKER))


def load(name: str) -> Any:
    return yaml.safe_load((DOCKER / name).read_text())


def pins(path: Path) -> dict[str, str]:
    """Versions by package of a constraints file or a lock."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE))


def instructions(path: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions with their arguments, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(word, rest.strip()) for word, _, rest in found]


def cluster_spec(name: str) -> dict[str, Any]:
    spec = load(name)["spec"]
    return spec.get("rayClusterSpec", spec)


def pods_of(name: str) -> list[dict[str, Any]]:
    spec = cluster_spec(name)
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


MANIFESTS = ["kuberay/rayjob.yaml", "kuberay/raycluster.yaml"]


@pytest.mark.parametrize("path", YAML_FILES, ids=name_of)
def test_yaml_parses(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


# Versions


def test_ray_is_the_same_everywhere() -> None:
    ray = pins(ROOT / "constraints.txt")["ray"]
    minor = ray.rpartition(".")[0]
    wanted = re.findall(r"\"ray\[.*\]==(.*)\.\*\"", (ROOT / "pyproject.toml").read_text())
    assert wanted
    assert set(wanted) == {minor}
    assert instructions(DOCKER / "Dockerfile")[0] == ("FROM", f"rayproject/ray:{ray}-py311-gpu")
    assert [cluster_spec(name)["rayVersion"] for name in MANIFESTS] == [ray, ray]


@pytest.mark.parametrize("path", LOCKS, ids=name_of)
def test_locks_pin_what_constraints_pin_with_hashes_and_no_addresses(path: Path) -> None:
    locked, constraints = pins(path), pins(ROOT / "constraints.txt")
    shared = locked.keys() & constraints.keys()
    assert shared
    assert {name: locked[name] for name in shared} == {name: constraints[name] for name in shared}
    assert "://" not in path.read_text()
    blocks = re.split(r"^(?=\S)", path.read_text(), flags=re.MULTILINE)
    packages = [block for block in blocks if "==" in block and not block.startswith("#")]
    assert len(packages) == len(locked)
    assert [block for block in packages if "--hash=sha256:" not in block] == []


def test_gpu_lock_has_cuda_and_all_that_the_project_asks_for() -> None:
    locked = pins(DOCKER / "requirements-gpu.lock")
    assert locked["torch"] == "2.13.0"
    assert {"nvidia-cudnn-cu13", "nvidia-nccl-cu13", "triton"} <= locked.keys()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["smax"]
    wanted += project["optional-dependencies"]["cluster"] + pyproject["build-system"]["requires"]
    assert {re.split(r"[\[<>=]", text)[0] for text in wanted} <= locked.keys()


# Builds


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out of builds; the last line that matches decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!"))
        pattern = pattern.replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{pattern}(/.*)?", path):
            verdict = not line.startswith("!")
    return verdict


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_what_is_copied_exists_and_is_sent_to_the_build(path: Path) -> None:
    for word, rest in instructions(path):
        if word != "COPY" or "--from=" in rest:
            continue
        *sources, _ = [part for part in rest.split() if not part.startswith("--")]
        assert sources
        for source in sources:
            assert (ROOT / source).exists(), source
            assert not ignored(source), source


def copied_before_the_wheel(path: Path) -> dict[str, str]:
    """What has been copied, and where to, when the project is installed; {} if it is not."""
    copied: dict[str, str] = {}
    for word, rest in instructions(path):
        if word == "COPY" and "--from=" not in rest:
            *sources, to = [part for part in rest.split() if not part.startswith("--")]
            copied |= {
                s: str(PurePath(to, s) if to.endswith("/") else PurePath(to)) for s in sources
            }
        if word == "RUN" and "pip install" in rest and "pyproject.toml" in copied:
            return copied
    return {}


def test_what_the_wheel_is_made_of_is_copied_before_it_is_made() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    wanted = [*wheel["packages"], *wheel["force-include"], "README.md", "LICENSE"]
    assert [source for source in wanted if ignored(source)] == []
    found = {name_of(path): copied_before_the_wheel(path) for path in DOCKERFILES}
    installing = {name: copied for name, copied in found.items() if copied}
    assert installing.keys() >= {"Dockerfile", "Dockerfile.cpu"}
    for name, copied in installing.items():
        home = PurePath(copied["pyproject.toml"]).parent
        for source in wanted:
            assert copied.get(source) == str(home / source), (name, source)


def test_builds_do_not_get_what_is_no_part_of_them() -> None:
    for path in (".venv/bin/rllib", "results/run/progress.csv", ".git/config", "tests/conftest.py"):
        assert ignored(path)
    assert ignored("rllib_dbf/__pycache__/presets.cpython-311.pyc")
    assert not ignored("rllib_dbf/envs/smax.py")


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_images_end_as_user_1000_and_try_the_command(path: Path) -> None:
    steps = instructions(path)
    assert [rest for word, rest in steps if word == "USER"][-1] == "1000"
    word, rest = steps[-1]
    assert word == "RUN"
    assert rest.startswith("rllib list algos") or "rllib train" in rest


@pytest.mark.parametrize(("answer", "code"), [("no", 1), ("", 1), ("true", 1), ("yes", 0)])
def test_starcraft2_wants_its_licence_accepted(answer: str, code: int) -> None:
    steps = instructions(DOCKER / "Dockerfile.starcraft2")
    assert ("ARG", "ACCEPT_STARCRAFT2_LICENCE=no") in steps
    first = next(rest for word, rest in steps if word == "RUN")
    done = subprocess.run(
        ["sh", "-c", first], env={"ACCEPT_STARCRAFT2_LICENCE": answer}, capture_output=True,
        text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == code
    if code:
        assert len(done.stderr.splitlines()) == 1
        assert "AI and Machine Learning Licence" in done.stderr
        assert "--build-arg ACCEPT_STARCRAFT2_LICENCE=yes" in done.stderr


# Clusters


def test_the_entrypoint_is_a_command_line_that_the_command_accepts() -> None:
    words = shlex.split(load("kuberay/rayjob.yaml")["spec"]["entrypoint"])
    assert words[:2] == ["rllib", "train"]
    assert words[words.index("--storage-path") + 1] == RESULTS
    done = rllib(*words[1:], "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search(r"num_gpus_per_learner +1 +--set", done.stdout)


DRY_RUNS = """
import shlex, sys
from rllib_dbf.cli.app import app
for line in sys.stdin:
    app([*shlex.split(line)[1:], "--dry-run"], standalone_mode=False)
"""


def test_the_commands_in_comments_are_accepted() -> None:
    found = set()
    for path in YAML_FILES:
        comments = re.sub(r"(?m)^# *", "", path.read_text()).replace("\\\n", "")
        found |= set(re.findall(r"rllib train[^'\n]*", comments))
    assert len(found) > 3
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRY_RUNS], input="\n".join(sorted(found)), cwd=ROOT,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("experiment: ") == len(found)


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_have_what_they_ask_for_share_an_image_and_keep_results(name: str) -> None:
    pods = pods_of(name)
    gpus = 0
    for pod in pods:
        (container,) = pod["containers"]
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]
        gpus += "nvidia.com/gpu" in resources["limits"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"]}
        assert mounts == {"results": RESULTS}
        assert claims == {"results": load("kuberay/results.yaml")["metadata"]["name"]}
    assert gpus == 1
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1


def test_the_job_fits_its_cluster() -> None:
    words = shlex.split(load("kuberay/rayjob.yaml")["spec"]["entrypoint"])
    settings = dict(word.split("=") for word in words if "=" in word)
    runners = int(words[words.index("--num-env-runners") + 1])
    groups = cluster_spec("kuberay/rayjob.yaml")["workerGroupSpecs"]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    sizes = [int(container["resources"]["limits"]["cpu"]) for container in containers]
    cores = sum(group["replicas"] * size for group, size in zip(groups, sizes, strict=True))
    assert runners + int(settings["num_cpus_for_main_process"]) <= cores


def test_compose_wants_a_token_and_keeps_out_of_the_workers_ports() -> None:
    services = load("compose.yaml")["services"]
    for service in services.values():
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
        assert service["volumes"] == [f"results:{RESULTS}"]
        assert service["shm_size"]
    ((address, host, port),) = [p.split(":") for p in services["head"]["ports"]]
    assert (address, host) == ("127.0.0.1", port)
    assert not 10002 <= int(port) <= 19999
    assert f"--dashboard-port={port}" in services["head"]["command"]


def test_compose_with_a_gpu_changes_the_image_of_every_service() -> None:
    services, override = load("compose.yaml")["services"], load("compose.gpu.yaml")["services"]
    assert services.keys() < override.keys()
    assert {service["image"] for service in override.values()} == {"rllib-dbf:gpu"}
    assert override["learner"]["extends"]["service"] in services
    assert "--num-gpus=1" in override["learner"]["command"]


def test_ray_up_understands_its_file() -> None:
    import click
    from ray.autoscaler._private.util import prepare_config, validate_config

    given = load("ray-cluster.yaml")
    config = prepare_config(given)
    validate_config(config)
    assert config["max_workers"] == len(given["provider"]["worker_ips"])
    # Ray's schema lets anything pass below `provider`.
    given["provider"]["workers"] = given["provider"].pop("worker_ips")
    with pytest.raises(click.ClickException, match="worker_ips"):
        prepare_config(given)


def test_runtime_environment_has_fields_that_ray_knows() -> None:
    from ray.runtime_env import RuntimeEnv

    given = load("runtime_env.yaml")
    assert given.keys() <= RuntimeEnv.known_fields
    RuntimeEnv(**given)
