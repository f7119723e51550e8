"""Monotone mixing by a network whose weights come from the state."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.team import Utilities


class QMix(nn.Module):
    """Q_tot = ELU(q W₁ + b₁) W₂ + v, with W₁ = |h₁(s)|, b₁ linear in s, W₂ = |h₂(s)|, v = V(s).

    QMIX (Rashid et al., 2018), eqs 4–6. Non-negative W₁ and W₂ make ∂Q_tot/∂q_i ≥ 0.

    Args:
        n_agents: Number of agents.
        n_actions: Unused.
        state_dim: Size of the state.
        hidden_dim: Unused.
        embed_dim: Hidden units of the mixing network.
        hypernet_dim: Hidden units of h₁ and h₂ when they have two layers.
        hypernet_layers: 1 or 2.

    Raises:
        ValueError: If `hypernet_layers` is neither 1 nor 2, or (when called) if the utilities
            have more than one quantile: ELU of a quantile is not a quantile of anything.
    """

    monotone = True
    grouped = False

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
        if hypernet_layers not in (1, 2):
            raise ValueError(f"hypernet_layers={hypernet_layers} is not possible; choose 1 or 2")
        self.n_agents = n_agents
        self.embed_dim = embed_dim

        def hypernet(out_dim: int) -> nn.Module:
            if hypernet_layers == 1:
                return nn.Linear(state_dim, out_dim)
            return nn.Sequential(
                nn.Linear(state_dim, hypernet_dim), nn.ReLU(), nn.Linear(hypernet_dim, out_dim)
            )

        self.hyper_w1 = hypernet(n_agents * embed_dim)
        self.hyper_w2 = hypernet(embed_dim)
        self.hyper_b1 = nn.Linear(state_dim, embed_dim)
        self.value = nn.Sequential(
            nn.Linear(state_dim, embed_dim), nn.ReLU(), nn.Linear(embed_dim, 1)
        )

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T 1 1"]:
        """The team's expected value."""
        if utilities.z.shape[-1] != 1:
            raise ValueError(
                f"qmix mixes expected values (K = 1) and got K = {utilities.z.shape[-1]} "
                "quantiles; use mixer='mean_shape(qmix)'"
            )
        weights_1 = self.hyper_w1(state).abs().unflatten(-1, (self.n_agents, self.embed_dim))
        weights_2 = self.hyper_w2(state).abs()
        mixed = (utilities.z * weights_1).sum(dim=2) + self.hyper_b1(state)  # [B, T, E]
        q_tot = (F.elu(mixed) * weights_2).sum(dim=-1, keepdim=True) + self.value(state)
        return torch.unsqueeze(q_tot, -1)
