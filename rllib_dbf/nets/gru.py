"""A GRU over whole episodes whose backward pass multiplies matrices once, not once per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class GRUTrace:
    """The steps of a GRU (Cho et al., 2014), kept for the backward pass.

        r, z = σ(x_rz + h W_rzᵀ + b_rz),   n = tanh(x_n + r ∘ (h W_nᵀ + b_n)),   h' = (1-z) n + z h

    Same numbers as `torch.nn.GRU` on a `PackedSequence`. Takes no part in autograd.

    Args:
        hidden: State before the first step.
        weight: Recurrent weights W_hh, gates (G = 3 H) in the order r, z, n.
        bias: Recurrent bias b_hh.
        counts: Rows at each step; never more than at the step before. Row i of a step goes on
            from row i of the step before.
    """

    def __init__(
        self,
        hidden: Float[Tensor, "R H"],
        weight: Float[Tensor, "G H"],
        bias: Float[Tensor, " G"],
        counts: Sequence[int],
    ) -> None:
        size, rows = hidden.shape[1], sum(counts)
        self.counts, self.hidden, self.size = list(counts), hidden, size
        self.bias, self._transposed = bias.detach(), weight.detach().t()
        self.states = hidden.new_empty(rows, size)
        self.gates = hidden.new_empty(rows, 2 * size)
        self.news = hidden.new_empty(rows, size)
        self.recurrent = hidden.new_empty(rows, 3 * size)
        parts = (self.states, self.gates, self.news, self.recurrent)
        self._steps = zip(*(part.split(self.counts) for part in parts), strict=True)
        self._before, self._befores = hidden.detach(), []

    def step(self, x: Float[Tensor, "S G"]) -> Float[Tensor, "S H"]:
        """The states after the next step, given its x W_ihᵀ + b_ih."""
        after, rz, n, h = next(self._steps)
        size, before = self.size, self._before[: len(x)]
        torch.addmm(self.bias, before, self._transposed, out=h)
        torch.add(x[:, : 2 * size], h[:, : 2 * size], out=rz).sigmoid_()
        torch.addcmul(x[:, 2 * size :], rz[:, :size], h[:, 2 * size :], out=n).tanh_()
        torch.lerp(n, before, rz[:, size:], out=after)
        self._befores.append(before)
        self._before = after
        return after

    def states_before(self) -> Float[Tensor, "P H"]:
        """The state from which each row of `states` came."""
        return torch.cat(self._befores)


def gru_sequence(
    projected: Float[Tensor, "P G"],
    hidden: Float[Tensor, "R H"],
    weight: Float[Tensor, "G H"],
    bias: Float[Tensor, " G"],
    counts: Sequence[int],
    trace: GRUTrace | None = None,
) -> Float[Tensor, "P H"]:
    """Hidden states after every step of a GRU, with gradients; `GRUTrace` gives the equations.

    The gradient of the recurrent weights is one product over all steps at the end; PyTorch's CPU
    kernel accumulates it step by step, which costs half as much again on the short, narrow
    sequences of a team.

    Args:
        projected: x W_ihᵀ + b_ih of every row of every step, step after step.
        hidden: State before the first step.
        weight: Recurrent weights W_hh, gates (G = 3 H) in the order r, z, n.
        bias: Recurrent bias b_hh.
        counts: Rows at each step, as in `GRUTrace`.
        trace: All steps on these very inputs, if somebody took them already.
    """
    if trace is None:
        trace = GRUTrace(hidden, weight, bias, counts)
        with torch.no_grad():
            for x in projected.detach().split(trace.counts):
                trace.step(x)
    if not torch.is_grad_enabled():
        return trace.states
    return _GRUSequence.apply(projected, hidden, weight, bias, trace)  # pyright: ignore


class _GRUSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, trace: GRUTrace
    ) -> Tensor:
        before = trace.states_before()
        ctx.save_for_backward(before, trace.gates, trace.news, trace.recurrent, weight)
        ctx.counts, ctx.first_rows = trace.counts, len(hidden)
        return trace.states

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        before, gates, news, recurrent, weight = ctx.saved_tensors
        size = news.shape[-1]
        r, z = gates[:, :size], gates[:, size:]
        # Everything that does not depend on later steps, for all steps at once.
        to_new = (1.0 - z) * (1.0 - news.square())
        to_update = (before - news) * z * (1.0 - z)
        to_reset = recurrent[:, 2 * size :] * r * (1.0 - r)
        grad_x, grad_h = torch.empty_like(recurrent), torch.empty_like(recurrent)
        grad_hidden = news.new_zeros(ctx.first_rows, size)
        total = grad_outputs[0].clone()  # plus, once a step is done, what it owes to later steps
        parts = (total, to_new, to_update, to_reset, r, z, grad_x, grad_h)
        steps = list(zip(*(part.split(ctx.counts) for part in parts), strict=True))
        earlier = [grad_hidden, *(step[0] for step in steps)]
        for (at, new_t, update_t, reset_t, r_t, z_t, gx, gh), into in reversed(
            list(zip(steps, earlier[:-1], strict=True))
        ):
            new = torch.mul(at, new_t, out=gx[:, 2 * size :])
            torch.mul(new, reset_t, out=gh[:, :size])
            torch.mul(at, update_t, out=gh[:, size : 2 * size])
            torch.mul(new, r_t, out=gh[:, 2 * size :])
            into[: len(at)].addcmul_(at, z_t).addmm_(gh, weight)
        grad_x[:, : 2 * size] = grad_h[:, : 2 * size]
        return grad_x, grad_hidden, grad_h.t() @ before, grad_h.sum(dim=0), None
