"""Tensors that lie side by side in one block of memory, so that one copy sends them all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor

Shape = tuple[Sequence[int], torch.dtype]

_ALIGNMENT = 16  # bytes


def in_one_block(shapes: Sequence[Shape], pinned: bool) -> list[Tensor]:
    """New tensors in one block.

    Args:
        shapes: Of each, and its type.
        pinned: In page-locked memory, from which a GPU fetches while the processor goes on.
    """
    size = sum(_room(shape, kind) for shape, kind in shapes)
    return views_of(torch.empty(size, dtype=torch.uint8, pin_memory=pinned), shapes)


def views_of(block: UInt8[Tensor, " bytes"], shapes: Sequence[Shape]) -> list[Tensor]:
    """The tensors of a block that `in_one_block` has laid out."""
    starts = accumulate((_room(shape, kind) for shape, kind in shapes), initial=0)
    return [
        block[start : start + math.prod(shape) * kind.itemsize].view(kind).view(tuple(shape))
        for (shape, kind), start in zip(shapes, starts, strict=False)
    ]


def _room(shape: Sequence[int], kind: torch.dtype) -> int:
    size = math.prod(shape) * kind.itemsize
    return size + -size % _ALIGNMENT


def moved(tensors: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors of the processor on another device, sent there together."""
    here = list(tensors)
    block = block_of(here, device).to(device, non_blocking=True)
    return views_of(block, [(x.shape, x.dtype) for x in here])


def fetched(tensors: Mapping[str, Tensor]) -> dict[str, ndarray]:
    """Tensors of a device as arrays, in one copy for each type: every copy waits for the device."""
    found: dict[str, ndarray] = {}
    for kind in {x.dtype for x in tensors.values()}:
        alike = {name: x.detach() for name, x in tensors.items() if x.dtype == kind}
        flat = torch.cat([x.flatten() for x in alike.values()]).cpu().numpy()
        stops = np.cumsum([x.numel() for x in alike.values()])
        parts = zip(alike.items(), np.split(flat, stops[:-1]), strict=True)
        found |= {name: part.reshape(x.shape) for (name, x), part in parts}
    return {name: found[name] for name in tensors}


def overwrite(earlier: Sequence[Tensor], tensors: Iterable[Tensor]) -> None:
    """Put tensors of the processor where earlier ones of the same shapes lie, sent by `moved`."""
    there = _whole(earlier[0])
    there.copy_(block_of(list(tensors), there.device), non_blocking=True)


def block_of(tensors: Sequence[Tensor], device: torch.device) -> UInt8[Tensor, " bytes"]:
    """The bytes of the block in which tensors lie, or of a new one if they lie apart.

    Many copies to a device cost more than their bytes do.
    """
    if _lies_in_block(tensors):
        return _whole(tensors[0])
    new = in_one_block([(x.shape, x.dtype) for x in tensors], pinned=device.type == "cuda")
    for to, x in zip(new, tensors, strict=True):
        to.copy_(x)
    return _whole(new[0])


def _lies_in_block(tensors: Sequence[Tensor]) -> bool:
    """Whether `in_one_block` made them, and they are not parts of what it made."""
    rooms = [_room(x.shape, x.dtype) for x in tensors]
    storage = tensors[0].untyped_storage()
    begins = storage.data_ptr()
    return storage.nbytes() == sum(rooms) and all(
        x.data_ptr() - begins == start and x.is_contiguous()
        for x, start in zip(tensors, accumulate(rooms, initial=0), strict=False)
    )


def _whole(x: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=x.device).set_(x.untyped_storage())
