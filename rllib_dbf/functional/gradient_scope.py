"""Over which parameters two task gradients are compared and projected.

The barrier reaches the utility network only, the return loss the mixer too; PCGrad (Yu et al.,
2020) leaves open what then counts as "the" gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.functional.gradients import COMBINATIONS, CombinedGradient

Scope = Literal["shared", "all", "per_layer"]
SCOPES: tuple[Scope, ...] = ("shared", "all", "per_layer")


class Combining(NamedTuple):
    """How two gradients become one."""

    method: str  # a name in COMBINATIONS
    scope: Scope
    beta_q: float
    beta_b: float
    agreeing: tuple[float, float]  # (β_Q, β_B) where g_Q · g_B ≥ 0
    max_ratio: float


class Merged(NamedTuple):
    """One gradient per parameter, of the utility network and then of the mixer."""

    gradients: list[Tensor]
    cosine: Float[Tensor, ""]
    conflict: Float[Tensor, ""]  # with scope "per_layer" the fraction of layers in conflict
    norm_ratio: Float[Tensor, ""]


def merge(
    g_q: Sequence[Tensor], g_b: Sequence[Tensor], layers: Sequence[str], how: Combining
) -> Merged:
    """Combine the gradient of the return with that of the barrier.

    Scopes: "shared" takes dot product, norms and projection over the utility network; the mixer
    gets β_Q g_Q, with β_Q of the case met there. "all" takes them over every parameter, the
    barrier's gradient being 0 on the mixer, as the reference code of PCGrad does. "per_layer"
    combines each layer of the utility network by itself; the mixer gets β_Q g_Q of agreement.

    Args:
        g_q: Gradients of the utility network's parameters, then of the mixer's.
        g_b: Gradients of the utility network's parameters alone.
        layers: The layer that each parameter of the utility network belongs to.
        how: Combination, scope and weights.
    """
    n = len(g_b)
    shared, mixing = list(g_q[:n]), list(g_q[n:])
    if how.scope == "all":
        return _merge_vector(list(g_q), [*g_b, *map(torch.zeros_like, mixing)], how)
    if how.scope == "per_layer":
        merged, beta_q = _merge_layers(shared, list(g_b), layers, how), how.agreeing[0]
    else:
        merged = _merge_vector(shared, list(g_b), how)
        beta_q = torch.where(merged.conflict > 0, how.beta_q, how.agreeing[0])
    return merged._replace(gradients=merged.gradients + [beta_q * g for g in mixing])


def _combine(g_q: Tensor, g_b: Tensor, how: Combining) -> CombinedGradient:
    return COMBINATIONS[how.method](
        g_q, g_b, how.beta_q, how.beta_b, how.max_ratio, agreeing=how.agreeing
    )


def _merge_vector(g_q: list[Tensor], g_b: list[Tensor], how: Combining) -> Merged:
    """All of it as one vector."""
    flat_q, flat_b = (torch.cat([x.reshape(-1) for x in g]) for g in (g_q, g_b))
    combined = _combine(flat_q, flat_b, how)
    pieces = combined.gradient.split([g.numel() for g in g_q])
    gradients = [x.view_as(g) for x, g in zip(pieces, g_q, strict=True)]
    return Merged(gradients, combined.cosine, combined.conflict, combined.norm_ratio)


def _merge_layers(
    g_q: list[Tensor], g_b: list[Tensor], layers: Sequence[str], how: Combining
) -> Merged:
    """One vector per layer; cosine and norm ratio are those of the whole."""
    whole = _merge_vector(g_q, g_b, how)
    gradients, conflicts = whole.gradients, []
    for layer in dict.fromkeys(layers):
        where = [i for i, name in enumerate(layers) if name == layer]
        merged = _merge_vector([g_q[i] for i in where], [g_b[i] for i in where], how)
        conflicts.append(merged.conflict)
        for i, gradient in zip(where, merged.gradients, strict=True):
            gradients[i] = gradient
    return whole._replace(gradients=gradients, conflict=torch.stack(conflicts).mean())
