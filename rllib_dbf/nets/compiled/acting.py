"""Single steps of a recurrent utility network in compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, byref
from typing import Any, NamedTuple

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rllib_dbf.compiled.calls import LANES, Call, fields, require_shape
from rllib_dbf.nets.compiled.gru import Gru
from rllib_dbf.nets.compiled.hypernet import Hypernet, HypernetWeights
from rllib_dbf.nets.gru import GRUWeights


class _Inputs(Structure):
    _fields_ = fields("obs actions agents wide", "obs_weight action_weight agent_weight bias")


class _Worth(Structure):
    _fields_ = fields("actions padded", "weight bias")

    @classmethod
    def of(cls, call: Call, weight: Float[Tensor, "A H"], bias: Float[Tensor, " A"]) -> _Worth:
        missing = -len(bias) % LANES
        padded = F.pad(weight.detach(), (0, 0, 0, missing)).t(), F.pad(bias.detach(), (0, missing))
        return cls(len(bias), len(bias) + missing, *map(call.pointer, padded))


class InputWeights(NamedTuple):
    """What an input layer makes of an observation, an action and an agent, which are added up."""

    obs: Float[Tensor, "W O"]
    action: Float[Tensor, "W A"] | None
    agent: Float[Tensor, "W N"] | None
    bias: Float[Tensor, " W"]

    @classmethod
    def of(
        cls, weight: Float[Tensor, "W I"], bias: Float[Tensor, " W"], parts: Sequence[int]
    ) -> InputWeights:
        """The columns of one weight: of the observation, of the actions, of the agents.

        Args:
            weight: Of the whole input.
            bias: Of the layer.
            parts: Entries of the observation, of the last action and of the agent; 0 for none.
        """
        obs, action, agent = (part if part.shape[1] else None for part in weight.split(parts, 1))
        assert obs is not None
        return cls(obs, action, agent, bias)


class CompiledStep:
    """Input layer, GRU and remembered quantiles of one network, by the weights it was made of.

    Args:
        inputs: Of the input layer.
        n_agents: Row i belongs to agent i modulo this.
        gru: Of the recurrent layer.
        hypernet: Of an input layer that reads quantiles.
        worth: Weight and bias of the scores as a linear map of the states, if they are one.
    """

    def __init__(
        self,
        inputs: InputWeights,
        n_agents: int,
        gru: GRUWeights,
        hypernet: HypernetWeights | None,
        worth: tuple[Float[Tensor, "A H"], Float[Tensor, " A"]] | None,
    ) -> None:
        self._call = Call()  # keeps the arrays
        width, obs = inputs.obs.shape
        actions = 0 if inputs.action is None else inputs.action.shape[1]
        arrays = [part if part is None else part.detach().t() for part in inputs[:3]]
        pointers = map(self._call.pointer, (*arrays, inputs.bias.detach()))
        self._inputs = _Inputs(obs, actions, n_agents, width, *pointers)
        self._gru = Gru.of(self._call, gru)
        self._hypernet: Any = hypernet and Hypernet.of(self._call, hypernet)
        self._worth: Any = worth and _Worth.of(self._call, *worth)

    def __call__(
        self,
        obs: Float[Tensor, "B N O"],
        last_actions: Int[Tensor, "B N"],
        avail: Bool[Tensor, "B N A"],
        hidden: Float[Tensor, "R H"],
        quantiles: Float[Tensor, "R M"],
    ) -> tuple[Float[Tensor, "R H"], Float[Tensor, "R M"], Float[Tensor, "R A"] | None]:
        """New states, remembered quantiles (without a hypernetwork these stay), and scores.

        Raises:
            ValueError: If arrays differ in their rows, or in size from the weights.
        """
        rows, agents = len(hidden), self._inputs.agents
        require_shape("obs", obs, rows // agents, agents, self._inputs.obs)
        require_shape("last_actions", last_actions, rows // agents, agents)
        require_shape("hidden", hidden, rows, self._gru.hidden)
        if self._hypernet is not None:
            require_shape("avail", avail, rows // agents, agents, self._hypernet.actions)
            require_shape("quantiles", quantiles, rows, self._hypernet.quantiles)
        call, states, net = Call(), hidden.new_empty(hidden.shape), self._hypernet
        remembered = quantiles if net is None else quantiles.new_empty(quantiles.shape)
        worth, scores = self._worth, None
        if worth is not None:
            scores = hidden.new_empty(rows, worth.actions)
        parts = self._inputs, self._gru, net, worth
        parts = (None if part is None else byref(part) for part in parts)
        before = obs, last_actions.long(), avail.bool(), hidden, quantiles
        call("act", rows, *parts, *before, states, remembered, scores)
        return states, remembered, scores
