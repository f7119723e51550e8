"""Mean-shape decomposition: any mixer of expected values becomes one of returns."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.team import Utilities


class MeanShape(nn.Module):
    """Z_tot(τ) = mixer(E[Z_1], …, E[Z_N]) + Σ_i (Z_i(τ) - E[Z_i]).

    DFAC (Sun et al., 2021), eq. 12: the wrapped mixer decides the mean, the sum of the centred
    utilities the shape. E is the mean over the given quantiles, so the mean over quantiles of
    Z_tot is the mixer's value exactly. τ must be shared by the agents.

    Args:
        mixer: The mixer of the means.

    Raises:
        ValueError: If `mixer` does not give a team value.
    """

    expected_only = False
    grouped = False

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        if mixer.grouped:
            raise ValueError(
                f"mean_shape needs a mixer with one team value; {type(mixer).__name__} keeps "
                "one per agent, use it unwrapped"
            )
        self.mixer = mixer
        self.monotone = mixer.monotone
        self.reads_maximum = getattr(mixer, "reads_maximum", True)

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T 1 K"]:
        """Return quantiles of the team."""
        mean = utilities.z.mean(dim=-1, keepdim=True)
        shape = (utilities.z - mean).sum(dim=2, keepdim=True)
        return self.mixer(utilities._replace(z=mean), state) + shape

    @property
    def penalty(self) -> Any:
        """That of the wrapped mixer, if it has one."""
        return getattr(self.mixer, "penalty", None)
