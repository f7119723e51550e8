"""QMIX's mixing network in compiled code; same numbers as in PyTorch but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, byref
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.compiled.calls import Call, fields, require_shape

_FIRST = "first_w1 first_w2 first_b1 first_v"
_BIASES = "bias_w1 bias_w2 bias_b1 bias_v"
_SECOND = "w1 w1_bias w2 w2_bias value value_bias"


class _Mixing(Structure):
    _fields_ = fields("agents embed hidden state", f"{_FIRST} {_BIASES} {_SECOND}")


class _Gradients(Structure):
    _fields_ = fields("", f"z {_FIRST} {_BIASES} {_SECOND}")


def mix(
    z: Float[Tensor, "R N"], state: Float[Tensor, "R S"], weights: Sequence[Tensor]
) -> Float[Tensor, " R"]:
    """ELU(z |W₁| + b₁) |W₂| + v, with gradients to z and the weights, none to the state.

    E units that mix and D hidden units, both multiples of 16.

    Args:
        z: Utilities of the N agents.
        state: As the mixer sees it.
        weights: Of the layers that read the state, for W₁ and W₂ [D, S] and for b₁ and v [E, S];
            their four biases; then weights and biases of the second layers, of W₁ [N E, D], of
            W₂ [E, D] and of v [1, E].
    """
    return _Mix.apply(z, state, *weights)  # pyright: ignore


def _network(call: Call, agents: int, weights: Sequence[Tensor]) -> _Mixing:
    (hidden, state), embed = weights[0].shape, len(weights[2])
    return _Mixing(agents, embed, hidden, state, *map(call.pointer, weights))


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, state: Tensor, *weights: Tensor) -> Tensor:
        (rows, agents), call = z.shape, Call()
        net = _network(call, agents, weights)
        require_shape("state", state, rows, net.state)
        require_shape("weights of W₁", weights[8], agents * net.embed, net.hidden)
        units = 2 * net.hidden + 2 * net.embed  # of the first layers
        made = z.new_empty(rows, units + (agents + 2) * net.embed)
        turned = z.new_empty((net.state + 1) * units + net.hidden * (agents + 1) * net.embed)
        out = z.new_empty(rows)
        arrays = z, state, made, turned, out
        call("mix", rows, byref(net), *arrays, torch.get_num_threads())
        ctx.save_for_backward(z, state, made, *weights)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        z, state, made, *weights = ctx.saved_tensors
        (rows, agents), call = z.shape, Call()
        net = _network(call, agents, weights)
        found = [torch.empty_like(each) for each in (z, *weights)]
        gradients = _Gradients(*map(call.pointer, found))
        room = z.new_empty(net.state * (2 * net.hidden + 2 * net.embed))
        arrays = z, state, made, grad_outputs[0], torch.empty_like(made), room, byref(gradients)
        call("mix_backward", rows, byref(net), *arrays, torch.get_num_threads())
        return found[0], None, *found[1:]
