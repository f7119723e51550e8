"""Expected utilities of linear heads in compiled code; PyTorch's but for rounding."""

from __future__ import annotations

from ctypes import Structure, byref
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rllib_dbf.compiled.calls import LANES, Call, fields, fits, require_actions, require_shape


class _Values(Structure):
    _fields_ = fields("states agents actions hidden chosen", "x origins taken out bias")


_MOST_ACTIONS = 1024  # their scores lie on the stack, block by block


def has_values(hidden: Float[Tensor, "P N H"], bias: Float[Tensor, " A"]) -> bool:
    """Whether there is compiled code for such states and as many actions."""
    return len(bias) <= _MOST_ACTIONS and fits(hidden.shape[-1], like=hidden)


def values(
    hidden: Float[Tensor, "P N H"],
    actions: Int[Tensor, "M N"],
    weight: Float[Tensor, "A H"],
    bias: Float[Tensor, " A"],
    origins: Int[Tensor, " M"] | None = None,
    wants_all: bool = True,
) -> tuple[Float[Tensor, "M N 1"], Float[Tensor, "P N A"] | None]:
    """Values of chosen actions at some states, and every action's at all states.

    Args:
        hidden: States of the agents.
        actions: Those chosen, at the states `origins`; at all states if there are none.
        weight: Of the head.
        bias: Of the head.
        origins: Increasing positions of states.
        wants_all: Whether every action's value is asked for; they carry no gradient.

    Raises:
        IndexError: If there is no such action.
        ValueError: If shapes differ.
    """
    require_actions(actions, len(bias))
    z, q = _ChosenValues.apply(hidden, actions, origins, wants_all, weight, bias)  # pyright: ignore
    return z.unsqueeze(-1), q


def _values(
    call: Call, hidden: Tensor, actions: Tensor, origins: Tensor | None, *weights: Tensor
) -> _Values:
    sizes = *hidden.shape[:2], len(weights[0]), hidden.shape[2], len(actions)
    return _Values(*sizes, *map(call.pointer, (hidden, origins, actions, *weights)))


class _ChosenValues(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        actions: Tensor,
        origins: Tensor | None,
        wants_all: bool,
        weight: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        (states, agents, size), count, call = hidden.shape, len(bias), Call()
        require_shape("weight", weight, count, size)
        require_shape("actions", actions, states if origins is None else len(origins), agents)
        of = _values(call, hidden, actions, origins, weight, bias)
        z, q, room = hidden.new_empty(actions.shape), None, None
        if wants_all:
            q = hidden.new_empty(states, agents, count)
            room = hidden.new_empty((size + 1) * (count + LANES - 1))
        call("values", byref(of), room, q, z, torch.get_num_threads())
        ctx.save_for_backward(hidden, actions, origins, weight, bias)
        if q is not None:
            ctx.mark_non_differentiable(q)
        return z, q

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden, actions, origins, *weights = ctx.saved_tensors
        call = Call()
        of_hidden, *found = (torch.empty_like(x) for x in (hidden, *weights))
        of = _values(call, hidden, actions, origins, *weights)
        arrays = grad_outputs[0], of_hidden, *found
        call("values_backward", byref(of), *arrays, torch.get_num_threads())
        return of_hidden, None, None, None, *found
