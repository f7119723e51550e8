"""Acting: one step of a utility network after another."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rllib_dbf.nets.compiled.acting import CompiledStep, InputWeights
from rllib_dbf.nets.gru import GRUWeights
from rllib_dbf.nets.heads import LinearMap
from rllib_dbf.nets.input_layers import FactoredHypernetInput, LinearInput
from rllib_dbf.nets.unrolling import greedy_quantiles, has_compiled_steps, hypernet_weights
from rllib_dbf.nets.utility import Memory, RecurrentUtility


class Actor:
    """Takes single steps without gradients; same numbers as `unroll`.

    What follows from the weights alone (embedded τ, stacked layers) is computed when they have
    changed, not at every step.

    Args:
        utility: The network; its weights may change in place.
    """

    def __init__(self, utility: RecurrentUtility) -> None:
        self.utility = utility
        self._parameters = list(utility.parameters())
        self._made_of: list[tuple[int, int]] = []

    def __reduce__(self) -> tuple[type[Actor], tuple[RecurrentUtility]]:
        """A copy makes its own of what follows from its own weights."""
        return Actor, (self.utility,)

    @torch.no_grad()
    def step(
        self,
        obs: Float[Tensor, "B N O"],
        last_actions: Int[Tensor, "B N"],
        avail: Bool[Tensor, "B N A"],
        memory: Memory,
    ) -> tuple[Float[Tensor, "B N H"], Memory]:
        """The hidden states after seeing a state of B environments, and the memory of it."""
        hidden, memory, _ = self._step(obs, last_actions, avail, memory)
        return hidden, memory

    @torch.no_grad()
    def step_and_mean(
        self,
        obs: Float[Tensor, "B N O"],
        last_actions: Int[Tensor, "B N"],
        avail: Bool[Tensor, "B N A"],
        memory: Memory,
    ) -> tuple[Float[Tensor, "B N H"], Memory, Float[Tensor, "B N A"]]:
        """As `step`, and what the head expects of every action."""
        hidden, memory, scores = self._step(obs, last_actions, avail, memory)
        return hidden, memory, self._mean(hidden) if scores is None else scores.view(avail.shape)

    def _step(
        self, obs: Tensor, last_actions: Tensor, avail: Tensor, memory: Memory
    ) -> tuple[Tensor, Memory, Tensor | None]:
        self._follow_weights()
        if self._compiled is not None:
            *after, scores = self._compiled(obs, last_actions, avail, *memory)
            found = Memory(*after)
            return found.hidden.view(*avail.shape[:2], -1), found, scores
        utility, gru = self.utility, self.utility.gru
        x = utility.input_layer.prepare(utility.inputs(obs, last_actions).flatten(0, 1))
        if utility.uses_quantiles:
            x = self._finish(x[None], memory.quantiles[None])[0]
        weights = gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0
        hidden = torch.gru_cell(torch.relu(x), memory.hidden, *weights)
        quantiles = memory.quantiles
        if utility.uses_quantiles:
            quantiles = self._greedy(hidden[None], avail.flatten(0, 1), None)[0]
        return hidden.view(*avail.shape[:2], -1), Memory(hidden, quantiles), None

    def _follow_weights(self) -> None:
        made_of = [(p._version, p.data_ptr()) for p in self._parameters]
        if made_of == self._made_of:
            return
        utility = self.utility
        self._mean = utility.head.acting_function()
        self._compiled = _compiled(utility, self._mean)
        if utility.uses_quantiles and self._compiled is None:
            self._finish = utility.input_layer.side_by_side([utility.input_layer])
            self._greedy = greedy_quantiles([utility])
        self._made_of = made_of


def _compiled(utility: RecurrentUtility, mean: Callable[[Tensor], Tensor]) -> CompiledStep | None:
    """The compiled step of a network by its weights of now, if there is one for it."""
    layer, inputs = utility.input_layer, utility.inputs
    if not has_compiled_steps(utility, utility.initial_memory(0)):
        return None
    hypernet = None
    if isinstance(layer, FactoredHypernetInput):
        hypernet = hypernet_weights(utility)
    elif not isinstance(layer, LinearInput):
        return None
    weight, bias = layer.linear_map()
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    n_agents, n_actions = len(inputs.agent_ids), len(inputs.action_numbers)
    extra = n_actions * inputs.use_last_action, n_agents * inputs.use_agent_id
    parts = (weight.shape[1] - sum(extra), *extra)
    weights = InputWeights.of(weight, bias, parts)
    worth = mean if isinstance(mean, LinearMap) else None
    return CompiledStep(weights, n_agents, GRUWeights.of(utility.gru), hypernet, worth)
