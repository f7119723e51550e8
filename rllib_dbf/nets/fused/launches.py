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

WARPS = 8  # of a program that walks
_BLOCKS = 4, 8  # least and greatest number of rows that walk together
_HIDDEN = (16, 32, 64)  # weights of wider GRUs do not fit into registers
_WIDEST, _MOST_BASES = 64, 8  # nor do those of wider layers around them


def fits(hidden: int, counts: Sequence[int], nets: int, like: Tensor) -> bool:
    """Whether there are kernels for walks of alike GRUs, on a tensor's device.

    Args:
        hidden: Units of each.
        counts: Rows at each step; on a GPU, where episodes are padded, as many at every step.
        nets: GRUs side by side.
        like: A tensor of the walk.
    """
    return (
        like.device.type == "cuda"
        and like.dtype == torch.float32
        and hidden in _HIDDEN
        and nets <= 2
        and 0 < min(counts) == max(counts)
        and library.switched_on()
        and has_triton()
    )


def fits_hypernet(quantiles: int, features: int, bases: int, actions: int) -> bool:
    """Whether there are kernels for a hypernetwork of these widths."""
    return max(quantiles, features, actions) <= _WIDEST and bases <= _MOST_BASES


@functools.cache
def has_triton() -> bool:
    """Whether Triton can compile for the GPU; warns if it is there and cannot."""
    try:
        driver = importlib.import_module("triton.runtime").driver
        driver.active.get_current_target()  # the first time builds C code of its own
    except ImportError:
        return False
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        message = f"Triton is not used: {error}; PyTorch does the same work, more slowly."
        warnings.warn(message, stacklevel=2)
        return False
    return True


def padded(width: int, least: int = 16) -> int:
    """The next power of two: Triton's arrays have no other widths."""
    return max(least, 1 << (width - 1).bit_length())


def walk(name: str, rows: int, steps: int, nets: int, *tensors: Tensor, **sizes: int) -> None:
    """Run a kernel that walks over `steps` steps of as many rows, for every network.

    The fewer rows a program has the shorter are its steps, as long as all programs run at once.
    """
    block = _BLOCKS[0]
    while -(-rows // block) * nets > _processors(tensors[0]) and block < _BLOCKS[1]:
        block *= 2
    counts = rows, steps, 0  # the last is `zero`
    _launch(
        name, (-(-rows // block), nets), *tensors, *counts, BLOCK=block, num_warps=WARPS, **sizes
    )


def by_rows(name: str, rows: int, *tensors: Tensor, **sizes: int) -> None:
    """Run a kernel that looks at each row by itself."""
    _launch(name, (-(-rows // 16), 1), *tensors, rows, BLOCK=16, num_warps=4, **sizes)


def _launch(name: str, programs: tuple[int, int], *arguments: Any, **constants: int) -> None:
    with torch.cuda.device_of(arguments[0]):
        _kernel(name)[programs](*arguments, **constants, num_stages=1)


@functools.cache
def _kernel(name: str) -> Any:
    """Imported when it is needed, as that needs Triton."""
    module = "backwards" if name.endswith("back") else "walks"
    return getattr(importlib.import_module(f"rllib_dbf.nets.fused.{module}"), name)


def _processors(like: Tensor) -> int:
    """Programs that run at the same time."""
    if not like.is_cuda:
        return 1
    return torch.cuda.get_device_properties(like.device).multi_processor_count
