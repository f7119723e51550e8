"""Over which parameters two task gradients are compared and projected.

The barrier reaches the utility network only, the return loss the mixer too; PCGrad (Yu et al.,
2020) leaves open what then counts as "the" gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

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
    threshold: float = 0.0  # conflict is a cosine below minus this
    decay: float = 0.0  # of the running means that test and projection go by; 0: the gradients now

    def annealed(self, share: float) -> Combining:
        """The same with so much of the barrier's weights left."""
        weight_q, weight_b = self.agreeing
        return self._replace(beta_b=share * self.beta_b, agreeing=(weight_q, share * weight_b))


class Merged(NamedTuple):
    """One gradient per parameter, of the utility network and then of the mixer."""

    gradients: list[Tensor]
    cosine: Float[Tensor, ""]
    conflict: Float[Tensor, ""]  # with scope "per_layer" the fraction of layers in conflict
    norm_ratio: Float[Tensor, ""]


class Averages(NamedTuple):
    """Running means of both gradients, shaped like them."""

    g_q: list[Tensor]
    g_b: list[Tensor]


class RunningGradients:
    """Exponential means of g_Q and g_B over updates, corrected for their start at zero.

    Args:
        decay: Share of the old mean that every update keeps, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._means: list[Tensor] | None = None
        self._updates = 0

    def follow(self, g_q: Sequence[Tensor], g_b: Sequence[Tensor]) -> Averages:
        """Take in the gradients of an update and return the means.

        Gradients that are not finite come back as they are: no step will follow them, and the
        means go on without them.
        """
        latest = [*g_q, *g_b]
        if not bool(torch.stack(torch._foreach_norm(latest)).isfinite().all()):
            return Averages(list(g_q), list(g_b))
        if self._means is None:
            self._means = [torch.zeros_like(g) for g in latest]
        torch._foreach_lerp_(self._means, latest, 1.0 - self.decay)
        self._updates += 1
        means = torch._foreach_div(self._means, 1.0 - self.decay**self._updates)
        return Averages(list(means[: len(g_q)]), list(means[len(g_q) :]))

    def get_state(self) -> dict[str, Any]:
        """The means, for a checkpoint."""
        return {
            "means": self._means and [m.cpu().numpy() for m in self._means],
            "updates": self._updates,
        }

    def set_state(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Restore what `get_state` returned."""
        means = state["means"]
        self._means = means and [torch.tensor(m, device=device) for m in means]
        self._updates = int(state["updates"])


def merge(
    g_q: Sequence[Tensor],
    g_b: Sequence[Tensor],
    layers: Sequence[str],
    how: Combining,
    averages: Averages | None = None,
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
        averages: What test and projection go by; None for the gradients themselves.
    """
    n = len(g_b)
    shared, mixing = list(g_q[:n]), list(g_q[n:])
    if how.scope == "all":
        none = [torch.zeros_like(g) for g in mixing]
        means = averages and Averages(averages.g_q, [*averages.g_b, *none])
        return _merge_vector(list(g_q), [*g_b, *none], how, means)
    means = averages and Averages(averages.g_q[:n], averages.g_b)
    if how.scope == "per_layer":
        merged, beta_q = _merge_layers(shared, list(g_b), layers, how, means), how.agreeing[0]
    else:
        merged = _merge_vector(shared, list(g_b), how, means)
        beta_q = torch.where(merged.conflict > 0, how.beta_q, how.agreeing[0])
    return merged._replace(gradients=merged.gradients + [beta_q * g for g in mixing])


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([x.reshape(-1) for x in tensors])


def _merge_vector(
    g_q: list[Tensor], g_b: list[Tensor], how: Combining, averages: Averages | None
) -> Merged:
    """All of it as one vector."""
    combined: CombinedGradient = COMBINATIONS[how.method](
        _flat(g_q),
        _flat(g_b),
        how.beta_q,
        how.beta_b,
        how.max_ratio,
        agreeing=how.agreeing,
        threshold=how.threshold,
        averages=averages and (_flat(averages.g_q), _flat(averages.g_b)),
    )
    pieces = combined.gradient.split([g.numel() for g in g_q])
    gradients = [x.view_as(g) for x, g in zip(pieces, g_q, strict=True)]
    return Merged(gradients, combined.cosine, combined.conflict, combined.norm_ratio)


def _merge_layers(
    g_q: list[Tensor],
    g_b: list[Tensor],
    layers: Sequence[str],
    how: Combining,
    averages: Averages | None,
) -> Merged:
    """One vector per layer; cosine and norm ratio are those of the whole."""
    whole = _merge_vector(g_q, g_b, how, averages)
    gradients, conflicts = whole.gradients, []
    for layer in dict.fromkeys(layers):
        where = [i for i, name in enumerate(layers) if name == layer]
        means = averages and Averages(*([part[i] for i in where] for part in averages))
        merged = _merge_vector([g_q[i] for i in where], [g_b[i] for i in where], how, means)
        conflicts.append(merged.conflict)
        for i, gradient in zip(where, merged.gradients, strict=True):
            gradients[i] = gradient
    return whole._replace(gradients=gradients, conflict=torch.stack(conflicts).mean())
