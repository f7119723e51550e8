"""How the gradients of the return loss and of the barrier loss become one.

Both arrive as one flat vector, over parameters that `gradient_scope` chooses, so that dot products
and norms are those of the whole vector.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.registry import Registry

TINY = 1e-12  # a barrier gradient below this norm has no direction to project against

COMBINATIONS: Registry = Registry("gradients")


class CombinedGradient(NamedTuple):
    """The gradient to step along, and how the two parts met."""

    gradient: Float[Tensor, " P"]
    cosine: Float[Tensor, ""]  # of the angle between g_Q and g_B, 0 if either vanishes
    conflict: Float[Tensor, ""]  # 1 if g_Q · g_B < 0 (before any projection), else 0
    norm_ratio: Float[Tensor, ""]  # |g_B| / |g_Q|


Averages = tuple[Float[Tensor, " P"], Float[Tensor, " P"]]
"""Running means of g_Q and g_B, which stand for them in test and projection."""


class _Meeting(NamedTuple):
    """How two gradients meet, guarded against division by zero."""

    mean_q: Tensor  # what test and projection go by: g_Q, or its average
    mean_b: Tensor
    norm_q: Tensor
    norm_b: Tensor
    conflict: Tensor
    cosine: Tensor


def _meet(g_q: Tensor, g_b: Tensor, threshold: float, averages: Averages | None) -> _Meeting:
    """Test and projection; without averages the vectors are their own."""
    mean_q, mean_b = averages or (g_q, g_b)
    size_q, size_b = (torch.linalg.vector_norm(m).clamp(min=TINY) for m in (mean_q, mean_b))
    cosine = (torch.dot(mean_q, mean_b) / size_q / size_b).clamp(-1.0, 1.0)
    norm_q, norm_b = torch.linalg.vector_norm(g_q), torch.linalg.vector_norm(g_b)
    conflict = (cosine < -threshold) & (norm_q >= TINY) & (norm_b >= TINY)
    return _Meeting(mean_q, mean_b, norm_q, norm_b, conflict, cosine)


def _across(gradient: Tensor, direction: Tensor, conflict: Tensor) -> Tensor:
    """The gradient without its component along a direction, where there is a conflict."""
    square = torch.linalg.vector_norm(direction).clamp(min=TINY).square()
    return gradient - torch.where(conflict, gradient.dot(direction) / square, 0.0) * direction


def _weights(
    meeting: _Meeting, conflicting: tuple[float, float], agreeing: tuple[float, float] | None
) -> tuple[Any, Any]:
    """β_Q and β_B of the case that was met."""
    if agreeing is None or agreeing == conflicting:
        return conflicting
    q, b = (torch.where(meeting.conflict, *pair) for pair in zip(conflicting, agreeing))
    return q, b


def _report(gradient: Tensor, meeting: _Meeting) -> CombinedGradient:
    ratio = meeting.norm_b / meeting.norm_q.clamp(min=TINY)
    return CombinedGradient(gradient, meeting.cosine, meeting.conflict.to(gradient.dtype), ratio)


@COMBINATIONS.register("sum")
def combine_sum(
    g_q: Float[Tensor, " P"],
    g_b: Float[Tensor, " P"],
    beta_q: float = 0.5,
    beta_b: float = 0.5,
    max_ratio: float = math.inf,
    agreeing: tuple[float, float] | None = None,
    threshold: float = 0.0,
    averages: Averages | None = None,
) -> CombinedGradient:
    """β_Q g_Q + β_B g_B; `max_ratio` is ignored.

    In all combinations `agreeing` is (β_Q, β_B) where the two do not conflict, None for the same as
    in conflict; they conflict where their cosine is below -`threshold`; and with `averages` it is
    those whose cosine is tested and along which is projected. A gradient then loses its component
    along the other's average whatever its sign, so that what is lost is linear in the gradient and
    noise is not rectified.
    """
    meeting = _meet(g_q, g_b, threshold, averages)
    beta_q, beta_b = _weights(meeting, (beta_q, beta_b), agreeing)
    return _report(beta_q * g_q + beta_b * g_b, meeting)


@COMBINATIONS.register("pcgrad")
def pcgrad(
    g_q: Float[Tensor, " P"],
    g_b: Float[Tensor, " P"],
    beta_q: float = 0.5,
    beta_b: float = 0.5,
    max_ratio: float = math.inf,
    agreeing: tuple[float, float] | None = None,
    threshold: float = 0.0,
    averages: Averages | None = None,
) -> CombinedGradient:
    """Each gradient loses its component against the other (DBF paper, eqs 7–8).

        g = β_Q g_Q⁺ + β_B g_B⁺,    g_Q⁺ = g_Q - (g_Q·g_B / |g_B|²) g_B,   g_B⁺ likewise,

    if g_Q · g_B < 0, else the weighted sum. PCGrad (Yu et al., 2020), whose sum over two tasks is
    twice this at β = 1/2. The result does not depend on the scale of g_B when β_B g_B⁺ is small:
    a barrier gradient of any size turns g_Q. `max_ratio` is ignored.
    """
    meeting = _meet(g_q, g_b, threshold, averages)
    beta_q, beta_b = _weights(meeting, (beta_q, beta_b), agreeing)
    across_q = _across(g_q, meeting.mean_b, meeting.conflict)
    across_b = _across(g_b, meeting.mean_q, meeting.conflict)
    return _report(beta_q * across_q + beta_b * across_b, meeting)


@COMBINATIONS.register("pcgrad_one_way")
def pcgrad_one_way(
    g_q: Float[Tensor, " P"],
    g_b: Float[Tensor, " P"],
    beta_q: float = 0.5,
    beta_b: float = 0.5,
    max_ratio: float = math.inf,
    agreeing: tuple[float, float] | None = None,
    threshold: float = 0.0,
    averages: Averages | None = None,
) -> CombinedGradient:
    """The barrier yields: only g_B is projected, then |g_B| is capped to max_ratio |g_Q|.

        g = β_Q g_Q + β_B s g_B⁺,   g_B⁺ = g_B - (g_Q·g_B / |g_Q|²) g_Q if g_Q · g_B < 0,
        s = min(1, max_ratio |g_Q| / |g_B⁺|)

    Ours, not the paper's: descent on the return is never slowed.
    """
    meeting = _meet(g_q, g_b, threshold, averages)
    projected = _across(g_b, meeting.mean_q, meeting.conflict)
    norm = torch.linalg.vector_norm(projected).clamp(min=TINY)
    # An infinite cap times a vanishing |g_Q| would be NaN, hence the finite number.
    scale = (min(max_ratio, 1e30) * (meeting.norm_q / norm)).clamp(max=1.0)
    scale = torch.where(meeting.norm_b < TINY, 1.0, scale)
    beta_q, beta_b = _weights(meeting, (beta_q, beta_b), agreeing)
    return _report(beta_q * g_q + (beta_b * scale) * projected, meeting)


def pcgrad_over_masks(
    g_1: Float[Tensor, " P"],
    g_2: Float[Tensor, " P"],
    has_1: Bool[Tensor, " P"],
    has_2: Bool[Tensor, " P"],
    reduction: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, " P"]:
    """PCGrad of two tasks over all parameters, as the reference code merges them.

    Dot product, norms and projection use the whole vectors (zeros where a task does not reach).
    Entries that both tasks reach are averaged or summed; those of one task only are summed.
    """
    merged = pcgrad(g_1, g_2, 1.0, 1.0).gradient
    if reduction == "sum":
        return merged
    return torch.where(has_1 & has_2, 0.5 * merged, merged)
