"""The hypernetwork behind an ordinary first layer: where the code released with DBF has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.nets.input_layers import HypernetInput


class SecondLayerHypernet(HypernetInput):
    """An ordinary layer, and behind it one whose weights are generated from return quantiles.

        y = ReLU(x A + a) W(z) + b,    W(z) = MLP(asinh z) viewed as [hidden, hidden]

    The placement of the code that was released with DBF: the second layer, with weights of either
    sign. (There W is merged from two heads; ours is one.) z is detached by the caller.

    Args:
        in_dim: Size of the input vector.
        hidden_dim: Size of both layers.
        n_quantiles: Size of z.
        hypernet_dim: Hidden units of the generating network.
        n_bases: Unused.
    """

    def __init__(
        self, in_dim: int, hidden_dim: int, n_quantiles: int, hypernet_dim: int, n_bases: int
    ) -> None:
        super().__init__(hidden_dim, hidden_dim, n_quantiles, hypernet_dim, n_bases)
        self.first = nn.Linear(in_dim, hidden_dim)

    @torch.no_grad()
    def reset_parameters(self, in_dim: int) -> None:
        """E[W²] = 1/(3 in_dim) again; without ReLU, half the variance of `HypernetInput`."""
        super().reset_parameters(in_dim)
        for parameter in self.generator[2].parameters():
            parameter.mul_(0.5**0.5)

    def prepare(self, inputs: Float[Tensor, "*L I"]) -> Float[Tensor, "*L H"]:
        """ReLU(x A + a), which does not depend on the quantiles."""
        return F.relu(self.first(inputs))

    def weights(self, features: Float[Tensor, "R F"]) -> Float[Tensor, "R W"]:
        """The generated weights, row by row."""
        return self.generator[2](features)
