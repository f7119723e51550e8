"""Duplex duelling mixing: any positive weights on the advantages, whatever the joint action."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rllib_dbf.nets.mixers.qatten import StateAttention
from rllib_dbf.nets.mixers.sizes import MixerSizes, mlp, require_expected, unit_states
from rllib_dbf.team import Utilities

TINY = 1e-10  # keeps weights above zero
ATTENTION_PENALTY = 1e-3


class ActionImportance(nn.Module):
    """λ_i(s, u) = Σ_k (|key_k(s)| + ε) σ(agent_k(s))_i σ(action_k(s, u))_i > 0.

    QPLEX (Wang et al., 2021), appendix B. The joint action is read as one-hots, agent by agent.

    Args:
        sizes: Of the task; `n_kernels` terms k, whose networks have `kernel_layers` linear layers
            with `hypernet_dim` units between them.
    """

    def __init__(self, sizes: MixerSizes) -> None:
        super().__init__()
        self.n_actions = sizes.n_actions
        joint_dim = sizes.state_dim + sizes.n_agents * sizes.n_actions

        def kernels(in_dim: int, out_dim: int) -> nn.ModuleList:
            return nn.ModuleList(
                mlp(in_dim, sizes.hypernet_dim, out_dim, sizes.kernel_layers)
                for _ in range(sizes.n_kernels)
            )

        self.keys = kernels(sizes.state_dim, 1)
        self.agents = kernels(sizes.state_dim, sizes.n_agents)
        self.actions = kernels(joint_dim, sizes.n_agents)

    def forward(
        self, state: Float[Tensor, "*L S"], actions: Int[Tensor, "*L N"]
    ) -> Float[Tensor, "*L N"]:
        """The importance of each agent's advantage."""
        taken = F.one_hot(actions, self.n_actions).flatten(-2).to(state.dtype)
        joint = torch.cat([state, taken], dim=-1)
        weight = _all_at_once(self.keys, state).abs() + TINY  # [K, *L, 1]
        shares = _all_at_once(self.agents, state).sigmoid()
        shares = shares * _all_at_once(self.actions, joint).sigmoid()  # [K, *L, N]
        return (weight * shares).sum(dim=0)


def _all_at_once(networks: nn.ModuleList, x: Float[Tensor, "*L I"]) -> Float[Tensor, "K *L O"]:
    """What each of K networks of the same shape says, as few large products."""
    rows = x.flatten(0, -2).expand(len(networks), -1, -1)
    layers = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in networks]
    for depth, layer in enumerate(zip(*layers, strict=True)):
        weights = torch.stack([linear.weight for linear in layer]).transpose(1, 2)
        biases = torch.stack([linear.bias for linear in layer]).unsqueeze(1)
        rows = torch.baddbmm(biases, rows if depth == 0 else rows.relu(), weights)
    return rows.unflatten(1, x.shape[:-1])


class QPlex(nn.Module):
    """Q_tot = Σ_i (w_i q_i + b_i) + Σ_i (λ_i - 1) sg[w_i (q_i - max_u q_i)].

    QPLEX (Wang et al., 2021), eqs 9–12, with w_i = |w(s)_i| + ε > 0, b_i = b(s)_i and λ_i > 0.
    The advantages are not positive, so the greedy actions stay greedy jointly, and λ_i depends on
    the joint action, so any value function with that property can be represented. Advantages are
    detached: utilities learn through the first sum, λ through the second.

    Args:
        sizes: Of the task and the layers.

    Raises:
        ValueError: When called with more than one quantile.
    """

    name = "qplex"
    monotone = True
    expected_only = True
    grouped = False
    reads_maximum = True

    def __init__(self, sizes: MixerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self._make_transform()
        self.importance = ActionImportance(sizes)

    def _make_transform(self) -> None:
        sizes = self.sizes
        self.weights = mlp(sizes.state_dim, sizes.hypernet_dim, sizes.n_agents)
        self.bias = mlp(sizes.state_dim, sizes.hypernet_dim, sizes.n_agents)

    def transform(
        self, state: Float[Tensor, "*L S"]
    ) -> tuple[Float[Tensor, "*L N"], Float[Tensor, "*L #N"]]:
        """Weight w_i > 0 and bias b_i of each utility."""
        return self.weights(state).abs() + TINY, self.bias(state)

    def duel(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
        """The two sums: transformed utilities, and weighted advantages less the plain ones."""
        require_expected(self.name, utilities)
        assert utilities.q_max is not None, "a mixer that reads the maximum was not given it"
        q = utilities.z.squeeze(-1)
        weights, bias = self.transform(state)
        advantage = (weights * (q - utilities.q_max)).detach()
        importance = self.importance(state, utilities.actions)
        plain = (weights * q + bias).sum(dim=-1)
        return plain, ((importance - 1.0) * advantage).sum(dim=-1)

    def forward(
        self, utilities: Utilities, state: Float[Tensor, "B T S"]
    ) -> Float[Tensor, "B T 1 1"]:
        """The team's expected value."""
        plain, extra = self.duel(utilities, state)
        return (plain + extra)[..., None, None]


class QPlexAttention(QPlex):
    """QPLEX whose weights come from attention: w_i = Σ_h softmax_i(logits_h) + ε, b_i = v(s)/N.

    The form that QPLEX's authors (Wang et al., 2021) use on StarCraft II. Large logits cost
    0.001 Σ_h mean(logits_h²), see `penalty`.

    Args:
        sizes: Of the task and the layers; `weighted_heads` multiplies head h by |w_h(s)|, as
            Qatten does.
    """

    name = "qplex_qatten"
    n_heads = 4

    def _make_transform(self) -> None:
        sizes = self.sizes
        self.attention = StateAttention(sizes, self.n_heads, bias=False)
        if sizes.weighted_heads:
            self.head_weights = mlp(sizes.state_dim, sizes.hypernet_dim, self.n_heads)
        self.value = mlp(sizes.state_dim, sizes.embed_dim, 1)

    def _logits(self, state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L heads N"]:
        return self.attention(state, unit_states(state, self.sizes))

    def transform(
        self, state: Float[Tensor, "*L S"]
    ) -> tuple[Float[Tensor, "*L N"], Float[Tensor, "*L #N"]]:
        """Weight w_i > 0 and bias b_i of each utility."""
        attention = (self._logits(state) * self.attention.scale).softmax(dim=-1)
        if self.sizes.weighted_heads:
            attention = attention * self.head_weights(state).abs().unsqueeze(-1)
        bias = self.value(state) / self.sizes.n_agents
        return attention.sum(dim=-2) + TINY, bias.expand(*state.shape[:-1], self.sizes.n_agents)

    def penalty(self, state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L"]:
        """0.001 Σ_h mean(logits_h²) over agents; its mean over states is added to the loss."""
        logits = self._logits(state)
        return ATTENTION_PENALTY * self.n_heads * logits.square().mean(dim=(-2, -1))
