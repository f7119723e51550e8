"""A factored hypernetwork's input layer backwards on a GPU; its walk is part of `TritonTrace`."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.nets.compiled.hypernet import HypernetWeights
from rllib_dbf.nets.fused.launches import by_rows, padded


def fused_inputs(
    prepared: Float[Tensor, "P CH"], net: HypernetWeights, kept: tuple[Tensor, ...]
) -> Float[Tensor, "P H"]:
    """What the layer gave in its walk, with gradients to what it was made of.

    Args:
        prepared: What the layer makes of the inputs alone.
        net: Of the layer.
        kept: Arrays of `layer_widths`, as the walk left them.
    """
    weights = net.first, net.first_bias, net.second, net.second_bias, net.bias
    return _FusedInputs.apply(prepared, *weights, kept)  # pyright: ignore


class _FusedInputs(torch.autograd.Function):
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
    ) -> Tensor:
        ctx.save_for_backward(prepared, second, *kept)
        return kept[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        prepared, second, inputs, small, features, mix = ctx.saved_tensors
        (rows, hidden), (bases, width) = inputs.shape, second.shape
        arrays = second, prepared, inputs, features, mix, grad_outputs[0]
        arrays = tuple(array.contiguous() for array in arrays)
        found = [torch.empty_like(each) for each in (arrays[1], inputs, mix, features)]
        sizes = {"H": hidden, "F": width, "C": bases, "FP": padded(width)}
        by_rows("hypernet_back", rows, *arrays, *found, **sizes)
        grad_prepared, opened, of_mix, of_features = found
        return (
            grad_prepared,
            of_features.t() @ small,
            of_features.sum(dim=0),
            of_mix.t() @ features,
            of_mix.sum(dim=0),
            opened.sum(dim=0),
            None,
        )
