"""A GRU over whole episodes whose backward pass multiplies matrices once, not once per step."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def gru_sequence(
    projected: Float[Tensor, "T R G"],
    hidden: Float[Tensor, "R H"],
    weight: Float[Tensor, "G H"],
    bias: Float[Tensor, " G"],
) -> Float[Tensor, "T R H"]:
    """Hidden states after every step of a GRU (Cho et al., 2014; gates as in `torch.nn.GRU`).

        r, z = σ(x_rz + h W_rzᵀ + b_rz),   n = tanh(x_n + r ∘ (h W_nᵀ + b_n)),   h' = (1-z) n + z h

    Same numbers as `torch.nn.GRU`. The gradient of the recurrent weights is one product over all
    steps at the end; PyTorch's CPU kernel accumulates it step by step, which costs half as much
    again on the short, narrow sequences of a team.

    Args:
        projected: x W_ihᵀ + b_ih of every step, gates (G = 3 H) in the order r, z, n.
        hidden: State before the first step.
        weight: Recurrent weights W_hh.
        bias: Recurrent bias b_hh.
    """
    return _GRUSequence.apply(projected, hidden, weight, bias)  # pyright: ignore


class _GRUSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        steps, rows, size = projected.shape[0], *hidden.shape
        states = projected.new_empty(steps + 1, rows, size)
        gates = projected.new_empty(steps, rows, 2 * size)
        news = projected.new_empty(steps, rows, size)
        recurrent = projected.new_empty(steps, rows, 3 * size)
        states[0] = hidden
        transposed = weight.t()
        loop = zip(
            projected.unbind(), states[:-1].unbind(), states[1:].unbind(), gates.unbind(),
            news.unbind(), recurrent.unbind(), strict=True,
        )  # fmt: skip
        for x, before, after, rz, n, h in loop:
            torch.addmm(bias, before, transposed, out=h)
            torch.add(x[:, : 2 * size], h[:, : 2 * size], out=rz).sigmoid_()
            torch.addcmul(x[:, 2 * size :], rz[:, :size], h[:, 2 * size :], out=n).tanh_()
            torch.lerp(n, before, rz[:, size:], out=after)
        ctx.save_for_backward(states, gates, news, recurrent, weight)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        states, gates, news, recurrent, weight = ctx.saved_tensors
        size = news.shape[-1]
        r, z = gates[..., :size], gates[..., size:]
        # Everything that does not depend on later steps, for all steps at once.
        to_new = (1.0 - z) * (1.0 - news.square())
        to_update = (states[:-1] - news) * z * (1.0 - z)
        to_reset = recurrent[..., 2 * size :] * r * (1.0 - r)
        grad_x = torch.empty_like(recurrent)
        grad_h = torch.empty_like(recurrent)
        carry = torch.zeros_like(states[0])
        for t in range(len(news) - 1, -1, -1):
            total = grad_outputs[0][t] + carry
            gx, gh = grad_x[t], grad_h[t]
            new = torch.mul(total, to_new[t], out=gx[:, 2 * size :])
            torch.mul(new, to_reset[t], out=gh[:, :size])
            torch.mul(total, to_update[t], out=gh[:, size : 2 * size])
            torch.mul(new, r[t], out=gh[:, 2 * size :])
            carry = torch.addmm(total.mul_(z[t]), gh, weight)
        grad_x[..., : 2 * size] = grad_h[..., : 2 * size]
        flat = grad_h.flatten(0, 1)
        grad_weight = flat.t() @ states[:-1].flatten(0, 1)
        return grad_x, carry, grad_weight, flat.sum(dim=0)
