"""Heads: what an agent says about its actions, given its hidden state."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rllib_dbf.functional.devices import is_wide
from rllib_dbf.nets.compiled.layers import Linear, cosines
from rllib_dbf.nets.compiled.quantiles import HeadWeights
from rllib_dbf.registry import Registry

HEADS: Registry = Registry("head")
"""Heads share a constructor and the methods of `ExpectedHead`. `distributional`: there is more than
one quantile; `any_fraction`: quantiles at any τ can be asked for; `fixed_fractions`: the quantiles
are those of the midpoints; `fractions`: numbers drawn for each quantile; `objective`, where there
is one: the only one that learns all of its parts, which judges actions by a measure of its own.
"""


def midpoints(
    n: int, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Float[Tensor, " K"]:
    """The fractions (2j - 1) / 2n, j = 1 … n: centres of n equal shares of probability."""
    return (torch.arange(n, dtype=dtype or torch.get_default_dtype(), device=device) + 0.5) / n


def chosen_rows(
    actions: Int[Tensor, "*L"], layer: nn.Linear
) -> tuple[Float[Tensor, "*L H"], Float[Tensor, "*L"]]:
    """Weights and bias that a layer of actions has for the given ones.

    On a GPU by products, since gradients are then products too: adding them up row by row takes
    sorting, and comes out differently every time.
    """
    if not is_wide(actions.device):
        return F.embedding(actions, layer.weight), layer.bias[actions]
    numbers = torch.arange(len(layer.bias), device=actions.device)
    one_hot = torch.eq(actions.unsqueeze(-1), numbers).to(layer.weight.dtype)
    return one_hot @ layer.weight, one_hot @ layer.bias


class LinearMap(NamedTuple):
    """What a hidden state is worth by its actions, where that is one linear map of it."""

    weight: Float[Tensor, "A H"]
    bias: Float[Tensor, " A"]

    def __call__(self, hidden: Float[Tensor, "*L H"]) -> Float[Tensor, "*L A"]:
        """Expected utility of every action."""
        return F.linear(hidden, self.weight, self.bias)


@HEADS.register("expected")
class ExpectedHead(nn.Module):
    """Expected utilities: one linear layer, a single quantile (K = 1), no τ.

    Args:
        hidden_dim: Size of the hidden state.
        n_actions: Number of actions.
        n_cosines: Unused.
        n_quantiles: Unused.
    """

    distributional = False
    any_fraction = False
    fixed_fractions = False
    fractions = 1

    def __init__(
        self, hidden_dim: int, n_actions: int, n_cosines: int = 64, n_quantiles: int = 1
    ) -> None:
        super().__init__()
        self.out = nn.Linear(hidden_dim, n_actions)

    def embed(self, tau: Float[Tensor, "*L K"]) -> None:
        """Nothing: τ is not looked at."""

    def mean(
        self,
        hidden: Float[Tensor, "*L H"],
        tau: Float[Tensor, ...] | None = None,
        phi: None = None,
    ) -> Float[Tensor, "*L A"]:
        """Expected utility of every action."""
        return self.out(hidden)

    def acting_mean(self, hidden: Float[Tensor, "*L H"]) -> Float[Tensor, "*L A"]:
        """Expected utility of every action."""
        return self.acting_function()(hidden)

    def acting_function(self) -> Callable[[Tensor], Tensor]:
        """`acting_mean` under the weights of now, to be called more than once."""
        return LinearMap(self.out.weight, self.out.bias)

    def at(
        self,
        hidden: Float[Tensor, "*L H"],
        actions: Int[Tensor, "*L"],
        tau: Float[Tensor, ...] | None = None,
        phi: None = None,
    ) -> Float[Tensor, "*L 1"]:
        """Expected utility of the given actions."""
        return self.out(hidden).gather(-1, actions.unsqueeze(-1))

    def all(
        self, hidden: Float[Tensor, "*L H"], tau: Float[Tensor, ...] | None = None
    ) -> Float[Tensor, "*L A 1"]:
        """Expected utility of every action, as a return of one quantile."""
        return self.out(hidden).unsqueeze(-1)


@HEADS.register("iqn")
class ImplicitQuantileHead(nn.Module):
    """Return quantiles as a function of τ: Z(u; τ) = out(h ∘ φ(τ))_u.

        φ(τ) = ReLU(W [cos(π k τ)]_{k = 0 … n_cosines - 1} + c)

    IQN (Dabney et al., 2018), eq. 4, with k from 0 as in DFAC's code: the first feature is
    constant. τ need not be sorted.

    The head is linear in φ, which saves the [.., K, A] tensor twice: the mean over τ is
    out(h ∘ mean_k φ(τ_k)) exactly, and the quantiles of one action are φ(τ)·(W_u ∘ h) + b_u.

    Args:
        hidden_dim: Size of the hidden state.
        n_actions: Number of actions.
        n_cosines: Number of cosine features.
        n_quantiles: Unused: there are as many as fractions are given.
        n_acting_quantiles: Fixed midpoints over which `acting_mean` averages.
    """

    distributional = True
    any_fraction = True
    fixed_fractions = False
    fractions = 1
    harmonics: Tensor
    acting_cosines: Tensor

    def __init__(
        self,
        hidden_dim: int,
        n_actions: int,
        n_cosines: int = 64,
        n_quantiles: int = 1,
        n_acting_quantiles: int = 32,
    ) -> None:
        super().__init__()
        self.phi = Linear(n_cosines, hidden_dim)
        self.out = nn.Linear(hidden_dim, n_actions)
        self.register_buffer("harmonics", torch.arange(n_cosines).float(), persistent=False)
        cosines = self._cosines(midpoints(n_acting_quantiles))
        self.register_buffer("acting_cosines", cosines, persistent=False)

    def embed(self, tau: Float[Tensor, "*L K"]) -> Float[Tensor, "*L K H"]:
        """φ(τ); τ itself gets no gradient."""
        return F.relu(self.phi(self._cosines(tau.detach())))

    def _cosines(self, tau: Tensor) -> Tensor:
        return cosines(tau, self.harmonics)

    def mean(
        self,
        hidden: Float[Tensor, "*L H"],
        tau: Float[Tensor, "*M K"],
        phi: Float[Tensor, "*M K H"] | None = None,
    ) -> Float[Tensor, "*L A"]:
        """Mean over the given τ of the return of every action.

        The leading axes of τ broadcast against those of `hidden`. `phi` is `embed(tau)` if the
        caller has it already.
        """
        phi = self.embed(tau) if phi is None else phi
        return self.out(hidden * phi.mean(dim=-2))

    def acting_mean(self, hidden: Float[Tensor, "*L H"]) -> Float[Tensor, "*L A"]:
        """Mean return of every action over fixed midpoints of τ."""
        return self.acting_function()(hidden)

    def acting_function(self) -> Callable[[Tensor], Tensor]:
        """`acting_mean` under the weights of now, to be called more than once."""
        phi = F.relu(self.phi(self.acting_cosines)).mean(dim=0)
        return LinearMap(self.out.weight * phi, self.out.bias)

    def at(
        self,
        hidden: Float[Tensor, "*L N H"],
        actions: Int[Tensor, "*L N"],
        tau: Float[Tensor, "*L #N K"],
        phi: Float[Tensor, "*L #N K H"] | None = None,
    ) -> Float[Tensor, "*L N K"]:
        """Return quantiles of the given actions; τ is shared by the agents where it has one row.

        `phi` is `embed(tau)` if the caller has it already.
        """
        phi = self.embed(tau) if phi is None else phi  # [*L, 1 or N, K, H]
        weight, bias = chosen_rows(actions, self.out)
        weighted, bias = hidden * weight, bias.unsqueeze(-1)  # [*L, N, H]
        if tau.shape[-2] == 1:
            return weighted @ phi.squeeze(-3).transpose(-1, -2) + bias
        return (phi @ weighted.unsqueeze(-1)).squeeze(-1) + bias

    def compiled_weights(self, tau: Float[Tensor, "P _ K"]) -> HeadWeights | None:
        """What compiled code for such fractions needs; None where there is none."""
        weights = HeadWeights(self.phi.weight, self.phi.bias, self.out.weight, self.out.bias)
        return weights if tau.shape[1] == 1 and weights.fit(tau.shape[2]) else None

    def all(
        self, hidden: Float[Tensor, "*L H"], tau: Float[Tensor, "*M K"]
    ) -> Float[Tensor, "*L A K"]:
        """Return quantiles of every action; for acting on risk, not for training."""
        z = self.out(hidden.unsqueeze(-2) * self.embed(tau))  # [*L, K, A]
        return z.transpose(-1, -2)
