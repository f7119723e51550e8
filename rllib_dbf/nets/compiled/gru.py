"""GRUs over whole episodes in compiled code; same numbers as `GRUTrace` but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_int64, c_void_p
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.compiled.calls import Call, fields, require_shape
from rllib_dbf.nets.compiled.hypernet import (
    Hypernet,
    HypernetWeights,
    Layer,
    hypernet_inputs,
    layer_widths,
)
from rllib_dbf.nets.gru import GRUWeights

_BYTES = 4  # of a float32


class _Walk(Structure):
    _fields_ = [("steps", c_int64), ("nets", c_int64), ("counts", POINTER(c_int64))]


class _Trace(Structure):
    _fields_ = fields("", "states gates recurrent_new")


class _Backward(Structure):
    _fields_ = fields(
        "",
        "weight recurrent inputs hidden grad grad_gates grad_new grad_inputs grad_hidden "
        "grad_weight grad_recurrent grad_bias grad_recurrent_bias",
    )


class Gru(Structure):
    """A GRU as the C functions read it."""

    _fields_ = fields("hidden", "input recurrent bias new_bias")

    @classmethod
    def of(cls, call: Call, weights: GRUWeights) -> Gru:
        """The weights of now."""
        gates, size = weights.recurrent.shape
        require_shape("input weights", weights.input, gates, size)
        parts = size * gates, size * gates, gates, size
        room = weights.recurrent.new_empty(sum(parts))
        Call()("gru_turn", size, *weights, room)
        starts = accumulate((_BYTES * part for part in parts[:-1]), initial=call.pointer(room))
        return cls(size, *starts)


class CompiledTrace:
    """The steps of V alike GRUs over the same rows; see `GRUTrace`, which takes them in PyTorch.

    Args:
        weights: One per network.
        hidden: State before the first step, the same for all networks.
        counts: Rows at each step; never more than at the step before.
        learns: Keep what a backward pass through the first network needs.
    """

    def __init__(
        self,
        weights: Sequence[GRUWeights],
        hidden: Float[Tensor, "R H"],
        counts: Sequence[int],
        learns: bool,
    ) -> None:
        self.hidden, self._weights = hidden.detach(), weights
        self._counts = (c_int64 * len(counts))(*counts)
        self._walk = _Walk(len(counts), len(weights), self._counts)
        rows, size = sum(counts), hidden.shape[1]
        require_shape("hidden", hidden, counts[0], size)
        self.states = hidden.new_empty(len(weights), rows, size)
        self._learns, self._layer = learns, ()
        self._gates = hidden.new_empty(rows, 3 * size) if learns else None
        self._recurrent_new = hidden.new_empty(rows, size) if learns else None

    @torch.no_grad()
    def run(self, inputs: Sequence[Float[Tensor, "P H"]]) -> None:
        """All steps, given what each network reads at all of them."""
        call = Call()
        for x in inputs:
            require_shape("inputs", x, *self.states.shape[1:])
        read = _pointers(call, inputs)
        grus, traces = self._grus(call), self._traces(call)
        walk, threads = byref(self._walk), torch.get_num_threads()
        call("gru_walk", walk, grus, read, self.hidden, traces, threads)

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
        call, rows = Call(), self.states.shape[1]
        for net, x in zip(nets, prepared, strict=True):
            require_shape("prepared", x, rows, len(net.second) * self.states.shape[2])
            require_shape("avail", avail, rows, len(net.out_bias))
            require_shape("quantiles", quantiles, len(self.hidden), net.first.shape[1])
        entering = [quantiles.new_empty(len(avail), quantiles.shape[1]) for _ in nets]
        for each in entering:
            each[: len(quantiles)] = quantiles
        hypernets = (Hypernet * len(nets))(*(Hypernet.of(call, net) for net in nets))
        read, remembered = _pointers(call, prepared), _pointers(call, entering)
        grus, traces = self._grus(call), self._traces(call)
        if self._learns:
            self._layer = tuple(quantiles.new_empty(rows, width) for width in layer_widths(nets[0]))
        kept = byref(Layer(*map(call.pointer, self._layer))) if self._learns else None
        arrays = hypernets, read, avail, self.hidden, remembered, traces, kept
        call("hypernet_walk", byref(self._walk), grus, *arrays, torch.get_num_threads())

    def hypernet_inputs(
        self, prepared: Float[Tensor, "P CH"], net: HypernetWeights
    ) -> Float[Tensor, "P H"]:
        """What the first GRU read, with gradients to its input layer."""
        return hypernet_inputs(prepared, net, self._layer)

    def _grus(self, call: Call) -> Any:
        return (Gru * len(self._weights))(*(Gru.of(call, each) for each in self._weights))

    def _traces(self, call: Call) -> Any:
        made = [_Trace(call.pointer(states), None, None) for states in self.states]
        made[0] = self._first_trace(call)
        return (_Trace * len(made))(*made)

    def _first_trace(self, call: Call) -> _Trace:
        return _Trace(*map(call.pointer, (self.states[0], self._gates, self._recurrent_new)))

    def differentiable(
        self, inputs: Float[Tensor, "P H"], hidden: Float[Tensor, "R H"], weights: GRUWeights
    ) -> Float[Tensor, "P H"]:
        """The first network's states, with gradients to what they were made of."""
        return _CompiledSequence.apply(inputs, hidden, *weights, self)  # pyright: ignore

    def gradients(
        self,
        inputs: Float[Tensor, "P H"],
        hidden: Float[Tensor, "R H"],
        weight: Float[Tensor, "G H"],
        recurrent_weight: Float[Tensor, "G H"],
        grad: Float[Tensor, "P H"],
        wants_inputs: bool,
    ) -> tuple[Tensor | None, ...]:
        """Gradients of inputs, first states, weights and biases, given those of all states."""
        call, rows, size = Call(), *inputs.shape
        empty = inputs.new_empty
        found = (
            empty(rows, size) if wants_inputs else None,
            torch.empty_like(self.hidden),
            empty(3 * size, size),
            empty(3 * size, size),
            empty(3 * size),
            empty(3 * size),
        )
        room = empty(rows, 3 * size), empty(rows, size)
        arrays = weight, recurrent_weight, inputs, hidden, grad, *room, *found
        backward = _Backward(*map(call.pointer, arrays))
        trace, threads = byref(self._first_trace(call)), torch.get_num_threads()
        call("gru_backward", byref(self._walk), size, trace, byref(backward), threads)
        return found


class _CompiledSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        hidden: Tensor,
        weight: Tensor,
        recurrent_weight: Tensor,
        bias: Tensor,
        recurrent_bias: Tensor,
        trace: CompiledTrace,
    ) -> Tensor:
        ctx.save_for_backward(inputs, hidden, weight, recurrent_weight)
        ctx.trace = trace
        return trace.states[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        wants = ctx.needs_input_grad[0]
        found = ctx.trace.gradients(*ctx.saved_tensors, grad_outputs[0], wants)
        return (*found, None)


def _pointers(call: Call, tensors: Sequence[Tensor]) -> Any:
    return (c_void_p * len(tensors))(*(call.pointer(tensor.detach()) for tensor in tensors))
