"""Reading golden cases, and the record of what a checker compared."""

from __future__ import annotations

import json
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

VARIABLE = "RLLIB_DBF_GOLDENS"
DEFAULT_FOLDER = Path(__file__).parents[3] / "shared" / "goldens"

# From the index: (rtol, atol). The reference learners round γ (1 - d) to float32.
TOLERANCES = {
    ("float64", False): (1e-8, 1e-9),
    ("float64", True): (1e-6, 1e-8),
    ("float32", False): (2e-4, 2e-5),
    ("float32", True): (2e-4, 2e-5),
}


def folder() -> Path | None:
    """Where the cases are; None when the variable is set but empty."""
    value = os.environ.get(VARIABLE)
    if value is None:
        return DEFAULT_FOLDER
    return Path(value) if value else None


def load_index() -> list[dict[str, Any]]:
    """All cases of the folder, none when it was switched off or is missing."""
    where = folder()
    if where is None or not (where / "index.json").is_file():
        return []
    return json.loads((where / "index.json").read_text())["cases"]


class Case:
    """One golden case: its arrays, and which of its results have been compared.

    Args:
        entry: The case's row of the index.
    """

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry
        self.hyper = entry.get("hyper") or {}
        self.kind = kind_of(entry)
        where = folder()
        assert where is not None
        with np.load(where / entry["file"]) as arrays:
            self.arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        missing = set(entry["arrays"]) - set(self.arrays)
        assert not missing, f"the index promises arrays that the file does not hold: {missing}"
        self.dtype = getattr(torch, entry["dtype"])
        self.learner = entry["level"] == "learner"
        self.compared: set[str] = set()

    def get(self, name: str) -> Tensor:
        """The input called `name`."""
        return self.arrays[f"in/{name}"]

    def leaf(self, name: str) -> Tensor:
        """The input called `name`, collecting a gradient."""
        return self.get(name).clone().requires_grad_()

    def weights(self, module: str) -> dict[str, Tensor]:
        """Reference parameters of a module, by their names in it."""
        prefix = f"w/{module}/"
        return {k[len(prefix) :]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    def check(self, key: str, ours: Tensor, rtol: float = 0.0, atol: float = 0.0) -> None:
        """Compare with the stored array `key`, with the index's tolerances at least."""
        least = TOLERANCES[self.entry["dtype"], self.learner]
        stored = self.arrays[key]
        assert ours.numel() == stored.numel(), f"{key}: {ours.shape} against {stored.shape}"
        torch.testing.assert_close(
            ours.detach().reshape(stored.shape).to(stored.dtype),
            stored,
            rtol=max(rtol, least[0]),
            atol=max(atol, least[1]),
            msg=lambda message: f"{key}: {message}",
        )
        self.compared.add(key)

    def check_gradient(self, name: str, leaf: Tensor) -> None:
        """Compare the gradient that an input collected with grad/<name>."""
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        self.check(f"grad/{name}", gradient)

    def results(self) -> set[str]:
        """Everything a checker has to compare."""
        return {k for k in self.arrays if k.split("/")[0] in ("out", "grad", "gw")}

    def unchecked(self, left_out: tuple[str, ...]) -> set[str]:
        """Results neither compared nor left out on purpose."""
        rest = self.results() - self.compared
        return {key for key in rest if not any(fnmatch(key, pattern) for pattern in left_out)}


def kind_of(entry: dict[str, Any]) -> str:
    """What a case is about: its id up to the double underscore."""
    return entry["id"].split("__")[0]
