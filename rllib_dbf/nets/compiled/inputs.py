"""What a linear layer makes of agents' inputs, in compiled code; their one-hots are never made."""

from __future__ import annotations

from ctypes import Structure, byref
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rllib_dbf.compiled.calls import Call, fields, require_shape


class _Inputs(Structure):
    _fields_ = fields("rows agents obs actions units names_agents rectify", "x last weight bias")


def look(
    obs: Float[Tensor, "P N O"],
    last_actions: Int[Tensor, "P N"],
    weight: Float[Tensor, "U I"],
    bias: Float[Tensor, " U"] | None,
    n_actions: int,
    names_agents: bool,
    rectify: bool,
) -> Float[Tensor, "PN U"]:
    """A linear map of what `AgentInputs` builds, with gradients to weight and bias.

    Args:
        obs: Observations, which get no gradient.
        last_actions: The action before each state, -1 for none.
        weight: Its columns belong to the observation, to `n_actions` actions, and to the agents if
            `names_agents`. U is a multiple of 16.
        bias: Of the map.
        n_actions: 0 if the last action is no input.
        names_agents: Whether the agent's number is one.
        rectify: Put a ReLU behind it.
    """
    how = n_actions, names_agents, rectify
    return _Look.apply(obs, last_actions.long(), weight, bias, *how)  # pyright: ignore


def _inputs(call: Call, tensors: tuple[Tensor | None, ...], how: tuple[int, ...]) -> _Inputs:
    obs, weight = tensors[0], tensors[2]
    assert obs is not None and weight is not None
    n_actions, names_agents, rectify = how
    states, agents, size = obs.shape
    sizes = states * agents, agents, size, n_actions, len(weight), names_agents, rectify
    return _Inputs(*sizes, *map(call.pointer, tensors))


class _Look(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        obs: Tensor,
        last_actions: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *how: int,
    ) -> Tensor:
        (states, agents, size), units, call = obs.shape, len(weight), Call()
        width = size + how[0] + agents * how[1]
        require_shape("weight", weight, units, width)
        require_shape("last_actions", last_actions, states, agents)
        y = obs.new_empty(states * agents, units)
        ctx.room = (width + (how[0] + 1) * agents) * units
        inputs = _inputs(call, (obs, last_actions, weight, bias), how)
        call("look", byref(inputs), obs.new_empty(ctx.room), y, torch.get_num_threads())
        ctx.save_for_backward(obs, last_actions, weight, bias, y)
        ctx.how = how
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, y = ctx.saved_tensors
        weight, bias = tensors[2:]
        call, grad = Call(), torch.empty_like(weight, memory_format=torch.contiguous_format)
        grad_bias = None if bias is None else torch.empty_like(bias)
        inputs = _inputs(call, tuple(tensors), ctx.how)
        open_ = torch.empty_like(y) if ctx.how[2] else None
        arrays = y, grad_outputs[0], open_, y.new_empty(ctx.room), grad, grad_bias
        call("look_backward", byref(inputs), *arrays, torch.get_num_threads())
        return None, None, grad, grad_bias, *[None] * len(ctx.how)
