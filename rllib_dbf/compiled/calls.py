"""Calling compiled layers with tensors."""

from __future__ import annotations

from ctypes import c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from rllib_dbf.compiled import library

LANES = 16  # as in lanes.h: widths of layers are multiples of it
_WIDEST = 1024  # what a block of rows computes lies on the stack
_TYPES = (torch.float32, torch.int64, torch.bool)


def fields(numbers: str, arrays: str) -> list[tuple[str, Any]]:
    """Of a C structure: names of whole numbers, and after them of arrays."""
    whole, pointers = ((name, c_int64) for name in numbers.split()), arrays.split()
    return [*whole, *((name, c_void_p) for name in pointers)]


def fits(*widths: int, like: Tensor) -> bool:
    """Whether there is compiled code for layers of these widths on a tensor's device."""
    return (
        like.device.type == "cpu"
        and like.dtype == torch.float32
        and all(0 < width <= _WIDEST and width % LANES == 0 for width in widths)
        and library.library().functions is not None
    )


def require_shape(name: str, tensor: Tensor, *shape: int) -> None:
    """Refuse what C would read past the end of.

    Raises:
        ValueError: If the shape is another one.
    """
    if tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, and {shape} is needed")


def require_actions(actions: Tensor, count: int) -> None:
    """Refuse numbers of actions that there are not.

    Raises:
        IndexError: If one is not in [0, count).
    """
    if Call()("all_below", actions.numel(), actions, count):
        return
    least, greatest = actions.aminmax()
    raise IndexError(
        f"actions from {int(least)} to {int(greatest)} were given; there are 0 to {count - 1}"
    )


class Call:
    """One call of a function: tensors become pointers and live until it is over."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def pointer(self, tensor: Tensor | None) -> int | None:
        """Where a tensor's numbers lie, row after row; None stays.

        Raises:
            TypeError: If they are of another type than C reads, or not in the processor's memory.
        """
        if tensor is None:
            return None
        if tensor.dtype not in _TYPES or not tensor.is_cpu:
            allowed = ", ".join(map(str, _TYPES))
            raise TypeError(
                f"compiled layers were given {tensor.dtype} on {tensor.device}, and take {allowed} "
                f"on cpu; convert it, or set {library.SWITCH}=0"
            )
        tensor = tensor.contiguous()
        self._kept.append(tensor)
        return tensor.data_ptr()

    def __call__(self, name: str, *arguments: object) -> int:
        """Call a function with structures, and with tensors or None for pointers, in its order.

        Whole numbers are int64_t. What it returns counts where that is an int.
        """
        functions = library.library().functions
        assert functions is not None, "ask `fits` first"
        return getattr(functions, name)(*map(self._argument, arguments))

    def _argument(self, given: object) -> object:
        if given is None or isinstance(given, Tensor):
            return c_void_p(self.pointer(given))
        return c_int64(given) if isinstance(given, int) else given
