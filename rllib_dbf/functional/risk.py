"""Risk measures of a return given as equally weighted quantiles."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rllib_dbf.registry import Registry

RISKS: Registry = Registry("action_risk")


def cvar_weights(
    n_quantiles: int,
    level: float,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, " K"]:
    """Weights of the ascending quantiles in the mean of their lowest `level` fraction.

        w_j = clip(level K - j, 0, 1) / (level K),    j = 0 … K-1

    The quantile on the boundary enters with its exact fraction; the weights sum to 1.

    Raises:
        ValueError: If `level` is not in (0, 1].
    """
    if not 0.0 < level <= 1.0:
        raise ValueError(f"risk_level={level} is impossible; choose a level in (0, 1]")
    share = level * n_quantiles
    rank = torch.arange(n_quantiles, dtype=dtype or torch.get_default_dtype(), device=device)
    return (share - rank).clamp(0.0, 1.0) / share


@RISKS.register("mean")
def mean(z: Float[Tensor, "*L K"], level: float = 1.0) -> Float[Tensor, "*L"]:
    """Expected return; `level` is ignored."""
    return z.mean(dim=-1)


@RISKS.register("cvar")
def cvar(z: Float[Tensor, "*L K"], level: float) -> Float[Tensor, "*L"]:
    """Conditional value at risk: mean of the lowest `level` fraction of the return.

    Rockafellar & Uryasev (2000). `z` need not be sorted; level 1 is the mean.
    """
    weights = cvar_weights(z.shape[-1], level, z.dtype, z.device)
    return (z.sort(dim=-1).values * weights).sum(dim=-1)
