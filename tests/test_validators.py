"""The linters of ./run lint find what is wrong in images, manifests and cluster files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.prefix) / ".lint" / "bin"

HADOLINT = ("hadolint", "--failure-threshold", "warning")
KUBERAY = ("check-jsonschema", "--schemafile", "docker/kuberay/schema.json")
RAY_UP = ("check-jsonschema", "--schemafile", "RAY/autoscaler/ray-schema.json")
COMPOSE = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")
CITATION = ("check-jsonschema", "--builtin-schema", "vendor.citation-file-format")
SHELLCHECK = ("shellcheck",)
SHFMT = ("shfmt", "-i", "2", "-ci", "-d")

needs_linters = pytest.mark.skipif(
    not (TOOLS / "hadolint").exists(), reason="./run lint has not installed the linters yet"
)


def validate(validator: tuple[str, ...], path: Path) -> subprocess.CompletedProcess[str]:
    import ray

    tool, *options = (word.replace("RAY", str(Path(ray.__file__).parent)) for word in validator)
    return subprocess.run(
        [str(TOOLS / tool), *options, str(path)], cwd=ROOT, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


BROKEN = [
    (KUBERAY, "docker/kuberay/rayjob.yaml", "entrypoint:", "entryPoint:"),
    (KUBERAY, "docker/kuberay/rayjob.yaml", "entrypoint:", "jobId:"),
    (KUBERAY, "docker/kuberay/rayjob.yaml", "rayClusterSpec:", "clusterSpec:"),
    (KUBERAY, "docker/kuberay/rayjob.yaml", "kind: RayJob", "kind: Rayjob"),
    (KUBERAY, "docker/kuberay/rayjob.yaml", "ray.io/v1", "ray.io/v1alpha1"),
    (KUBERAY, "docker/kuberay/rayjob.yaml", "ttlSecondsAfterFinished: 600", "ttlSeconds: 600"),
    (KUBERAY, "docker/kuberay/rayjob.yaml", 'num-cpus: "0"', "num-cpus: 0"),
    (KUBERAY, "docker/kuberay/rayjob.yaml", "mode: token", "mode: tokens"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "maxReplicas", "maxreplicas"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "groupName", "name"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "volumeMounts", "volumeMount"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "runAsNonRoot", "runAsNonroot"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "idleTimeoutSeconds", "idleTimeout"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "tolerations", "toleration"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "claimName", "claim"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "memory: 8Gi", "memory: 8GiB"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "limits", "limit"),
    (KUBERAY, "docker/kuberay/raycluster.yaml", "nvidia.com/gpu:", "gpu:"),
    (KUBERAY, "docker/kuberay/results.yaml", "ReadWriteMany]", "ReadWriteAll]"),
    (RAY_UP, "docker/ray-cluster.yaml", "file_mounts:", "file_mount:"),
    (RAY_UP, "docker/ray-cluster.yaml", "run_options:", "options:"),
    (RAY_UP, "docker/ray-cluster.yaml", "ssh_user:", "user:"),
    (RAY_UP, "docker/ray-cluster.yaml", "cluster_name:", "name:"),
    (COMPOSE, "docker/compose.yaml", "shm_size:", "shm:"),
    (COMPOSE, "docker/compose.yaml", "condition:", "when:"),
    (COMPOSE, "docker/compose.gpu.yaml", "capabilities:", "capability:"),
    (COMPOSE, "docker/compose.gpu.yaml", "reservations:", "reserved:"),
    (CITATION, "CITATION.cff", "cff-version:", "version-of-cff:"),
    (CITATION, "CITATION.cff", "family-names:", "surname:"),
    (HADOLINT, "docker/Dockerfile", "USER 1000", "USER root"),
    (HADOLINT, "docker/Dockerfile", "rayproject/ray:2.60.0-py311-gpu", "rayproject/ray"),
    (HADOLINT, "docker/Dockerfile", "--no-cache-dir ", ""),
    (HADOLINT, "docker/Dockerfile.cpu", "WORKDIR /home/ray", "RUN cd /home/ray && pip install ray"),
    (HADOLINT, "docker/Dockerfile.starcraft2", "# hadolint ignore", "# ignore"),
    (SHELLCHECK, "run", '"$@"', "$@"),
    (SHELLCHECK, ".ci/run", '"$(dirname "${BASH_SOURCE[0]}")/.."', "$(dirname $0)/.."),
    (SHFMT, "run", "\n  ", "\n    "),
]


@needs_linters
@pytest.mark.parametrize(
    ("validator", "name"), sorted({(validator, name) for validator, name, *_ in BROKEN})
)
def test_files_are_valid(validator: tuple[str, ...], name: str) -> None:
    done = validate(validator, ROOT / name)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_linters
@pytest.mark.parametrize(("validator", "name", "right", "wrong"), BROKEN)
def test_mistakes_are_found(
    tmp_path: Path, validator: tuple[str, ...], name: str, right: str, wrong: str
) -> None:
    text = (ROOT / name).read_text()
    assert right in text
    broken = tmp_path / Path(name).name
    broken.write_text(text.replace(right, wrong))
    done = validate(validator, broken)
    assert done.returncode == 1, done.stdout + done.stderr
    assert broken.name in done.stdout + done.stderr


def test_lint_runs_these_validators_on_every_file() -> None:
    lint = (ROOT / "run").read_text()
    for tool, *options in (HADOLINT, KUBERAY, RAY_UP, COMPOSE, CITATION, SHELLCHECK, SHFMT):
        name = "schema" if tool == "check-jsonschema" else f"tools/{tool}"
        words = " ".join([f'"${name}"', *options]).replace(
            "RAY/autoscaler/ray-schema.json", '"${ray[0]}/autoscaler/ray-schema.json"'
        )
        assert words in lint
    by_glob = {
        *ROOT.glob("docker/Dockerfile*"), *ROOT.glob("docker/kuberay/*.yaml"),
        *ROOT.glob("docker/compose*.yaml"), ROOT / "docker/ray-cluster.yaml",
    }  # fmt: skip
    # Ray itself reads the runtime environment (test_deployment.py); locks are read by pip.
    others = {"runtime_env.yaml", "schema.json"}
    files = {path for path in (ROOT / "docker").rglob("*") if path.is_file()}
    left = {path.name for path in files - by_glob if path.suffix != ".lock"}
    assert left == others
