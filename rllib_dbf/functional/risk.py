"""Risk measures of a return that is given as quantiles.

Every measure is called as `measure(z, level, shares)` and forgets the order of `z`. A positive
level is averse to risk, a negative one seeks it. All but VaR and mean-variance are distortion
measures (Wang, 2000): means under weights g'(τ) of the quantiles, which sum to one here and are
never clamped.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.registry import Registry

Risk = Callable[..., Float[Tensor, "*L"]]
RISKS: Registry[Risk] = Registry("action_risk")


def cvar_weights(
    n_quantiles: int,
    level: float,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, " K"]:
    """Weights of the ascending quantiles in the mean of their lowest `level` fraction.

        w_j = clip(level K - j, 0, 1) / (level K),    j = 0 … K-1

    The quantile on the boundary enters with its exact fraction; the weights sum to 1. A negative
    level takes the highest |level| fraction.

    Raises:
        ValueError: If `level` is not in [-1, 0) or (0, 1].
    """
    _require(0.0 < abs(level) <= 1.0, "cvar", level, "in (0, 1], or in [-1, 0) to seek risk")
    share = abs(level) * n_quantiles
    rank = torch.arange(n_quantiles, dtype=dtype or torch.get_default_dtype(), device=device)
    weights = (share - rank).clamp(0.0, 1.0) / share
    return weights if level > 0 else weights.flip(0)


@RISKS.register("mean")
def mean(
    z: Float[Tensor, "*L K"], level: float = 1.0, shares: Float[Tensor, "*M K"] | None = None
) -> Float[Tensor, "*L"]:
    """Expected return; `level` is ignored.

    In every measure `shares` is the probability of each quantile, summing to 1 over the last
    axis and broadcast against `z`; None for equal ones.
    """
    return z.mean(dim=-1) if shares is None else (z * shares).sum(dim=-1)


@RISKS.register("cvar")
def cvar(
    z: Float[Tensor, "*L K"], level: float, shares: Float[Tensor, "*M K"] | None = None
) -> Float[Tensor, "*L"]:
    """Conditional value at risk: mean of the lowest `level` fraction of the return.

    Rockafellar & Uryasev (2000). Level 1 is the mean; a negative level is the mean of the highest
    |level| fraction.

    Raises:
        ValueError: If `level` is not in [-1, 0) or (0, 1].
    """
    weights = cvar_weights(z.shape[-1], level, z.dtype, z.device)
    if shares is None:
        return (z.sort(dim=-1).values * weights).sum(dim=-1)
    z, shares = _ascending(z, shares)
    if level < 0:
        z, shares = z.flip(-1), shares.flip(-1)
    below = shares.cumsum(dim=-1) - shares
    inside = torch.minimum((abs(level) - below).clamp(min=0.0), shares)
    return (z * inside).sum(dim=-1) / abs(level)


@RISKS.register("var")
def var(
    z: Float[Tensor, "*L K"], level: float, shares: Float[Tensor, "*M K"] | None = None
) -> Float[Tensor, "*L"]:
    """Value at risk: the least return z with P(Z ≤ z) ≥ level, as one of the given quantiles.

    Raises:
        ValueError: If `level` is not in (0, 1].
    """
    _require(0.0 < level <= 1.0, "var", level, "in (0, 1]; near 1 it seeks risk")
    z, shares = _ascending(z, shares)
    # The tolerance keeps 0.3 from the fourth of ten quantiles: .1 + .1 + .1 < .3 in floats.
    reached = shares.cumsum(dim=-1) >= level - 1e-6
    return z.gather(-1, reached.to(torch.uint8).argmax(dim=-1, keepdim=True)).squeeze(-1)


@RISKS.register("wang")
def wang(
    z: Float[Tensor, "*L K"], level: float, shares: Float[Tensor, "*M K"] | None = None
) -> Float[Tensor, "*L"]:
    """Wang's transform (Wang, 2000): g(τ) = Φ(Φ⁻¹(τ) + level), any finite level."""
    return _distorted(z, level, shares, wang_density)


@RISKS.register("cpw")
def cpw(
    z: Float[Tensor, "*L K"], level: float, shares: Float[Tensor, "*M K"] | None = None
) -> Float[Tensor, "*L"]:
    """Cumulative probability weighting: g(τ) = τ^a / (τ^a + (1 - τ)^a)^(1/a), a = |level|.

    Tversky & Kahneman (1992); people behave like a = 0.71. Both tails are over-weighted, so it is
    averse to rare losses and seeks rare gains; a negative level swaps the tails. Level 1 is the
    mean.

    Raises:
        ValueError: If |level| is not in [0.28, 1]; below, g is not increasing.
    """
    return _distorted(z, level, shares, cpw_density)


@RISKS.register("power")
def power(
    z: Float[Tensor, "*L K"], level: float, shares: Float[Tensor, "*M K"] | None = None
) -> Float[Tensor, "*L"]:
    """Power distortion: g(τ) = 1 - (1 - τ)^(1 + level), or τ^(1 + |level|) for a negative level.

    "Pow" of IQN (Dabney et al., 2018), section 4, with our sign: positive is averse there below
    zero. Any finite level; 0 is the mean.
    """
    return _distorted(z, level, shares, power_density)


@RISKS.register("mean_variance")
def mean_variance(
    z: Float[Tensor, "*L K"], level: float, shares: Float[Tensor, "*M K"] | None = None
) -> Float[Tensor, "*L"]:
    """E[Z] - level Var[Z] (Markowitz, 1952), any finite level; in units of the return squared."""
    _require(math.isfinite(level), "mean_variance", level, "among the finite numbers")
    average = mean(z, level, shares)
    return average - level * mean((z - average.unsqueeze(-1)).square(), level, shares)


def wang_density(tau: Float[Tensor, "*L K"], level: float) -> Float[Tensor, "*L K"]:
    """g'(τ) of `wang`: φ(Φ⁻¹(τ) + a) / φ(Φ⁻¹(τ)) = exp(-a Φ⁻¹(τ) - a²/2), τ in (0, 1)."""
    _require(math.isfinite(level), "wang", level, "among the finite numbers")
    return torch.exp(-level * torch.special.ndtri(tau) - 0.5 * level * level)


def cpw_density(tau: Float[Tensor, "*L K"], level: float) -> Float[Tensor, "*L K"]:
    """g'(τ) of `cpw`, τ in (0, 1)."""
    a = abs(level)
    _require(0.28 <= a <= 1.0, "cpw", level, "in [0.28, 1], or in [-1, -0.28] to swap the tails")
    t = tau if level > 0 else 1.0 - tau
    total = t**a + (1.0 - t) ** a
    slope = t ** (a - 1.0) - (1.0 - t) ** (a - 1.0)
    return total ** (-1.0 / a) * (a * t ** (a - 1.0) - t**a * slope / total)


def power_density(tau: Float[Tensor, "*L K"], level: float) -> Float[Tensor, "*L K"]:
    """g'(τ) of `power`, τ in [0, 1]."""
    _require(math.isfinite(level), "power", level, "among the finite numbers")
    a = abs(level)
    return (1.0 + a) * ((1.0 - tau) if level > 0 else tau) ** a


def distortion_weights(
    shares: Float[Tensor, "*L K"], level: float, density: Callable[[Tensor, float], Tensor]
) -> Float[Tensor, "*L K"]:
    """Weights of ascending quantiles under a distortion: g'(τ̂_j) p_j over their sum.

    τ̂_j is the middle of the j-th share p_j of probability. The sum is 1 up to the error of this
    midpoint rule; dividing by it changes no argmax and makes a certain return worth itself.
    """
    middle = shares.cumsum(dim=-1) - 0.5 * shares
    weights = density(middle, level) * shares
    return weights / weights.sum(dim=-1, keepdim=True)


def _distorted(
    z: Tensor, level: float, shares: Tensor | None, density: Callable[[Tensor, float], Tensor]
) -> Tensor:
    z, shares = _ascending(z, shares)
    return (z * distortion_weights(shares, level, density)).sum(dim=-1)


def _ascending(z: Tensor, shares: Tensor | None) -> tuple[Tensor, Tensor]:
    """Quantiles in ascending order, each with its probability."""
    ordered, order = z.sort(dim=-1)
    if shares is None:
        return ordered, torch.full_like(ordered, 1.0 / z.shape[-1])
    return ordered, shares.expand_as(z).gather(-1, order)


def _require(fits: bool, risk: str, level: float, allowed: str) -> None:
    if not fits:
        raise ValueError(
            f"risk_level={level!r} is impossible for risk={risk!r}: must lie {allowed}"
        )
