"""Networks of the joint action: critics that see everything, next to a factored value."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rllib_dbf.nets.heads import ImplicitQuantileHead
from rllib_dbf.nets.mixers.sizes import MixerSizes, mlp
from rllib_dbf.nets.utility import RecurrentUtility
from rllib_dbf.registry import Registry
from rllib_dbf.team import Utilities

ACTION_READERS: Registry = Registry("joint critic's architecture")


class JointSizes(NamedTuple):
    """What a joint network is built from: the task, and the layer sizes of the row."""

    n_agents: int
    n_actions: int
    obs_dim: int
    state_dim: int
    unit_dim: int
    hidden_dim: int
    embed_dim: int
    hypernet_dim: int
    n_quantiles: int

    def mixer(self) -> MixerSizes:
        """The part of it that mixers know."""
        return MixerSizes(
            self.n_agents,
            self.n_actions,
            self.state_dim,
            self.hidden_dim,
            self.embed_dim,
            self.hypernet_dim,
            unit_dim=self.unit_dim,
        )

    def utility(self, head: str) -> RecurrentUtility:
        """Another utility network, of the same sizes as the one that acts."""
        sizes = (self.obs_dim, self.n_agents, self.n_actions, self.hidden_dim)
        return RecurrentUtility(*sizes, head)


def one_hot(actions: Int[Tensor, "*L"], n_actions: int, like: Tensor) -> Float[Tensor, "*L A"]:
    """Actions as ones among zeros, in the floating-point type of `like`."""
    return F.one_hot(actions, n_actions).to(like.dtype)


@ACTION_READERS.register("summed")
class SummedActions(nn.Module):
    """Σ_i e(h_i, u_i): as many entries whatever the number of agents (QTRAN, section 4.1)."""

    def __init__(self, sizes: MixerSizes) -> None:
        super().__init__()
        self.n_actions = sizes.n_actions
        self.out_dim = sizes.hidden_dim + sizes.n_actions
        self.encoder = mlp(self.out_dim, self.out_dim, self.out_dim)

    def each(
        self, hidden: Float[Tensor, "*L N H"], actions: Int[Tensor, "*L N"]
    ) -> Float[Tensor, "*L N E"]:
        """e(h_i, u_i)."""
        taken = one_hot(actions, self.n_actions, hidden)
        return self.encoder(torch.cat([hidden, taken], dim=-1))

    def forward(
        self, hidden: Float[Tensor, "*L N H"], actions: Int[Tensor, "*L N"]
    ) -> Float[Tensor, "*L E"]:
        """Their sum over agents."""
        return self.each(hidden, actions).sum(dim=-2)


@ACTION_READERS.register("listed")
class ListedActions(nn.Module):
    """The one-hots of all actions in a row, agent by agent, without the hidden states."""

    def __init__(self, sizes: MixerSizes) -> None:
        super().__init__()
        self.n_actions = sizes.n_actions
        self.out_dim = sizes.n_agents * sizes.n_actions

    def forward(
        self, hidden: Float[Tensor, "*L N H"], actions: Int[Tensor, "*L N"]
    ) -> Float[Tensor, "*L E"]:
        """The row."""
        return one_hot(actions, self.n_actions, hidden).flatten(-2)


class JointCritic(nn.Module):
    """Q_jt(s, u) of the joint action, and V(s), which corrects for what agents cannot see.

    QTRAN (Son et al., 2019), section 4.1.

    Args:
        sizes: Of the task.
        width: Units of each hidden layer.
        layers: Hidden layers.
        architecture: How the joint action is read, a name in `ACTION_READERS`.
    """

    def __init__(
        self, sizes: MixerSizes, width: int = 64, layers: int = 2, architecture: str = "summed"
    ) -> None:
        super().__init__()
        self.actions = ACTION_READERS[architecture](sizes)
        self.q = mlp(sizes.state_dim + self.actions.out_dim, width, 1, layers + 1)
        self.v = mlp(sizes.state_dim, width, 1, layers + 1)

    def forward(
        self,
        state: Float[Tensor, "*L S"],
        hidden: Float[Tensor, "*L N H"],
        actions: Int[Tensor, "*L N"],
    ) -> Float[Tensor, "*L 1"]:
        """Q_jt(s, u)."""
        return self.q(torch.cat([state, self.actions(hidden, actions)], dim=-1))

    def value(self, state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L 1"]:
        """V(s)."""
        return self.v(state)


class CounterfactualCritic(nn.Module):
    """Q_jt(s, ·, u_-i): for each agent, the value of each of its actions beside the others'.

    QTRAN-alt (Son et al., 2019), section 4.3: one network for all agents, which reads
    [s; h_i; Σ_{j≠i} e(h_j, u_j)].

    Args:
        sizes: Of the task.
        width: Units of each hidden layer.
        layers: Hidden layers.
    """

    def __init__(self, sizes: MixerSizes, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.actions = SummedActions(sizes)
        in_dim = sizes.state_dim + sizes.hidden_dim + self.actions.out_dim
        self.q = mlp(in_dim, width, sizes.n_actions, layers + 1)
        self.v = mlp(sizes.state_dim, width, 1, layers + 1)

    def forward(
        self,
        state: Float[Tensor, "*L S"],
        hidden: Float[Tensor, "*L N H"],
        actions: Int[Tensor, "*L N"],
    ) -> Float[Tensor, "*L N A"]:
        """Q_jt(s, ·, u_-i) of every agent i."""
        codes = self.actions.each(hidden, actions)
        others = codes.sum(dim=-2, keepdim=True) - codes
        everywhere = state.unsqueeze(-2).expand(*others.shape[:-1], -1)
        return self.q(torch.cat([everywhere, hidden, others], dim=-1))

    def value(self, state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L 1"]:
        """V(s)."""
        return self.v(state)


class FeedForwardMix(nn.Module):
    """f([s; q_1 … q_N]) + V(s): any function of the utilities, monotone or not.

    ResQ (Shen et al., 2022): central value and residual.

    Args:
        sizes: Of the task.
        width: Units of each of the three hidden layers, and of the one of V.
    """

    def __init__(self, sizes: MixerSizes, width: int = 128) -> None:
        super().__init__()
        self.net = mlp(sizes.state_dim + sizes.n_agents, width, 1, 4)
        self.value = mlp(sizes.state_dim, width, 1)

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T 1 1"]:
        """The team's expected value."""
        inputs = torch.cat([state, utilities.z.squeeze(-1)], dim=-1)
        return (self.net(inputs) + self.value(state)).unsqueeze(-1)


class ReturnFeedForwardMix(nn.Module):
    """f([s; Z_1(τ_1) … Z_N(τ_K)]), one output per quantile: ResZ's central return.

    Output k belongs to the k-th fraction, which the network does not see: give the fractions in
    ascending order.

    Args:
        sizes: Of the task.
        n_quantiles: K, the same for predictions and targets.
        width: Units of each of the two hidden layers.
    """

    def __init__(self, sizes: MixerSizes, n_quantiles: int, width: int = 128) -> None:
        super().__init__()
        in_dim = sizes.state_dim + sizes.n_agents * n_quantiles
        self.net = mlp(in_dim, width, n_quantiles, 3)

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T 1 K"]:
        """Return quantiles of the team."""
        inputs = torch.cat([state, utilities.z.flatten(-2)], dim=-1)
        return self.net(inputs).unsqueeze(-2)


class ReturnJointCritic(nn.Module):
    """Z_jt(s, u; τ) = out(f([s; Σ_i e(h_i, u_i)]) ∘ φ(τ)): return of the joint action.

    The joint critic of QTRAN with the quantile embedding of IQN; DRIMA in our definition.

    Args:
        sizes: Of the task.
        width: Units of each layer.
    """

    def __init__(self, sizes: MixerSizes, width: int = 64) -> None:
        super().__init__()
        self.actions = SummedActions(sizes)
        self.body = mlp(sizes.state_dim + self.actions.out_dim, width, width)
        self.head = ImplicitQuantileHead(width, 1)

    def forward(
        self,
        state: Float[Tensor, "P S"],
        hidden: Float[Tensor, "P N H"],
        actions: Int[Tensor, "P N"],
        tau: Float[Tensor, "P 1 K"],
    ) -> Float[Tensor, "P 1 K"]:
        """Return quantiles of the joint action."""
        code = self.body(torch.cat([state, self.actions(hidden, actions)], dim=-1)).relu()
        return self.head.all(code, tau.squeeze(-2))
