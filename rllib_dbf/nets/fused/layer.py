"""A factored hypernetwork's input layer backwards on a GPU; its walk is part of `TritonTrace`."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.nets.fused.launches import by_rows, padded


def backwards(
    grad: Float[Tensor, "P H"],
    prepared: Float[Tensor, "P CH"],
    first: Float[Tensor, "F M"],
    second: Float[Tensor, "C F"],
    inputs: Float[Tensor, "P H"],
    small: Float[Tensor, "P M"],
    features: Float[Tensor, "P F"],
    mix: Float[Tensor, "P C"],
) -> tuple[Tensor, ...]:
    """Gradients of `prepared` and of the layer's weights; see `hypernet_inputs`."""
    (rows, hidden), (bases, width) = inputs.shape, second.shape
    arrays = second, prepared, inputs, features, mix, grad
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
    )
