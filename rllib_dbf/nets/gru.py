"""GRUs over whole episodes: alike networks side by side, matrices multiplied once backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GRUWeights(NamedTuple):
    """Weights of a GRU cell of H units that reads I numbers; gates (G = 3 H) in the order r, z, n.

    Of V alike networks at once, they carry a leading axis V.
    """

    input: Float[Tensor, "*V G I"]
    recurrent: Float[Tensor, "*V G H"]
    input_bias: Float[Tensor, "*V G"]
    recurrent_bias: Float[Tensor, "*V G"]

    @classmethod
    def of(cls, gru: nn.GRU) -> GRUWeights:
        """The weights of a module with one layer."""
        weights: Any = (gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)
        return cls(*weights)


class _Step(NamedTuple):
    """Where one step of all networks writes to: views [V, S, ·] of the trace's arrays."""

    after: Tensor
    both: Tensor  # gates r and z
    r: Tensor
    z: Tensor
    new: Tensor
    recurrent: Tensor
    recurrent_both: Tensor
    recurrent_new: Tensor


class GRUTrace:
    """The steps of V alike GRUs (Cho et al., 2014) over the same rows, kept for a backward pass.

        r, z = σ(W_rz x + b_rz + U_rz h + c_rz),   n = tanh(W_n x + b_n + r ∘ (U_n h + c_n)),
        h' = (1 - z) n + z h

    Same numbers as `torch.nn.GRU` on a `PackedSequence`. Takes no part in autograd. Steps of a
    team are narrow, so that calls cost more than arithmetic: two networks side by side take
    little longer than one. tanh a = 2 σ(2a) - 1, because PyTorch's σ is eight times as fast on a
    processor; the weights of n are doubled once and for all.

    Args:
        weights: One per network.
        hidden: State before the first step, the same for all networks.
        counts: Rows at each step; never more than at the step before. Row i of a step goes on
            from row i of the step before.
    """

    def __init__(
        self, weights: Sequence[GRUWeights], hidden: Float[Tensor, "R H"], counts: Sequence[int]
    ) -> None:
        self.counts, self.hidden = list(counts), hidden.detach()
        size, rows, nets = hidden.shape[1], sum(self.counts), len(weights)
        stacked = GRUWeights(*(torch.stack([w.detach() for w in each]) for each in zip(*weights)))
        for weight in stacked:
            weight[:, 2 * size :].mul_(2.0)
        self._input, self._input_bias = stacked.input.mT, stacked.input_bias.unsqueeze(1)
        self._recurrent, self._bias = stacked.recurrent.mT, stacked.recurrent_bias.unsqueeze(1)
        self.states = hidden.new_empty(nets, rows, size)
        self.gates = hidden.new_empty(nets, rows, 2 * size)
        self.news = hidden.new_empty(nets, rows, size)
        self.recurrent = hidden.new_empty(nets, rows, 3 * size)
        self.size, self._minus_one = size, hidden.new_full((), -1.0)
        both, new = self.recurrent[..., : 2 * size], self.recurrent[..., 2 * size :]
        r, z = self.gates[..., :size], self.gates[..., size:]
        views = (self.states, self.gates, r, z, self.news, self.recurrent, both, new)
        self._steps = map(_Step._make, zip(*(self._by_step(v) for v in views), strict=True))
        self._before, self._befores = self.hidden.expand(nets, -1, -1), []

    def _by_step(self, rows: Tensor) -> tuple[Tensor, ...]:
        return rows.split(self.counts, dim=1)

    @torch.no_grad()
    def run(self, inputs: Sequence[Float[Tensor, "P I"]]) -> None:
        """All steps, given what each network reads at all of them, step after step."""
        projected = torch.empty_like(self.recurrent)
        for net, x in enumerate(inputs):
            torch.addmm(self._input_bias[net], x, self._input[net], out=projected[net])
        both, new = projected[..., : 2 * self.size], projected[..., 2 * self.size :]
        for x_both, x_new in zip(self._by_step(both), self._by_step(new), strict=True):
            self._advance(x_both, x_new)

    def step(self, inputs: Float[Tensor, "V S I"]) -> Float[Tensor, "V S H"]:
        """The states after the next step, given what each network reads at it."""
        projected = torch.baddbmm(self._input_bias, inputs, self._input)
        return self._advance(projected[..., : 2 * self.size], projected[..., 2 * self.size :])

    def _advance(self, x_both: Tensor, x_new: Tensor) -> Tensor:
        at, before = next(self._steps), self._before[:, : x_new.shape[1]]
        torch.baddbmm(self._bias, before, self._recurrent, out=at.recurrent)
        torch.add(x_both, at.recurrent_both, out=at.both).sigmoid_()
        torch.addcmul(x_new, at.r, at.recurrent_new, out=at.new).sigmoid_()
        torch.add(self._minus_one, at.new, alpha=2.0, out=at.new)
        torch.lerp(at.new, before, at.z, out=at.after)
        self._befores.append(before)
        self._before = at.after
        return at.after

    def states_before(self) -> Float[Tensor, "P H"]:
        """The state from which each row of the first network's `states` came."""
        return torch.cat([before[0] for before in self._befores])

    def differentiable(
        self, inputs: Float[Tensor, "P I"], hidden: Float[Tensor, "R H"], weights: GRUWeights
    ) -> Float[Tensor, "P H"]:
        """The first network's states, with gradients to what they were made of.

        The gradient of a weight is one product over all steps; PyTorch's CPU kernel adds it up
        step by step, which costs half as much again on short, narrow sequences.
        """
        return _GRUSequence.apply(inputs, hidden, *weights, self)  # pyright: ignore


class _GRUSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        hidden: Tensor,
        weight: Tensor,
        recurrent_weight: Tensor,
        bias: Tensor,
        recurrent_bias: Tensor,
        trace: GRUTrace,
    ) -> Tensor:
        kept = trace.states_before(), trace.gates[0], trace.news[0], trace.recurrent[0]
        ctx.save_for_backward(*kept, inputs, weight, recurrent_weight)
        ctx.counts, ctx.first_rows = trace.counts, len(hidden)
        return trace.states[0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        before, gates, news, recurrent, inputs, weight, recurrent_weight = ctx.saved_tensors
        rows, size = news.shape
        r, z = gates[:, :size], gates[:, size:]
        # A state's gradient times these is the gradient of its step's r, z and U_n h + c_n.
        to_new = (1.0 - z) * (1.0 - news.square())
        factors = torch.empty_like(recurrent).view(rows, 3, size)
        torch.mul(to_new, r, out=factors[:, 2])
        torch.mul(before - news, z * (1.0 - z), out=factors[:, 1])
        torch.mul(recurrent[:, 2 * size :], (1.0 - r).mul_(0.5), out=factors[:, 0])  # held doubled
        factors[:, 0].mul_(factors[:, 2])
        grad_h = torch.empty_like(recurrent)
        total = grad_outputs[0].clone()  # plus, once a step is done, what it owes to later steps
        grad_hidden = news.new_zeros(ctx.first_rows, size)
        parts = (total, total.unsqueeze(1), factors, z, grad_h.view(rows, 3, size), grad_h)
        steps = list(zip(*(part.split(ctx.counts) for part in parts), strict=True))
        earlier = [grad_hidden, *(step[0] for step in steps[:-1])]
        for (at, each, factor, z_t, out, flat), into in zip(
            reversed(steps), reversed(earlier), strict=True
        ):
            torch.mul(each, factor, out=out)
            if len(at) < len(into):
                into = into[: len(at)]
            into.addcmul_(at, z_t).addmm_(flat, recurrent_weight)
        grad_x = torch.empty_like(grad_h)
        grad_x[:, : 2 * size] = grad_h[:, : 2 * size]
        torch.mul(total, to_new, out=grad_x[:, 2 * size :])
        wants = ctx.needs_input_grad
        return (
            grad_x @ weight if wants[0] else None,
            grad_hidden if wants[1] else None,
            grad_x.t() @ inputs,
            grad_h.t() @ before,
            grad_x.sum(dim=0),
            grad_h.sum(dim=0),
            None,
        )
