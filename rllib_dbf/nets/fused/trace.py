"""GRUs over whole episodes on a GPU, one launch a walk; `GRUTrace`'s numbers but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.compiled.calls import require_shape
from rllib_dbf.nets.compiled.hypernet import HypernetWeights, hypernet_inputs, layer_widths
from rllib_dbf.nets.fused.launches import padded, walk
from rllib_dbf.nets.fused.layer import backwards
from rllib_dbf.nets.gru import GRUWeights


class TritonTrace:
    """The steps of one or two alike GRUs over the same rows; see `GRUTrace`.

    Args:
        weights: One per network.
        hidden: State before the first step, the same for all networks.
        counts: Rows at each step, which are as many at every step.
        learns: Keep what a backward pass through the first network needs.

    Raises:
        ValueError: If there are more networks, or if steps have different numbers of rows.
    """

    def __init__(
        self,
        weights: Sequence[GRUWeights],
        hidden: Float[Tensor, "R H"],
        counts: Sequence[int],
        learns: bool,
    ) -> None:
        self.hidden, self._weights = hidden.detach().contiguous(), weights
        self._rows, self._steps = counts[0], len(counts)
        if len(weights) > 2 or any(count != self._rows for count in counts):
            raise ValueError(
                f"{len(weights)} networks and {min(counts)} to {max(counts)} rows at a step were "
                "given; one or two networks and as many rows at every step are needed, or GRUTrace"
            )
        rows, size = self._rows * self._steps, hidden.shape[1]
        require_shape("hidden", hidden, self._rows, size)
        self.states = hidden.new_empty(len(weights), rows, size)
        self._learns, self.hypernet_layer = learns, ()
        kept = rows if learns else 0
        self._gates = hidden.new_empty(kept, 3 * size)
        self._recurrent_new = hidden.new_empty(kept, size)

    @torch.no_grad()
    def run(self, inputs: Sequence[Float[Tensor, "P I"]]) -> None:
        """All steps, given what each network reads at all of them."""
        nets, rows, size = self.states.shape
        projected = self.hidden.new_empty(nets, rows, 3 * size)
        for x, out, each in zip(inputs, projected, self._weights, strict=True):
            require_shape("inputs", x, rows, each.input.shape[1])
            torch.addmm(each.input_bias, x, each.input.t(), out=out)
        weights = _packed([(each.recurrent, each.recurrent_bias) for each in self._weights])
        arrays = weights, projected, self.hidden, *self._made()
        counts = self._rows, self._steps, nets
        walk("gru_walk", *counts, *arrays, H=size, LEARNS=self._learns)

    @torch.no_grad()
    def run_hypernets(
        self,
        nets: Sequence[HypernetWeights],
        prepared: Sequence[Float[Tensor, "P CH"]],
        avail: Bool[Tensor, "P A"],
        quantiles: Float[Tensor, "R M"],
    ) -> None:
        """All steps behind input layers that read the greedy action's quantiles.

        Args:
            nets: Layers and heads, one per network.
            prepared: What each layer makes of the inputs alone.
            avail: Available actions.
            quantiles: Those remembered before the first step.
        """
        rows, size = self.states.shape[1:]
        net = nets[0]
        (features, width), bases, actions = net.first.shape, len(net.second), len(net.mean)
        for x in prepared:
            require_shape("prepared", x, rows, bases * size)
        require_shape("avail", avail, rows, actions)
        require_shape("quantiles", quantiles, self._rows, width)
        weights = _packed([(*gru, *each) for gru, each in zip(self._weights, nets, strict=True)])
        read = [x.detach().contiguous() for x in (prepared[0], prepared[-1])]
        seen = avail.contiguous().view(torch.uint8), self.hidden, quantiles.contiguous()
        kept = rows if self._learns else 0
        self.hypernet_layer = tuple(quantiles.new_empty(kept, n) for n in layer_widths(net))
        arrays = weights, *read, *seen, *self._made(), *self.hypernet_layer
        sizes = {"H": size, "M": width, "F": features, "C": bases, "A": actions}
        sizes |= {"MP": padded(width), "FP": padded(features), "CP": padded(bases, least=1)}
        sizes |= {"AP": padded(actions), "LEARNS": self._learns}
        counts = self._rows, self._steps, len(nets)
        walk("hypernet_walk", *counts, *arrays, **sizes)

    def hypernet_inputs(
        self, prepared: Float[Tensor, "P CH"], net: HypernetWeights
    ) -> Float[Tensor, "P H"]:
        """What the first GRU read, with gradients to its input layer."""
        return hypernet_inputs(prepared, net, self.hypernet_layer, backwards)

    def differentiable(
        self, inputs: Float[Tensor, "P I"], hidden: Float[Tensor, "R H"], weights: GRUWeights
    ) -> Float[Tensor, "P H"]:
        """The first network's states, with gradients to what they were made of."""
        return _TritonSequence.apply(inputs, hidden, *weights, self)  # pyright: ignore

    def _made(self) -> tuple[Tensor, ...]:
        return self.states, self._gates, self._recurrent_new

    def gradients(
        self,
        inputs: Float[Tensor, "P I"],
        weight: Float[Tensor, "G I"],
        recurrent_weight: Float[Tensor, "G H"],
        grad: Float[Tensor, "P H"],
        wants_inputs: bool,
    ) -> tuple[Tensor | None, ...]:
        """Gradients of inputs, first states, weights and biases, given those of all states."""
        states, size, first = self.states[0], grad.shape[1], self._rows
        grad_gates, grad_hidden = grad.new_empty(len(grad), 4 * size), torch.empty_like(self.hidden)
        made = states, self.hidden, self._gates, self._recurrent_new
        arrays = recurrent_weight.contiguous(), grad.contiguous(), *made, grad_gates, grad_hidden
        walk("gru_walk_back", first, self._steps, 1, *arrays, H=size)
        # Of n, r, z and U_n h + c_n: those of either weight stand side by side.
        of_inputs, of_states = grad_gates[:, : 3 * size], grad_gates[:, size:]
        of_recurrent = of_states[:first].t() @ self.hidden
        of_recurrent.addmm_(of_states[first:].t(), states[:-first])
        biases = grad_gates.sum(dim=0)
        return (
            of_inputs @ weight.roll(size, 0) if wants_inputs else None,
            grad_hidden,
            (of_inputs.t() @ inputs).roll(-size, 0),
            of_recurrent,
            biases[: 3 * size].roll(-size, 0),
            biases[size:],
        )


class _TritonSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        hidden: Tensor,
        weight: Tensor,
        recurrent_weight: Tensor,
        bias: Tensor,
        recurrent_bias: Tensor,
        trace: TritonTrace,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, recurrent_weight)
        ctx.trace = trace
        return trace.states[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        wants = ctx.needs_input_grad[0]
        found = ctx.trace.gradients(*ctx.saved_tensors, grad_outputs[0], wants)
        return (*found, None)


def _packed(weights: Sequence[Sequence[Tensor]]) -> Float[Tensor, "V W"]:
    """Each network's weights one after the other: one copy, and one pointer for a kernel."""
    flat = [weight.detach().flatten() for each in weights for weight in each]
    return torch.cat(flat).view(len(weights), -1)
