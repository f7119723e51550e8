"""What a node of a cluster has installed, told by a task that needs nothing of ours there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_COMPARED = ("python", "ray", "torch", "numpy", "rllib-dbf")


def look_function() -> Callable[..., dict[str, Any]]:
    """The task. A nested function travels by value, so that nodes without this package run it.

    Where it is called without `load`, it tells versions without trying whether they work.
    """

    def look(load: bool = True) -> dict[str, Any]:
        import hashlib
        import importlib.metadata
        import pathlib
        import platform

        seen: dict[str, Any] = {"python": platform.python_version(), "cuda": None, "code": None}
        for name in ("ray", "torch", "numpy", "rllib-dbf"):
            try:
                seen[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                seen[name] = None
        try:
            import rllib_dbf

            if load:
                rllib_dbf.register()
                import torch

                seen["cuda"] = torch.version.cuda
            code, folder = hashlib.sha256(), pathlib.Path(rllib_dbf.__file__).parent
            for file in sorted(folder.rglob("*.py")):
                code.update(str(file.relative_to(folder)).encode() + file.read_bytes())
            seen["code"] = code.hexdigest()
        except BaseException as error:  # told instead of raised, whatever it is
            seen["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return seen

    return look


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """In words; builds of one version ("2.13.0+cpu", "2.13.0+cu130") go together."""
    found = [
        f"{name} {there[name]}, here {here[name]}"
        for name in _COMPARED
        if _public(there[name]) != _public(here[name])
    ]
    if not found and there["code"] != here["code"]:
        found.append("rllib-dbf has the same version, but other code")
    return found


def _public(version: str | None) -> str:
    return (version or "none").partition("+")[0]
