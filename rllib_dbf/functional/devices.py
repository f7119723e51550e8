"""Which form of a computation suits which device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

WIDE = {"cuda"}


def is_wide(device: torch.device) -> bool:
    """Whether a device takes as long for one number as for thousands.

    There padding costs nothing, a product over all steps no more than a single step, and equal
    shapes can be recorded; a processor is quicker with the fewest numbers.
    """
    return device.type in WIDE


def current(device: torch.device) -> AbstractContextManager[None]:
    """In here a GPU is the one that kernels and recordings are started on.

    The process may have others, and the first is it unless told otherwise.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
