"""Whether and how Triton's kernels run here."""

from __future__ import annotations

import functools
import importlib
import subprocess
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rllib_dbf.compiled import library

BLOCK = 16  # rows that walk together
PRECISION = "ieee"
_WARPS = 8
_HIDDEN = (16, 32, 64)  # wider weights do not fit into what one program's steps can read fast
_WIDEST = 64  # of the hypernetwork's layers
_MOST_BASES = 16


def fits(hidden: int, counts: Sequence[int], nets: int, like: Tensor) -> bool:
    """Whether there are kernels for walks of networks of this width, on a tensor's device.

    Args:
        hidden: Units of the GRUs.
        counts: Rows at each step; on a GPU, where episodes are padded, as many at every step.
        nets: Networks side by side.
        like: A tensor of the walk.
    """
    return (
        like.device.type == "cuda"
        and like.dtype == torch.float32
        and hidden in _HIDDEN
        and nets <= 2
        and min(counts) == max(counts)
        and library.switched_on()
        and has_triton()
    )


def fits_hypernet(quantiles: int, features: int, bases: int, actions: int) -> bool:
    """Whether there are kernels for a hypernetwork of these widths."""
    return max(quantiles, features, actions) <= _WIDEST and bases <= _MOST_BASES


@functools.cache
def has_triton() -> bool:
    """Whether Triton can compile for the GPU; says why if it is there and cannot."""
    try:
        triton = importlib.import_module("triton")
        triton.runtime.driver.active.get_current_target()  # builds its own C code the first time
    except ImportError:
        return False
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        message = f"Triton is not used: {error}; PyTorch does the same work, more slowly."
        warnings.warn(message, stacklevel=2)
        return False
    return True


def padded(width: int) -> int:
    """The next power of two, from 16: the widths of Triton's products."""
    return max(16, 1 << (width - 1).bit_length())


def grid(rows: int, nets: int = 1) -> tuple[int, int]:
    """Programs: blocks of rows by networks."""
    return -(-rows // BLOCK), nets


def launch(kernel: str, programs: tuple[int, int], *arguments: Any, **constants: Any) -> None:
    """Run a kernel of `walks` on tensors and whole numbers, in its order, on their device."""
    walks = importlib.import_module("rllib_dbf.nets.fused.walks")  # needs Triton
    with torch.cuda.device_of(arguments[0]):
        run = getattr(walks, kernel)[programs]
        run(*arguments, **constants, BLOCK=BLOCK, num_warps=_WARPS, num_stages=1)
