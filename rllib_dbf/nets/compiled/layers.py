"""Layers without memory in compiled code, and in PyTorch where there is none for them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.compiled.calls import LANES, Call, fits

# Multiplications from which a compiled product is worth the call: below it, PyTorch's is as fast.
_LARGE = 4_000_000


def linear(
    x: Float[Tensor, "*L I"], weight: Float[Tensor, "J I"], bias: Float[Tensor, " J"] | None = None
) -> Float[Tensor, "*L J"]:
    """`torch.nn.functional.linear`; compiled where the product is large.

    PyTorch's own product does not use AVX-512 on AMD's processors.
    """
    outputs, inputs = weight.shape
    learns = x.requires_grad and torch.is_grad_enabled()
    large = x.numel() * outputs >= _LARGE
    fitting = x.shape[-1] == inputs
    if not (large and fitting and fits(outputs, *([inputs] if learns else []), like=x)):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, inputs)
    return _Linear.apply(rows, weight, bias).view(*x.shape[:-1], outputs)  # pyright: ignore


class Linear(nn.Linear):
    """`torch.nn.Linear`; compiled where the product is large."""

    def forward(self, input: Float[Tensor, "*L I"]) -> Float[Tensor, "*L J"]:
        """The map of each row."""
        return linear(input, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        (rows, inputs), outputs = x.shape, len(weight)
        y = x.new_empty(rows, outputs)
        arrays = x, weight.t(), bias, y
        Call()("linear", rows, inputs, outputs, *arrays, torch.get_num_threads())
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (rows, inputs), outputs = x.shape, len(weight)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight)
        grad_bias = x.new_empty(outputs) if ctx.has_bias else None
        room = x.new_empty(inputs, outputs)
        arrays = x, weight, grad_outputs[0], grad_x, grad_weight, grad_bias, room
        Call()("linear_backward", rows, inputs, outputs, *arrays, torch.get_num_threads())
        return grad_x, grad_weight, grad_bias


def mixture(
    mix: Float[Tensor, "*L C"], bases: Float[Tensor, "*L CH"], bias: Float[Tensor, " H"]
) -> Float[Tensor, "*L H"]:
    """Σ_c mix_c bases_c + bias, where the C bases of a row stand one after the other."""
    if bases.shape[-1] != mix.shape[-1] * len(bias) or not fits(len(bias), like=bases):
        bases = bases.unflatten(-1, (mix.shape[-1], -1))  # [*L, C, H]
        # Not a batched matmul: thousands of 1 x C products, four times slower.
        return (mix.unsqueeze(-1) * bases).sum(dim=-2) + bias
    rows = mix.reshape(-1, mix.shape[-1]), bases.reshape(-1, bases.shape[-1])
    return _Mixture.apply(*rows, bias).view(*mix.shape[:-1], len(bias))  # pyright: ignore


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mix: Tensor, bases: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(mix, bases)
        y = bases.new_empty(len(mix), len(bias))
        sizes, threads = (*mix.shape, len(bias)), torch.get_num_threads()
        Call()("mixture", *sizes, mix, bases, bias, y, threads)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        mix, bases = ctx.saved_tensors
        width = grad_outputs[0].shape[1]
        found = torch.empty_like(mix), torch.empty_like(bases), mix.new_empty(width)
        sizes, threads = (*mix.shape, width), torch.get_num_threads()
        Call()("mixture_backward", *sizes, mix, bases, grad_outputs[0], *found, threads)
        return found


def cosines(tau: Float[Tensor, "*L"], harmonics: Float[Tensor, " W"]) -> Float[Tensor, "*L W"]:
    """cos(π k τ) for the whole numbers k = 0 … W - 1 in `harmonics`; no gradient."""
    waves = len(harmonics)
    if tau.numel() * waves < LANES * LANES or not fits(waves, like=tau):
        # Not harmonics times π in a buffer: rounded to float32, it would cap float64 at 1e-8.
        return torch.cos((math.pi * tau).unsqueeze(-1) * harmonics)
    out = tau.new_empty(*tau.shape, waves)
    Call()("cosines", tau.numel(), waves, tau, out, torch.get_num_threads())
    return out
