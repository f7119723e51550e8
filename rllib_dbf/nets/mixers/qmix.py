"""Monotone mixing by a network whose weights come from the state."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.compiled.calls import fits
from rllib_dbf.nets.compiled.layers import Linear
from rllib_dbf.nets.compiled.mixing import mix
from rllib_dbf.nets.mixers.sizes import MixerSizes, mlp, require_expected
from rllib_dbf.team import Utilities


class QMix(nn.Module):
    """Q_tot = ELU(q W₁ + b₁) W₂ + v, with W₁ = |h₁(s)|, b₁ linear in s, W₂ = |h₂(s)|, v = V(s).

    QMIX (Rashid et al., 2018), eqs 4–6. Non-negative W₁ and W₂ make ∂Q_tot/∂q_i ≥ 0.

    Args:
        sizes: Of the task and the layers; `embed_dim` is the width of the mixing network.

    Raises:
        ValueError: If `hypernet_layers` is neither 1 nor 2, or (when called) if the utilities
            have more than one quantile: ELU of a quantile is not a quantile of anything.
    """

    monotone = True
    expected_only = True
    grouped = False
    reads_maximum = False

    def __init__(self, sizes: MixerSizes) -> None:
        super().__init__()
        if sizes.hypernet_layers not in (1, 2):
            raise ValueError(
                f"hypernet_layers={sizes.hypernet_layers} is not possible; choose 1 or 2"
            )
        state_dim, hypernet_dim, layers = sizes.state_dim, sizes.hypernet_dim, sizes.hypernet_layers
        self.n_agents, self.embed_dim = sizes.n_agents, sizes.embed_dim
        self._hypernet_dim, self._hypernet_layers = hypernet_dim, layers
        self.hyper_w1 = mlp(state_dim, hypernet_dim, self.n_agents * self.embed_dim, layers)
        self.hyper_w2 = mlp(state_dim, hypernet_dim, self.embed_dim, layers)
        self.hyper_b1 = Linear(state_dim, self.embed_dim)
        self.value = mlp(state_dim, self.embed_dim, 1)

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T 1 1"]:
        """The team's expected value."""
        require_expected("qmix", utilities)
        if self._has_compiled(state):
            rows = utilities.z.squeeze(-1).flatten(0, 1), state.flatten(0, 1)
            return mix(*rows, self._weights()).view(*state.shape[:2], 1, 1)
        weights_1 = self.hyper_w1(state).abs().unflatten(-1, (self.n_agents, self.embed_dim))
        weights_2 = self.hyper_w2(state).abs()
        mixed = (utilities.z * weights_1).sum(dim=2) + self.hyper_b1(state)  # [B, T, E]
        q_tot = (F.elu(mixed) * weights_2).sum(dim=-1, keepdim=True) + self.value(state)
        return torch.unsqueeze(q_tot, -1)

    def _has_compiled(self, state: Tensor) -> bool:
        """Whether there is compiled code for these layers, which has no gradient for the state."""
        sizes = self.embed_dim, self._hypernet_dim
        return self._hypernet_layers == 2 and not state.requires_grad and fits(*sizes, like=state)

    def _weights(self) -> list[Tensor]:
        makers: tuple[Any, ...] = (self.hyper_w1, self.hyper_w2, self.value)
        (w1, w2, value), b1 = ((m[0], m[2]) for m in makers), self.hyper_b1
        first = w1[0], w2[0], b1, value[0]
        second = (part for each in (w1, w2, value) for part in (each[1].weight, each[1].bias))
        return [*(each.weight for each in first), *(each.bias for each in first), *second]
