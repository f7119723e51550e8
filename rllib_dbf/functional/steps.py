"""The norm of gradients and Adam's step along them in compiled code; PyTorch's but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Array, Structure, byref, c_double, c_int64, c_void_p
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from rllib_dbf.compiled.calls import Call, require_shape
from rllib_dbf.functional import compiled

_PLAIN = {"weight_decay": 0, "amsgrad": False, "maximize": False, "differentiable": False}


class _Adam(Structure):
    _fields_ = [(name, c_double) for name in ("lr", "beta1", "beta2", "eps", "scale")]


def fits(tensors: Sequence[Tensor]) -> bool:
    """Whether there is compiled code for so many tensors of their type and device."""
    return compiled.fits(*tensors, on_stack=len(tensors))


def norm(tensors: Sequence[Tensor]) -> Float[Tensor, ""]:
    """The Euclidean norm of all their numbers together."""
    call, out = Call(), torch.empty(())
    call("norm_of", len(tensors), _sizes(tensors), _places(call, tensors), out)
    return out


def has_adam(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> bool:
    """Whether there is compiled code for an optimiser's step of these parameters.

    Not before its first step, which makes what it remembers.
    """
    if type(optimizer) is not torch.optim.Adam or len(optimizer.param_groups) != 1:
        return False
    group = optimizer.param_groups[0]
    if any(group[name] != value for name, value in _PLAIN.items()):
        return False
    if len(parameters) != len(group["params"]) or not fits(parameters):
        return False
    remembered = (part for p in parameters for part in optimizer.state.get(p, {}).values())
    found = [x.is_contiguous() and x.is_cpu for x in remembered]
    whole = all(found) and len(found) == 3 * len(parameters)
    return whole and all(x.is_contiguous() for x in parameters)


def adam(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    gradients: Sequence[Tensor],
    scale: float,
) -> None:
    """Step along `scale` times the gradients: Kingma & Ba (2015), algorithm 1.

    Raises:
        ValueError: If a gradient has another shape than its parameter.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        require_shape("gradient", gradient, *parameter.shape)
    group, call = optimizer.param_groups[0], Call()
    states = [optimizer.state[p] for p in parameters]
    remembered = ([s[name] for s in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    arrays = [_places(call, each) for each in (parameters, gradients, *remembered)]
    how = _Adam(float(group["lr"]), *group["betas"], group["eps"], scale)
    sizes = _sizes(parameters)
    call("adam", len(parameters), sizes, *arrays, byref(how), torch.get_num_threads())
    increment_version(parameters)  # who keeps what follows from them looks at it


def _sizes(tensors: Sequence[Tensor]) -> Array[Any]:
    return (c_int64 * len(tensors))(*(x.numel() for x in tensors))


def _places(call: Call, tensors: Sequence[Tensor]) -> Array[Any]:
    return (c_void_p * len(tensors))(*map(call.pointer, tensors))
