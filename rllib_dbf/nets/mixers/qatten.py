"""Mixing by attention: heads that look at the state and at each agent's part of it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.nets.mixers.sizes import MixerSizes, mlp, unit_dim_of, unit_states
from rllib_dbf.team import Utilities


class StateAttention(nn.Module):
    """Attention logits of each head for each agent: query_h(s) · key_h(u_i).

    Args:
        sizes: Queries are made by two layers of width `hypernet_dim`, queries and keys have
            `embed_dim` entries.
        n_heads: Number of heads.
        bias: Whether the last layers have a bias.
    """

    def __init__(self, sizes: MixerSizes, n_heads: int, bias: bool) -> None:
        super().__init__()
        embed_dim = sizes.embed_dim
        self.scale = 1.0 / math.sqrt(embed_dim)
        self.queries = nn.ModuleList(
            mlp(sizes.state_dim, sizes.hypernet_dim, embed_dim, bias=bias) for _ in range(n_heads)
        )
        self.keys = nn.ModuleList(
            nn.Linear(unit_dim_of(sizes), embed_dim, bias=bias) for _ in range(n_heads)
        )

    def forward(
        self, state: Float[Tensor, "*L S"], units: Float[Tensor, "*L N U"]
    ) -> Float[Tensor, "*L heads N"]:
        """The logits, not yet scaled by 1/√embed_dim."""
        query = torch.stack([layer(state) for layer in self.queries], dim=-2)  # [*L, heads, E]
        key = torch.stack([layer(units) for layer in self.keys], dim=-3)  # [*L, heads, N, E]
        return (key @ query.unsqueeze(-1)).squeeze(-1)


class Qatten(nn.Module):
    """Z_tot = Σ_h |w_h(s)| Σ_i a_{h,i} Z_i + c(s),  a_h = softmax_i(query_h(s)·key_h(u_i) / √E).

    Qatten (Yang et al., 2020), eqs 11–13. The weights are not negative and the same for every
    quantile, so that quantiles of comonotone utilities stay quantiles.

    Args:
        sizes: Of the task and the layers.
        n_heads: Attention heads.
    """

    monotone = True
    expected_only = False
    grouped = False
    reads_maximum = False
    normalised = True  # a_h sums to one over the agents

    def __init__(self, sizes: MixerSizes, n_heads: int = 4) -> None:
        super().__init__()
        self.sizes = sizes
        self.attention = StateAttention(sizes, n_heads, bias=True)
        self.head_weights = mlp(sizes.state_dim, sizes.hypernet_dim, n_heads)
        self.value = mlp(sizes.state_dim, sizes.embed_dim, 1)

    def weights(self, state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L N"]:
        """What each utility counts for."""
        logits = self.attention(state, unit_states(state.detach(), self.sizes))
        logits = logits * self.attention.scale
        attention = logits.softmax(dim=-1) if self.normalised else logits
        return (self.head_weights(state).abs().unsqueeze(-1) * attention).sum(dim=-2)

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T 1 K"]:
        """Team value, for each quantile index."""
        mixed = self.weights(state).unsqueeze(-2) @ utilities.z
        return mixed + self.value(state).unsqueeze(-1)


class RiskQMix(Qatten):
    """Qatten with one head: θ_tot(ω) = |w(s)| Σ_i a_i(s) θ_i(ω) + c(s).

    RiskQ (Shen et al., 2023), eq. 6. Non-negative weights that do not depend on ω keep the greedy
    actions of a team under VaR and distorted expectations those of its agents. (The paper lets
    the weights depend on ω; a quantile function stays one only if they do not.)
    """

    def __init__(self, sizes: MixerSizes) -> None:
        super().__init__(sizes, n_heads=1)


class SignedAttention(Qatten):
    """Qatten without the softmax: scaled logits of either sign as weights, hence not monotone.

    ResQ (Shen et al., 2022), residual function of the distributional form.
    """

    monotone = False
    normalised = False
