"""Heads with a fixed number of return quantiles, and one whose agents have a risk level."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rllib_dbf.functional.risk import cvar_weights
from rllib_dbf.nets.heads import ImplicitQuantileHead, midpoints


class QuantileHead(nn.Module):
    """Return quantiles at the midpoints (2j - 1) / 2K: one linear layer, sorted ascending.

    QR-DQN (Dabney et al., 2018), section 3, with the sorting of RiskQ (Shen et al., 2023).

    Args:
        hidden_dim: Size of the hidden state.
        n_actions: Number of actions.
        n_cosines: Unused.
        n_quantiles: K.
    """

    distributional = True
    any_fraction = False
    fixed_fractions = True
    fractions = 1

    def __init__(
        self, hidden_dim: int, n_actions: int, n_cosines: int = 64, n_quantiles: int = 1
    ) -> None:
        super().__init__()
        self.n_quantiles = n_quantiles
        self.out = nn.Linear(hidden_dim, n_actions * n_quantiles)

    def embed(self, tau: Float[Tensor, "*L K"]) -> None:
        """Nothing: τ is not looked at."""

    def all(
        self, hidden: Float[Tensor, "*L H"], tau: Float[Tensor, ...] | None = None
    ) -> Float[Tensor, "*L A K"]:
        """Return quantiles of every action."""
        return self.out(hidden).unflatten(-1, (-1, self.n_quantiles)).sort(dim=-1).values

    def mean(
        self,
        hidden: Float[Tensor, "*L H"],
        tau: Float[Tensor, ...] | None = None,
        phi: None = None,
    ) -> Float[Tensor, "*L A"]:
        """Mean return of every action."""
        return self.out(hidden).unflatten(-1, (-1, self.n_quantiles)).mean(dim=-1)

    def acting_mean(self, hidden: Float[Tensor, "*L H"]) -> Float[Tensor, "*L A"]:
        """Mean return of every action."""
        return self.mean(hidden)

    def acting_function(self) -> Callable[[Tensor], Tensor]:
        """`acting_mean`, to be called more than once."""
        return self.mean

    def at(
        self,
        hidden: Float[Tensor, "*L H"],
        actions: Int[Tensor, "*L"],
        tau: Float[Tensor, ...] | None = None,
        phi: None = None,
    ) -> Float[Tensor, "*L K"]:
        """Return quantiles of the given actions."""
        return chosen(self.all(hidden), actions)


def chosen(z: Float[Tensor, "*L A K"], actions: Int[Tensor, "*L"]) -> Float[Tensor, "*L K"]:
    """The quantiles of one action each."""
    index = actions[..., None, None].expand(*actions.shape, 1, z.shape[-1])
    return z.gather(-2, index).squeeze(-2)


class AdaptiveCVaRHead(QuantileHead):
    """Quantiles, and a level that says how many of the worst of them an action is judged by.

        C(u) = Σ_k p_k CVaR_{k/10}(Z(u)),    p = softmax_k(⟨e(Z), f_k(h)⟩ / √E)

    RMIX (Qiu et al., 2021), section 4.2, which takes the likeliest level: argmax has no gradient,
    so its predictor would never be trained. The mixture over levels is differentiable and is the
    CVaR at the likeliest level once p has settled. The history is the agent's hidden state (RMIX:
    another GRU over the same inputs). e and f read detached inputs.

    `mean` and `acting_mean` are C, by which actions are chosen; `all` and `at` give quantiles.

    Args:
        hidden_dim: Size of the hidden state.
        n_actions: Number of actions.
        n_cosines: Unused.
        n_quantiles: K.
        n_levels: Levels 1/n, 2/n, …, 1.
        embed_dim: E.
    """

    level_weights: Tensor

    objective = "rmix"

    def __init__(
        self,
        hidden_dim: int,
        n_actions: int,
        n_cosines: int = 64,
        n_quantiles: int = 1,
        n_levels: int = 10,
        embed_dim: int = 32,
    ) -> None:
        super().__init__(hidden_dim, n_actions, n_cosines, n_quantiles)
        self.n_levels = n_levels
        self.scale = 1.0 / math.sqrt(embed_dim)
        self.current = nn.Linear(n_actions * n_quantiles, embed_dim, bias=False)
        self.history = nn.Linear(hidden_dim, n_levels * embed_dim, bias=False)
        levels = [cvar_weights(n_quantiles, (k + 1) / n_levels) for k in range(n_levels)]
        self.register_buffer("level_weights", torch.stack(levels), persistent=False)

    def level_probabilities(
        self, hidden: Float[Tensor, "*L H"], z: Float[Tensor, "*L A K"]
    ) -> Float[Tensor, "*L levels"]:
        """p: how likely each level is, one choice for all actions of an agent."""
        current = self.current(z.detach().flatten(-2)).unsqueeze(-1)  # [*L, E, 1]
        history = self.history(hidden.detach()).unflatten(-1, (self.n_levels, -1))
        return ((history @ current).squeeze(-1) * self.scale).softmax(dim=-1)

    def mean(
        self,
        hidden: Float[Tensor, "*L H"],
        tau: Float[Tensor, ...] | None = None,
        phi: None = None,
    ) -> Float[Tensor, "*L A"]:
        """C of every action."""
        z = self.all(hidden)
        weights = self.level_probabilities(hidden, z) @ self.level_weights  # [*L, K]
        return (z @ weights.unsqueeze(-1)).squeeze(-1)


class RiskPairHead(ImplicitQuantileHead):
    """Return quantiles in two risks: Z(u; τ, w) = out(h ∘ φ(τ) ∘ φ_agent(w))_u.

    DRIMA (Son et al., 2022) in our definition: τ is the risk of the environment, w how much an
    agent trusts the others. Acting, and wherever w is not given, w is `agent_risk`.

    Args:
        hidden_dim: Size of the hidden state.
        n_actions: Number of actions.
        n_cosines: Number of cosine features.
        n_quantiles: Unused.
        n_acting_quantiles: Fixed midpoints of τ over which `acting_mean` averages.
        agent_risk: w of acting agents in (0, 1); above 1/2 they expect the others to do well.
    """

    fractions = 2
    acting_tau: Tensor

    def __init__(
        self,
        hidden_dim: int,
        n_actions: int,
        n_cosines: int = 64,
        n_quantiles: int = 1,
        n_acting_quantiles: int = 32,
        agent_risk: float = 0.75,
    ) -> None:
        super().__init__(hidden_dim, n_actions, n_cosines, n_quantiles, n_acting_quantiles)
        self.agent_risk = agent_risk
        self.agent_phi = nn.Linear(n_cosines, hidden_dim)
        self.register_buffer("acting_tau", midpoints(n_acting_quantiles), persistent=False)

    def embed_pair(
        self, tau: Float[Tensor, "*L K"], agent_risk: Float[Tensor, "*L K"]
    ) -> Float[Tensor, "*L K H"]:
        """φ(τ) ∘ φ_agent(w), pair by pair."""
        return super().embed(tau) * F.relu(self.agent_phi(self._cosines(agent_risk)))

    def embed(self, tau: Float[Tensor, "*L K"]) -> Float[Tensor, "*L K H"]:
        """φ(τ) ∘ φ_agent(`agent_risk`)."""
        return self.embed_pair(tau, torch.full_like(tau, self.agent_risk))

    def compiled_weights(self, tau: Float[Tensor, "P _ K"]) -> None:
        """There is no compiled code for pairs."""

    def acting_function(self) -> Callable[[Tensor], Tensor]:
        """`acting_mean`, at `agent_risk`, to be called more than once."""
        return partial(self.mean, tau=self.acting_tau)
