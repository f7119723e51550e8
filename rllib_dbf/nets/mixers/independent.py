"""No mixing: every agent learns its own utility from the team reward."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.nets.mixers.sizes import MixerSizes
from rllib_dbf.team import Utilities


class Independent(nn.Module):
    """Z_g = Z_i, one group per agent (IQL, DIQL)."""

    monotone = True
    expected_only = False
    grouped = True
    reads_maximum = False

    def __init__(self, sizes: MixerSizes) -> None:
        super().__init__()

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T N K"]:
        """The utilities themselves."""
        return utilities.z
