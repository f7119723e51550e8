"""Return quantiles of implicit quantile heads in compiled code; PyTorch's but for rounding."""

from __future__ import annotations

from ctypes import Structure, byref
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rllib_dbf.compiled.calls import LANES, Call, fields, fits, require_actions, require_shape

_MOST_FRACTIONS, _MOST_COSINES = 64, 256  # their features lie on the stack,
_MOST_WEIGHTS = 262_144  # and so do the weights of the actions


class HeadWeights(NamedTuple):
    """Of an implicit quantile head: F cosines, H units, A actions."""

    phi: Float[Tensor, "H F"]
    phi_bias: Float[Tensor, " H"]
    out: Float[Tensor, "A H"]
    out_bias: Float[Tensor, " A"]

    def fit(self, fractions: int) -> bool:
        """Whether there is compiled code for these sizes."""
        sizes = self.phi.shape
        return (
            fractions <= _MOST_FRACTIONS
            and sizes[1] <= _MOST_COSINES
            and self.out.numel() <= _MOST_WEIGHTS
            and fits(*sizes, like=self.phi)
        )


class _Head(Structure):
    _fields_ = fields("agents actions padded fractions hidden cosines", "phi phi_bias out out_bias")


class _Kept(Structure):
    _fields_ = fields("", "cosines phi")


class _Judged(Structure):
    _fields_ = fields("", "tau hidden rows actions q z")


class _Back(Structure):
    _fields_ = fields("", "grad states hidden weighted features phi phi_bias out out_bias")


def quantiles(
    hidden: Float[Tensor, "P N H"],
    tau: Float[Tensor, "P K"],
    actions: Int[Tensor, "M N"],
    weights: HeadWeights,
    origins: Int[Tensor, " M"] | None = None,
    wants_means: bool = True,
) -> tuple[Float[Tensor, "M N K"], Float[Tensor, "P N A"] | None]:
    """Quantiles of chosen actions at some states, and every action's mean over τ at all states.

    Args:
        hidden: States of the agents.
        tau: Fractions, which the agents share.
        actions: Those chosen, at the states `origins`; at all states if there are none.
        weights: Of the head.
        origins: Increasing positions of states.
        wants_means: Whether the means are asked for; they carry no gradient.

    Raises:
        IndexError: If there is no such action.
        ValueError: If shapes differ.
    """
    require_actions(actions, len(weights.out))
    return _Quantiles.apply(hidden, tau, actions, origins, wants_means, *weights)  # pyright: ignore


def _head(call: Call, agents: int, fractions: int, weights: HeadWeights) -> _Head:
    hidden, cosines = weights.phi.shape
    actions = len(weights.out)
    sizes = agents, actions, actions + -actions % LANES, fractions, hidden, cosines
    return _Head(*sizes, *map(call.pointer, weights))


class _Quantiles(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        tau: Tensor,
        actions: Tensor,
        origins: Tensor | None,
        wants_means: bool,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        net, call, empty = HeadWeights(*weights), Call(), hidden.new_empty
        (states, agents, size), fractions, rows = hidden.shape, tau.shape[1], len(actions)
        require_shape("hidden", hidden, states, agents, len(net.phi))
        require_shape("tau", tau, states, fractions)
        require_shape("actions", actions, states if origins is None else len(origins), agents)
        z = empty(rows, agents, fractions)
        q = empty(states, agents, len(net.out)) if wants_means else None
        row_of = None
        if origins is not None:
            row_of = origins.new_full((states,), -1)
            row_of[origins] = torch.arange(rows)
        kept = [None, None]
        if any(ctx.needs_input_grad):
            kept = [empty(rows, fractions, n) for n in (net.phi.shape[1], size)]
        of = _Judged(*map(call.pointer, (tau, hidden, row_of, actions, q, z)))
        head = _head(call, agents, fractions, net)
        parts = byref(head), byref(of), byref(_Kept(*map(call.pointer, kept)))
        call("judge", states, *parts, torch.get_num_threads())
        ctx.save_for_backward(hidden, actions, origins, *kept, *weights)
        if q is not None:
            ctx.mark_non_differentiable(q)
        return z, q

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden, actions, origins, *kept = ctx.saved_tensors[:5]
        net, call, empty = HeadWeights(*ctx.saved_tensors[5:]), Call(), hidden.new_empty
        (rows, agents, fractions), size = grad_outputs[0].shape, hidden.shape[-1]
        found = [torch.empty_like(each) for each in net]
        of_hidden = torch.empty_like(hidden) if origins is None else torch.zeros_like(hidden)
        room = empty(rows, agents, size), empty(rows, fractions, size)
        arrays = grad_outputs[0], origins, of_hidden, *room, *found
        of = _Judged(*map(call.pointer, (None, hidden, None, actions, None, None)))
        head, back = _head(call, agents, fractions, net), _Back(*map(call.pointer, arrays))
        parts = byref(head), byref(of), byref(_Kept(*map(call.pointer, kept))), byref(back)
        call("judge_backward", rows, *parts, torch.get_num_threads())
        return of_hidden, None, None, None, None, *found
