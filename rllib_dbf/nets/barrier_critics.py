"""Critics of the barrier: what B(s_{t+1}) will be, as a function of what the team does at t.

Deaths alone say what B was. A critic says what it would have been under other actions, and so
gives eq. 5 of the DBF paper a gradient without a sample. Each is regressed on the barrier values
of episodes (`barrier_foresight`), with its own optimiser.

A critic with `shares` tells what it says of each agent, 0 for the dead, from what it says of the
state. `reads_trunk` tells a critic that sees the utility network's hidden states, [B, T, N, H],
from one that looks at the episodes itself.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.nets.team_network import NetworkShape, TeamNetwork
from rllib_dbf.nets.utility import RecurrentUtility
from rllib_dbf.packing import pack_episodes
from rllib_dbf.registry import Registry
from rllib_dbf.team import TeamBatch

BARRIER_CRITICS: Registry = Registry("barrier critic")


def _value_of(inputs: int, hidden_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(inputs, elementwise_affine=False),
        nn.Linear(inputs, hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, 1),
    )


@BARRIER_CRITICS.register("counterfactual")
class CounterfactualCritic(nn.Module):
    """B(s_{t+1}) ≈ Σ_i b_i(h_i, u_i) + b_0(s_t), the sum over the living agents.

    Additive, so that the outcome of every other action of one agent costs nothing more. The b_i
    are one recurrent network with weights of its own.

    Args:
        shape: Sizes of the task.
        hidden_dim: Width of all layers.
    """

    reads_trunk = False

    def __init__(self, shape: NetworkShape, hidden_dim: int) -> None:
        super().__init__()
        self.agents = RecurrentUtility(
            shape.obs_dim, shape.n_agents, shape.n_actions, hidden_dim=hidden_dim
        )
        self.state = _value_of(shape.state_dim, hidden_dim)

    def _parts(
        self, batch: TeamBatch
    ) -> tuple[Float[Tensor, "B T N A"], Float[Tensor, "B T N"], Float[Tensor, "B T"]]:
        """b_i of every action, b_i of the action taken, and b_0."""
        packing = pack_episodes(batch.mask)
        hidden = TeamNetwork(self.agents, self.state).unroll(batch, packing)
        every = packing.unpack(self.agents.head.acting_mean(hidden))[:, :-1]
        taken = every.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        taken = taken * batch.alive[:, :-1]
        return every, taken, self.state(batch.state[:, :-1]).squeeze(-1)

    def shares(self, batch: TeamBatch) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B T"]]:
        """b_i of the actions taken, and b_0."""
        return self._parts(batch)[1:]

    def forward(self, batch: TeamBatch) -> Float[Tensor, "B T"]:
        """B(s_{t+1}) under the actions taken."""
        taken, rest = self.shares(batch)
        return taken.sum(dim=-1) + rest

    def counterfactuals(self, batch: TeamBatch) -> Float[Tensor, "B T N A"]:
        """B(s_{t+1}) if agent i alone had played u instead of what it played."""
        every, taken, rest = self._parts(batch)
        total = taken.sum(dim=-1) + rest
        return total[:, :, None, None] - taken.unsqueeze(-1) + every


@BARRIER_CRITICS.register("joint")
class JointCritic(nn.Module):
    """B(s_{t+1}) ≈ f(s_t, u_1 … u_N), differentiable in one-hot (or relaxed) actions.

    One unrestricted network of state and joint action, so that it can say which actions are
    deadly only together.

    Args:
        shape: Sizes of the task.
        hidden_dim: Width of the two hidden layers.
    """

    reads_trunk = False

    def __init__(self, shape: NetworkShape, hidden_dim: int) -> None:
        super().__init__()
        self.n_actions = shape.n_actions
        self.norm = nn.LayerNorm(shape.state_dim, elementwise_affine=False)
        self.of_state = nn.Linear(shape.state_dim, hidden_dim)
        self.of_actions = nn.Linear(shape.n_agents * shape.n_actions, hidden_dim, bias=False)
        self.rest = nn.Sequential(
            nn.ReLU(), nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 1)
        )

    def at(
        self, state: Float[Tensor, "B T S"], choices: Float[Tensor, "B T N A"]
    ) -> Float[Tensor, "B T"]:
        """B(s_{t+1}) under the given one-hot or relaxed actions."""
        x = self.of_state(self.norm(state)) + self.of_actions(choices.flatten(2))
        return self.rest(x).squeeze(-1)

    def forward(self, batch: TeamBatch) -> Float[Tensor, "B T"]:
        """B(s_{t+1}) under the actions taken."""
        taken = F.one_hot(batch.actions, self.n_actions).to(batch.state.dtype)
        return self.at(batch.state[:, :-1], taken)


@BARRIER_CRITICS.register("trunk")
class TrunkCritic(nn.Module):
    """B(s_{t+1}) ≈ Σ_i b_i(h_i, u_i) + b_0(s_t), with the hidden states h of the utility network.

    Cheap enough to act by: b_i is one linear layer on what acting computes anyway.

    Args:
        shape: Sizes of the task.
        hidden_dim: Width of the utility network and of b_0.
    """

    reads_trunk = True

    def __init__(self, shape: NetworkShape, hidden_dim: int) -> None:
        super().__init__()
        self.agents = nn.Linear(hidden_dim, shape.n_actions)
        self.state = _value_of(shape.state_dim, hidden_dim)

    def danger(self, hidden: Float[Tensor, "*L H"]) -> Float[Tensor, "*L A"]:
        """b_i of every action; only differences between the actions of an agent mean anything."""
        return self.agents(hidden)

    def shares(
        self, batch: TeamBatch, hidden: Float[Tensor, "B T N H"]
    ) -> tuple[Float[Tensor, "B T N"], Float[Tensor, "B T"]]:
        """b_i of the actions taken, and b_0."""
        taken = self.danger(hidden).gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        return taken * batch.alive[:, :-1], self.state(batch.state[:, :-1]).squeeze(-1)

    def forward(self, batch: TeamBatch, hidden: Float[Tensor, "B T N H"]) -> Float[Tensor, "B T"]:
        """B(s_{t+1}) under the actions taken."""
        taken, rest = self.shares(batch, hidden)
        return taken.sum(dim=-1) + rest


@BARRIER_CRITICS.register("state")
class StateCritic(nn.Module):
    """B(s), whatever the team does there.

    Args:
        shape: Sizes of the task.
        hidden_dim: Width of the hidden layer.
    """

    reads_trunk = False

    def __init__(self, shape: NetworkShape, hidden_dim: int) -> None:
        super().__init__()
        self.state = _value_of(shape.state_dim, hidden_dim)

    def values(self, state: Float[Tensor, "B T1 S"]) -> Float[Tensor, "B T1"]:
        """B(s) of any states."""
        return self.state(state).squeeze(-1)

    def forward(self, batch: TeamBatch) -> Float[Tensor, "B T"]:
        """B(s_{t+1}) of the states arrived in."""
        return self.values(batch.state[:, 1:])
