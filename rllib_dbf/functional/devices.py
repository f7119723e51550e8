"""Which form of a computation suits which device."""

from __future__ import annotations

import torch

WIDE = {"cuda"}


def is_wide(device: torch.device) -> bool:
    """Whether a device takes as long for one number as for thousands.

    There padding costs nothing, a product over all steps no more than a single step, and equal
    shapes can be recorded; a processor is quicker with the fewest numbers.
    """
    return device.type in WIDE
