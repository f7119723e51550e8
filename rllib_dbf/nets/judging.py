"""What a head says of states and of the actions taken there, in one go."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rllib_dbf.nets.compiled.quantiles import quantiles
from rllib_dbf.nets.compiled.values import has_values, values
from rllib_dbf.nets.heads import ExpectedHead, ImplicitQuantileHead


def judge(
    head: Any,
    hidden: Float[Tensor, "P N H"],
    tau: Float[Tensor, "P _ K"],
    actions: Int[Tensor, "M N"],
    origins: Int[Tensor, " M"] | slice | None = None,
    wants_means: bool = True,
) -> tuple[Float[Tensor, "M N K"], Float[Tensor, "P N A"] | None]:
    """Return quantiles of chosen actions, and what is expected of every action at every state.

    The latter carries no gradient.

    Args:
        head: Of `HEADS`.
        hidden: States of the agents.
        tau: Fractions.
        actions: Those chosen at the states `origins`, or at all states.
        origins: Increasing positions of states.
        wants_means: Whether the expectations are asked for.
    """
    if isinstance(head, ImplicitQuantileHead):
        weights = head.compiled_weights(tau)
        if weights is not None:
            places = _numbers(origins, len(hidden))
            return quantiles(hidden, tau.squeeze(1), actions, weights, places, wants_means)
    elif type(head) is ExpectedHead and has_values(hidden, head.out.bias):
        places = _numbers(origins, len(hidden))
        return values(hidden, actions, head.out.weight, head.out.bias, places, wants_means)
    phi, q = head.embed(tau), None
    if wants_means:
        with torch.no_grad():
            q = head.mean(hidden, tau, phi)
    if isinstance(origins, slice):
        hidden, tau, phi = hidden[origins], tau[origins], None if phi is None else phi[origins]
    elif origins is not None:
        hidden, tau = hidden.index_select(0, origins), tau.index_select(0, origins)
        phi = None if phi is None else phi.index_select(0, origins)
    return head.at(hidden, actions, tau, phi), q


def _numbers(origins: Tensor | slice | None, states: int) -> Tensor | None:
    """Positions as numbers."""
    return torch.arange(states)[origins] if isinstance(origins, slice) else origins
