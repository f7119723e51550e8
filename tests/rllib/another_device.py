"""A second device on a machine that has none: its tensors compute on the CPU and do not say so.

What mixes the two devices fails as it would on a GPU, so that a test can show that an update does
not. Torch's own hooks for backends written in Python make the device known to autograd.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from ray.rllib.core.learner.torch import torch_learner
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

NAME = "elsewhere"
DEVICE = f"{NAME}:0"

_ops: Any = torch.ops.aten
_COPIES = {_ops._to_copy.default, _ops.copy_.default, _ops._foreach_copy_.default}
_SIZES_DEPEND = {
    _ops._local_scalar_dense.default,
    _ops.nonzero.default,
    _ops.masked_select.default,
    _ops.repeat_interleave.Tensor,
}
_TAKE_CPU_INDICES = {_ops.index.Tensor, _ops.index_put.default, _ops.index_put_.default}


class DevicesMixedError(RuntimeError):
    """An operation was given tensors of both devices."""


class ElsewhereTensor(torch.Tensor):
    """Holds a CPU tensor (`raw`) and says that it is elsewhere."""

    @staticmethod
    def __new__(cls, raw: torch.Tensor):
        return torch.Tensor._make_wrapper_subclass(  # pyright: ignore
            cls,
            raw.shape,
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=DEVICE,
        )

    def __init__(self, raw: torch.Tensor) -> None:
        self.raw = raw

    def __tensor_flatten__(self):
        return ["raw"], None

    @staticmethod
    def __tensor_unflatten__(inner, _context, _size, _stride):
        return ElsewhereTensor(inner["raw"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Made(TorchDispatchMode):
    """Lets `torch.zeros(…, device="elsewhere")` and `.to("elsewhere")` work."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


_copies = 0  # from the CPU to the other device
_waits = 0  # of the CPU for the other device


@contextlib.contextmanager
def copies_counted() -> Iterator[Callable[[], int]]:
    """How many copies to the other device were made since this was entered."""
    before = _copies
    yield lambda: _copies - before


@contextlib.contextmanager
def waits_counted() -> Iterator[Callable[[], int]]:
    """How many numbers of the other device were asked for since this was entered."""
    before = _waits
    yield lambda: _waits - before


def _is_wait(func: Any, args: Any, stays: bool) -> bool:
    """What a GPU cannot do without telling something first: a number, its own data, a size."""
    if func in _COPIES:
        return not stays
    return func in _SIZES_DEPEND or (
        func is _ops.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
    )


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, ElsewhereTensor)]
    _refuse_mixtures(func, args, there, tensors)
    to = kwargs.get("device")
    if to is not None:
        kwargs = kwargs | {"device": "cpu"}
        stays = torch.device(to).type == NAME
    else:
        stays = isinstance(args[0], ElsewhereTensor) if func in _COPIES else bool(there)
    if func in _COPIES and stays and len(there) < len(tensors):
        global _copies
        _copies += 1
    if there and _is_wait(func, args, stays):
        global _waits
        _waits += 1
    out = func(*tree_map(_raw, args), **tree_map(_raw, kwargs))
    if there and not stays and isinstance(out, torch.Tensor) and out is there[0].raw:
        return out.clone()  # `.cpu()` of what is on a CPU would be the tensor itself
    if stays:
        out = tree_map(lambda x: ElsewhereTensor(x) if isinstance(x, torch.Tensor) else x, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if there and stays else out


def _refuse_mixtures(func: Any, args: Any, there: list, tensors: list) -> None:
    if not there or func in _COPIES:
        return
    if func in _TAKE_CPU_INDICES and isinstance(args[0], ElsewhereTensor):
        return
    here = [tuple(x.shape) for x in tensors if not isinstance(x, ElsewhereTensor) and x.dim()]
    if here:
        raise DevicesMixedError(f"{func} got CPU tensors of shape {here} beside {DEVICE}'s")


def _raw(x: Any) -> Any:
    return x.raw if isinstance(x, ElsewhereTensor) else x


class _CPUGenerator(torch.Generator):
    def __new__(cls, device: Any = "cpu") -> torch.Generator:
        return super().__new__(cls)


class _Backend(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@cache
def _register() -> None:
    backend_registration._setup_privateuseone_for_python_backend(NAME, _Backend())


@contextlib.contextmanager
def learner_elsewhere() -> Iterator[None]:
    """Learners that are built and used within live elsewhere, as with `num_gpus_per_learner=1`.

    Torch lets nobody write a generator for a device in Python: draws take the CPU's.
    """
    _register()
    move = torch_learner.TorchLearner._map_module_to_device

    def swapping(self: Any, module: Any) -> None:
        torch.__future__.set_swap_module_params_on_conversion(True)  # data of another class
        try:
            move(self, module)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)

    with (
        patch.object(torch_learner, "get_device", lambda *_: torch.device(DEVICE)),
        patch.object(torch_learner.TorchLearner, "_map_module_to_device", swapping),
        patch.object(torch, "Generator", _CPUGenerator),
        _Made(),
    ):
        yield
