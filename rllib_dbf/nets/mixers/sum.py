"""Sum of the utilities."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.nets.mixers.sizes import MixerSizes
from rllib_dbf.team import Utilities


class Sum(nn.Module):
    """Z_tot = Σ_i Z_i, for each quantile index.

    VDN (Sunehag et al., 2018), eq. 2; with return quantiles at shared τ, DDN (DFAC, Sun et al.,
    2021).
    """

    monotone = True
    expected_only = False
    grouped = False
    reads_maximum = False

    def __init__(self, sizes: MixerSizes) -> None:
        super().__init__()

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T 1 K"]:
        """Sum over agents."""
        return utilities.z.sum(dim=2, keepdim=True)
