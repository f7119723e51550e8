"""The utility network: one recurrent network shared by all agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from rllib_dbf.nets.heads import HEADS, midpoints
from rllib_dbf.nets.input_layers import INPUT_LAYERS, AgentInputs
from rllib_dbf.nets.quantile_heads import AdaptiveCVaRHead, QuantileHead, RiskPairHead
from rllib_dbf.nets.second_layer import SecondLayerHypernet
from rllib_dbf.nets.unrolling import unroll_together

INPUT_LAYERS.register("hypernet_second")(SecondLayerHypernet)
HEADS.register("qr")(QuantileHead)
HEADS.register("cvar_qr")(AdaptiveCVaRHead)
HEADS.register("iqn_pair")(RiskPairHead)

__all__ = ["HEADS", "INPUT_LAYERS", "Memory", "RecurrentUtility"]


class Memory(NamedTuple):
    """What an agent remembers, one row b*N + i per agent.

    `quantiles` are those of the greedy available action of the step before, zeros at the start of
    an episode; it has no columns when the input layer does not read them.
    """

    hidden: Float[Tensor, "R H"]
    quantiles: Float[Tensor, "R M"]


class RecurrentUtility(nn.Module):
    """Input layer, ReLU, GRU, head; agents and steps share all parameters.

    Args:
        obs_dim: Size of an agent's observation.
        n_agents: Number of agents.
        n_actions: Number of actions.
        hidden_dim: Size of both hidden layers.
        head: Name in `HEADS`.
        input_layer: Name in `INPUT_LAYERS`.
        n_cosines: Cosine features of the IQN head.
        n_quantiles: Return quantiles of a head that has a fixed number of them.
        n_memory_quantiles: Return quantiles remembered for the input layer.
        hypernet_dim: Hidden units of the hypernetwork.
        n_bases: Bases of the factored hypernetwork.
        use_last_action: Feed the one-hot of the last action.
        use_agent_id: Feed the one-hot of the agent.

    Raises:
        ValueError: If the input layer reads return quantiles that the head does not have.
    """

    def __init__(
        self,
        obs_dim: int,
        n_agents: int,
        n_actions: int,
        hidden_dim: int = 64,
        head: str = "expected",
        input_layer: str = "linear",
        n_cosines: int = 64,
        n_quantiles: int = 1,
        n_memory_quantiles: int = 32,
        hypernet_dim: int = 32,
        n_bases: int = 4,
        use_last_action: bool = True,
        use_agent_id: bool = True,
    ) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.inputs = AgentInputs(n_agents, n_actions, use_last_action, use_agent_id)
        self.input_layer = INPUT_LAYERS[input_layer](
            obs_dim + self.inputs.extra_dim, hidden_dim, n_memory_quantiles, hypernet_dim, n_bases
        )
        self.gru = nn.GRU(hidden_dim, hidden_dim)
        self.head = HEADS[head](hidden_dim, n_actions, n_cosines, n_quantiles)
        self.uses_quantiles = self.input_layer.uses_quantiles
        self.n_memory_quantiles = n_memory_quantiles if self.uses_quantiles else 0
        self.register_buffer("memory_tau", midpoints(n_memory_quantiles), persistent=False)
        if self.uses_quantiles and not self.head.any_fraction:
            raise ValueError(
                f"input_layer={input_layer!r} reads return quantiles at given fractions, which "
                f"head={head!r} does not have; choose head='iqn' or input_layer='linear'"
            )

    def initial_memory(self, rows: int) -> Memory:
        """Memory at the start of an episode: zeros."""
        weight = cast(Tensor, self.gru.weight_hh_l0)
        return Memory(
            weight.new_zeros(rows, self.hidden_dim), weight.new_zeros(rows, self.n_memory_quantiles)
        )

    def unroll(
        self,
        obs: Float[Tensor, "P N O"],
        last_actions: Int[Tensor, "P N"],
        avail: Bool[Tensor, "P N A"],
        counts: Sequence[int],
        memory: Memory | None = None,
    ) -> Float[Tensor, "P N H"]:
        """Hidden states of whole episodes, with gradients; see `unroll_together`."""
        return unroll_together([self], obs, last_actions, avail, counts, memory)[0]
