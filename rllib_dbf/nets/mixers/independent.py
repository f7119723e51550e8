"""No mixing: every agent learns its own utility from the team reward."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.team import Utilities


class Independent(nn.Module):
    """Z_g = Z_i, one group per agent (IQL, DIQL). Takes the arguments of every mixer, uses none."""

    monotone = True
    grouped = True

    def __init__(
        self,
        n_agents: int,
        n_actions: int,
        state_dim: int,
        hidden_dim: int,
        embed_dim: int = 32,
        hypernet_dim: int = 64,
        hypernet_layers: int = 2,
    ) -> None:
        super().__init__()

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T N K"]:
        """The utilities themselves."""
        return utilities.z
