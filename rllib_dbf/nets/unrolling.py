"""Running alike utility networks over whole episodes, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rllib_dbf.compiled.calls import fits
from rllib_dbf.nets.compiled.gru import CompiledTrace
from rllib_dbf.nets.compiled.hypernet import HypernetWeights
from rllib_dbf.nets.compiled.inputs import look
from rllib_dbf.nets.fused import launches
from rllib_dbf.nets.fused.trace import TritonTrace
from rllib_dbf.nets.gru import GRUTrace, GRUWeights
from rllib_dbf.nets.input_layers import FactoredHypernetInput, LinearInput

if TYPE_CHECKING:
    from rllib_dbf.nets.utility import Memory, RecurrentUtility


def unroll_together(
    utilities: Sequence[RecurrentUtility],
    obs: Float[Tensor, "P N O"],
    last_actions: Int[Tensor, "P N"],
    avail: Bool[Tensor, "P N A"],
    counts: Sequence[int],
    memory: Memory | None = None,
) -> list[Float[Tensor, "P N H"]]:
    """Hidden states of whole episodes; gradients through all of time for the first network only.

    The remembered quantiles are detached, so when the input layer reads them a first pass without
    gradients finds them, and one pass over all steps at once does the rest.

    Args:
        utilities: Networks of one shape: the online one, and perhaps its target.
        obs: Observations in packed order (see `Packing`).
        last_actions: The action before each state, -1 for none.
        avail: Available actions.
        counts: Episodes present at each step; `[B] * T` where all are as long.
        memory: At the start of the episodes; zeros if not given.
    """
    first, agents = utilities[0], obs.shape[1]
    rows = [count * agents for count in counts]
    memory = first.initial_memory(rows[0]) if memory is None else memory
    weights = [GRUWeights.of(utility.gru) for utility in utilities]
    learns = torch.is_grad_enabled()
    if has_fused_walks(utilities, memory, rows):
        trace = TritonTrace(weights, memory.hidden, rows, learns)
    elif has_compiled_steps(first, memory):
        trace = CompiledTrace(weights, memory.hidden, rows, learns)
    else:
        trace = GRUTrace(weights, memory.hidden, rows)
    looks = isinstance(trace, CompiledTrace) and _has_compiled_look(first, obs)
    prepared = (_looked if looks else _prepared)(utilities, obs, last_actions)
    if first.uses_quantiles:
        if not isinstance(trace, GRUTrace):
            nets = [hypernet_weights(utility) for utility in utilities]
            trace.run_hypernets(nets, prepared, avail.flatten(0, 1), memory.quantiles)
            inputs = trace.hypernet_inputs(prepared[0], nets[0]) if learns else None
        else:
            entering = _replay(utilities, trace, prepared, avail.flatten(0, 1), memory)
            inputs = F.relu(first.input_layer.finish(prepared[0], entering)) if learns else None
    else:
        read = prepared if looks else [F.relu(x) for x in prepared]
        trace.run([x.detach() for x in read])
        inputs = read[0]
    hidden = list(trace.states)
    if learns and inputs is not None:
        hidden[0] = trace.differentiable(inputs, memory.hidden, weights[0])
    return [states.unflatten(0, (-1, agents)) for states in hidden]


def _prepared(
    utilities: Sequence[RecurrentUtility], obs: Tensor, last_actions: Tensor
) -> list[Float[Tensor, "R X"]]:
    """What each input layer makes of the inputs; gradients for the first only."""
    first = utilities[0]
    x = first.inputs(obs, last_actions).flatten(0, 1)
    found = [first.input_layer.prepare(x)]
    with torch.no_grad():
        return found + [other.input_layer.prepare(x) for other in utilities[1:]]


def _has_compiled_look(utility: RecurrentUtility, obs: Tensor) -> bool:
    """Whether there is compiled code for a network's input layer, which has no gradient for obs."""
    kinds = LinearInput, FactoredHypernetInput
    return type(utility.input_layer) in kinds and not obs.requires_grad


def _looked(
    utilities: Sequence[RecurrentUtility], obs: Tensor, last_actions: Tensor
) -> list[Float[Tensor, "R X"]]:
    """`_prepared` in compiled code; after a ReLU where no hypernetwork follows."""
    inputs, rectify = utilities[0].inputs, not utilities[0].uses_quantiles
    n_actions = len(inputs.action_numbers) * inputs.use_last_action
    found = []
    for i, utility in enumerate(utilities):
        with torch.set_grad_enabled(torch.is_grad_enabled() and i == 0):
            weight, bias = utility.input_layer.linear_map()
            how = n_actions, inputs.use_agent_id, rectify
            found.append(look(obs, last_actions, weight, bias, *how))
    return found


def has_compiled_steps(utility: RecurrentUtility, memory: Memory) -> bool:
    """Whether there is compiled code for a network's steps."""
    if not utility.uses_quantiles:
        return fits(utility.hidden_dim, like=memory.hidden)
    layer = utility.input_layer
    if not isinstance(layer, FactoredHypernetInput):
        return False
    sizes = utility.hidden_dim, utility.n_memory_quantiles, layer.coefficients[0].out_features
    return fits(*sizes, like=memory.hidden)


def has_fused_walks(
    utilities: Sequence[RecurrentUtility], memory: Memory, counts: Sequence[int]
) -> bool:
    """Whether there are kernels for whole walks of alike networks on the memory's device."""
    first = utilities[0]
    if not launches.fits(first.hidden_dim, counts, len(utilities), like=memory.hidden):
        return False
    layer = first.input_layer
    if not first.uses_quantiles:
        return True
    if not isinstance(layer, FactoredHypernetInput):
        return False
    sizes = layer.coefficients[0].out_features, layer.coefficients[2].out_features
    return launches.fits_hypernet(first.n_memory_quantiles, *sizes, first.head.out.out_features)


@torch.no_grad()
def hypernet_weights(utility: RecurrentUtility) -> HypernetWeights:
    """What compiled code needs of an input layer that reads quantiles, and of the head."""
    layer, head = utility.input_layer, utility.head
    first, second = layer.coefficients[0], layer.coefficients[2]
    phi = head.embed(utility.memory_tau)
    return HypernetWeights(
        first=first.weight,
        first_bias=first.bias,
        second=second.weight,
        second_bias=second.bias,
        bias=layer.bias,
        mean=head.out.weight * phi.mean(dim=0),
        out=head.out.weight,
        out_bias=head.out.bias,
        phi=phi,
    )


@torch.no_grad()
def _replay(
    utilities: Sequence[RecurrentUtility],
    trace: GRUTrace,
    prepared: Sequence[Float[Tensor, "R X"]],
    avail: Bool[Tensor, "R A"],
    memory: Memory,
) -> Float[Tensor, "R M"]:
    """Take every step, and return the first network's quantiles on entering each."""
    nets, counts = len(utilities), trace.counts
    quantiles = memory.quantiles.new_empty(nets, len(avail), memory.quantiles.shape[-1])
    entering = quantiles.split(counts, dim=1)
    entering[0].copy_(memory.quantiles)
    finish = utilities[0].input_layer.side_by_side([u.input_layer for u in utilities])
    greedy = greedy_quantiles(utilities)
    steps = torch.stack([x.detach() for x in prepared]).split(counts, dim=1)
    for x, avail_t, z, after in zip(
        steps, avail.split(counts), entering, [*entering[1:], None], strict=True
    ):
        hidden = trace.step(finish(x, z).relu_())
        if after is not None:
            kept = after.shape[1]  # rows of episodes that go on
            greedy(hidden[:, :kept], avail_t[:kept], after)
    return quantiles[0]


def greedy_quantiles(
    utilities: Sequence[RecurrentUtility],
) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """A function of hidden states [V, R, H], available actions [R, A] and where to write.

    It gives the remembered quantiles [V, R, M] of each network's available action of greatest
    mean, under the weights of now.
    """
    heads = [utility.head for utility in utilities]
    phis = [head.embed(utility.memory_tau) for head, utility in zip(heads, utilities, strict=True)]
    phi = torch.stack([p.t() for p in phis])  # [V, H, M]
    means = zip(heads, phis, strict=True)
    mean_weight = torch.stack([(head.out.weight * p.mean(dim=0)).t() for head, p in means])
    biases = torch.stack([head.out.bias for head in heads])
    weights = torch.cat([head.out.weight for head in heads])  # [V A, H]
    flat_biases, mean_bias = biases.flatten(), biases.unsqueeze(1)
    first_row = torch.arange(len(heads), device=phi.device).mul_(biases.shape[1]).unsqueeze(1)

    def of_greedy(hidden: Tensor, avail: Tensor, out: Tensor | None) -> Tensor:
        scores = torch.baddbmm(mean_bias, hidden, mean_weight)
        action = scores.masked_fill_(~avail, -torch.inf).argmax(dim=-1)
        row = action.add_(first_row).flatten()
        weighted = weights.index_select(0, row).view_as(hidden).mul_(hidden)
        bias = flat_biases.index_select(0, row).view(*hidden.shape[:-1], 1)
        return torch.baddbmm(bias, weighted, phi, out=out)

    return of_greedy
