"""A factored hypernetwork's input layer in compiled code; its walk is part of `CompiledTrace`."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import Structure, byref
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.compiled.calls import LANES, Call, fields


class HypernetWeights(NamedTuple):
    """What a factored hypernetwork's layer and the quantiles that it reads are made of.

    M quantiles, F features, C bases, A actions; `mean` gives expected utilities of hidden states.
    """

    first: Float[Tensor, "F M"]
    first_bias: Float[Tensor, " F"]
    second: Float[Tensor, "C F"]
    second_bias: Float[Tensor, " C"]
    bias: Float[Tensor, " H"]
    mean: Float[Tensor, "A H"]
    out: Float[Tensor, "A H"]
    out_bias: Float[Tensor, " A"]
    phi: Float[Tensor, "M H"]


class Hypernet(Structure):
    """Such a layer as the C functions read it."""

    _fields_ = fields(
        "quantiles features bases actions padded_actions",
        "first first_bias second second_bias bias mean mean_bias out out_bias phi",
    )

    @classmethod
    def of(cls, call: Call, weights: HypernetWeights) -> Hypernet:
        """The weights of now."""
        net = HypernetWeights(*(weight.detach() for weight in weights))
        features, quantiles = net.first.shape
        actions = len(net.out_bias)
        missing = -actions % LANES
        mean = F.pad(net.mean, (0, 0, 0, missing)).t()
        mean_bias = F.pad(net.out_bias, (0, missing))
        sizes = quantiles, features, len(net.second), actions, actions + missing
        first = net.first.t(), net.first_bias, net.second, net.second_bias, net.bias
        head = mean, mean_bias, net.out, net.out_bias, net.phi.t()
        return cls(*sizes, *map(call.pointer, first + head))


class Layer(Structure):
    """What a layer that learns keeps of its walk."""

    _fields_ = fields("", "inputs small features mix")


def layer_widths(net: HypernetWeights) -> tuple[int, ...]:
    """Of what a learning layer keeps: inputs of the GRU, asinh z, features, coefficients."""
    features, quantiles = net.first.shape
    return len(net.bias), quantiles, features, len(net.second)


class _HypernetBack(Structure):
    _fields_ = fields(
        "hidden quantiles features bases",
        "second prepared inputs small feature mix grad grad_prepared open of_mix of_features "
        "first first_bias second_grad second_bias bias",
    )


def hypernet_inputs(
    prepared: Float[Tensor, "P CH"],
    net: HypernetWeights,
    kept: tuple[Tensor, ...],
    backwards: Callable[..., tuple[Tensor, ...]] | None = None,
) -> Float[Tensor, "P H"]:
    """What the layer gave in its walk, with gradients to what it was made of.

    Args:
        prepared: What the layer makes of the inputs alone.
        net: Of the layer.
        kept: Arrays of `layer_widths`, as the walk left them.
        backwards: Gives the gradients of `prepared` and of the layer's weights from that of the
            result, `prepared`, `first`, `second` and `kept`; compiled code if not given.
    """
    weights = net.first, net.first_bias, net.second, net.second_bias, net.bias
    how = backwards or _backwards
    return _HypernetInputs.apply(prepared, *weights, kept, how)  # pyright: ignore


class _HypernetInputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        prepared: Tensor,
        first: Tensor,
        first_bias: Tensor,
        second: Tensor,
        second_bias: Tensor,
        bias: Tensor,
        kept: tuple[Tensor, ...],
        backwards: Callable[..., tuple[Tensor, ...]],
    ) -> Tensor:
        ctx.save_for_backward(prepared, first, second, *kept)
        ctx.backwards = backwards
        return kept[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*ctx.backwards(grad_outputs[0], *ctx.saved_tensors), None, None)


def _backwards(
    grad: Tensor, prepared: Tensor, first: Tensor, second: Tensor, *kept: Tensor
) -> tuple[Tensor, ...]:
    (features, quantiles), bases, (rows, hidden) = first.shape, len(second), kept[0].shape
    call, empty = Call(), prepared.new_empty
    room = empty(rows, hidden), empty(rows, bases), empty(rows, features)
    made = empty(features), empty(bases, features), empty(bases), empty(hidden)
    found = torch.empty_like(prepared), torch.empty_like(first), *made
    arrays = second, prepared, *kept, grad, found[0], *room, *found[1:]
    sizes = hidden, quantiles, features, bases
    back = _HypernetBack(*sizes, *map(call.pointer, arrays))
    call("hypernet_backward", rows, byref(back), torch.get_num_threads())
    return found
