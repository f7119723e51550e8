"""Temporal-difference losses as masked means."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.functional import compiled


def masked_mean(x: Float[Tensor, "B T *G"], mask: Bool[Tensor, "B T"] | None) -> Float[Tensor, ""]:
    """Mean of `x` over the played transitions, the mask expanded over any further axis.

    An all-false mask gives 0; without one all were played.
    """
    if mask is None:
        return x.mean()
    weight = mask.reshape(mask.shape + (1,) * (x.dim() - 2))
    count = mask.sum() * x[0, 0].numel()
    # `where`, not a product: a padded value may be infinite and 0 x inf is NaN.
    return torch.where(weight, x, 0.0).sum() / count.clamp(min=1)


def squared_td(
    z: Float[Tensor, "B T G 1"],
    target: Float[Tensor, "B T G 1"],
    mask: Bool[Tensor, "B T"] | None,
) -> Float[Tensor, ""]:
    """Mean squared temporal-difference error, (target - z)² without the factor 1/2.

    Masked mean over transitions and groups; the target is detached.
    """
    if mask is None:
        return F.mse_loss(z, target.detach())
    return masked_mean((target.detach() - z).square().squeeze(dim=-1), mask)


class _QuantileHuber(torch.autograd.Function):
    """Quantile Huber loss whose backward needs [.., K] numbers instead of several [.., K, K2].

    The loss of predicted quantile i depends on z_i alone, so its derivative,
    -mean_j |τ_i - 1[u_ij ≤ 0]| clamp(u_ij, -κ, κ), is computed along with the value.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, target: Tensor, tau: Tensor, kappa: float) -> Tensor:
        if compiled.fits(z, target, tau, on_stack=z.shape[-1]):
            zs, targets, taus = (x.flatten(0, -2) for x in (z, target, tau.expand_as(z)))
            loss, slope = compiled.quantile_huber(zs, targets, taus, kappa)
            ctx.save_for_backward(slope.view(z.shape))
            return loss.view(z.shape[:-1])
        error = target.unsqueeze(-2) - z.unsqueeze(-1)  # [B, T, G, K, K2]
        # τ belongs to the predicted quantile: last-but-one axis, never the target's.
        weight = (tau.unsqueeze(-1) - (error <= 0).to(z.dtype)).abs_()
        clipped = error.clamp(-kappa, kappa)
        huber = torch.addcmul(error, clipped, z.new_full((), -0.5)).mul_(clipped)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(clipped.mul_(weight).mean(dim=-1).neg_())
        return huber.mul_(weight).mean(dim=-1).sum(dim=-1)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        return grad[0].unsqueeze(-1) * ctx.saved_tensors[0], None, None, None


def quantile_huber_elements(
    z: Float[Tensor, "B T G K"],
    target: Float[Tensor, "B T G K2"],
    tau: Float[Tensor, "B T #G K"],
    kappa: float = 1.0,
) -> Float[Tensor, "B T G"]:
    """Quantile Huber loss of each step and group.

        Σ_i mean_j |τ_i - 1[u_ij ≤ 0]| huber_κ(u_ij),    u_ij = target_j - z_i

    IQN (Dabney et al., 2018), eq. 3, not divided by κ: **sum over the predicted** quantiles i, to
    which τ belongs, **mean over the target** quantiles j. The target is detached.
    """
    return _QuantileHuber.apply(z, target.detach(), tau, kappa)


def quantile_huber(
    z: Float[Tensor, "B T G K"],
    target: Float[Tensor, "B T G K2"],
    tau: Float[Tensor, "B T #G K"],
    mask: Bool[Tensor, "B T"] | None,
    kappa: float = 1.0,
) -> Float[Tensor, ""]:
    """Masked mean of `quantile_huber_elements` over transitions and groups."""
    return masked_mean(quantile_huber_elements(z, target, tau, kappa), mask)
