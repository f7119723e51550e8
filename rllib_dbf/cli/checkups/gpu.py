"""GPUs, as the driver and as Torch see them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

from rllib_dbf.cli.checkups.child import ask
from rllib_dbf.cli.checkups.finding import Finding, brief, in_gigabytes

_TORCH = "https://pytorch.org/get-started/locally"


def check_gpus(limit: float) -> Finding:
    """Those that Torch can compute on; a warning about those that it cannot."""
    there = _driver_sees()
    answer = ask("rllib_dbf.cli.checkups.try_torch", limit)
    seen: dict[str, Any] = answer.last("seen", {})
    if answer.end or not seen:
        detail = f"Torch could not be asked: {brief(answer.why())}"
        return Finding("gpu", "broken", detail, 'python -c "import torch" shows more')
    torch = f"torch {seen['version']}"
    if "failed" in seen:
        detail = f"{', '.join(seen['gpus'])}: {torch} cannot compute there: {seen['failed']}"
        return Finding("gpu", "broken", detail, f"install a torch for this GPU: {_TORCH}")
    if seen["gpus"]:
        sizes = [f"{name} ({in_gigabytes(size)})" for name, size in seen["gpus"].items()]
        detail = f"{', '.join(sizes)}; CUDA {seen['cuda']}"
        return Finding("gpu", "ok", detail)
    if not there:
        return Finding("gpu", "absent", f"none; {torch} computes on the cores")
    return _unused(there, torch, seen["cuda"])


def _unused(there: list[str], torch: str, cuda: str | None) -> Finding:
    names = ", ".join(there)
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        detail = f"{names}, hidden by CUDA_VISIBLE_DEVICES"
        return Finding("gpu", "warning", detail, "unset CUDA_VISIBLE_DEVICES")
    if cuda is None:
        detail = f"{names}, but {torch} is built without CUDA"
        return Finding("gpu", "warning", detail, f"install a torch with CUDA: {_TORCH}")
    detail = f"{names}, but {torch} (CUDA {cuda}) does not find it"
    return Finding("gpu", "warning", detail, "install a driver for this CUDA, or an older torch")


def _driver_sees() -> list[str]:
    """What nvidia-smi lists."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=15)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] * (
        done.returncode == 0
    )
