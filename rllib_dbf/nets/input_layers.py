"""Input layers: from what an agent sees to the pre-activations of its first hidden layer.

The input of agent i at time t is concat[observation; one-hot of its last action, zeros at t = 0;
one-hot of i]. `prepare` does everything that does not depend on the memory, for any number of
steps at once; `finish` brings in the return quantiles of the step before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rllib_dbf.nets.compiled.layers import Linear, linear, mixture
from rllib_dbf.registry import Registry

INPUT_LAYERS: Registry = Registry("input_layer")

SideBySide = Callable[[Float[Tensor, "V R X"], Float[Tensor, "V R M"]], Float[Tensor, "V R H"]]


def one_by_one(layers: Sequence[Any]) -> SideBySide:
    """`finish` of several networks' layers, each on its own rows."""

    def finish(prepared: Tensor, quantiles: Tensor) -> Tensor:
        rows = zip(layers, prepared, quantiles, strict=True)
        return torch.stack([layer.finish(x, z) for layer, x, z in rows])

    return finish


class AgentInputs(nn.Module):
    """Builds the input vectors.

    Args:
        n_agents: Number of agents.
        n_actions: Number of actions.
        use_last_action: Append the one-hot of the last action.
        use_agent_id: Append the one-hot of the agent.
    """

    action_numbers: Tensor
    agent_ids: Tensor

    def __init__(
        self, n_agents: int, n_actions: int, use_last_action: bool, use_agent_id: bool
    ) -> None:
        super().__init__()
        self.extra_dim = n_actions * use_last_action + n_agents * use_agent_id
        self.use_last_action = use_last_action
        self.use_agent_id = use_agent_id
        self.register_buffer("action_numbers", torch.arange(n_actions), persistent=False)
        self.register_buffer("agent_ids", torch.eye(n_agents), persistent=False)

    def forward(
        self, obs: Float[Tensor, "*L N O"], last_actions: Int[Tensor, "*L N"]
    ) -> Float[Tensor, "*L N I"]:
        """The concatenation; a last action of -1 (none) is all zeros."""
        parts = [obs]
        if self.use_last_action:
            taken = torch.eq(last_actions.unsqueeze(-1), self.action_numbers)
            parts.append(taken.to(obs.dtype))
        if self.use_agent_id:
            parts.append(self.agent_ids.expand(*obs.shape[:-1], -1))
        return torch.cat(parts, dim=-1)


@INPUT_LAYERS.register("linear")
class LinearInput(nn.Module):
    """One ordinary linear layer; ignores the quantiles.

    Args:
        in_dim: Size of the input vector.
        hidden_dim: Size of the output.
        n_quantiles: Unused, as are the rest.
    """

    uses_quantiles = False

    def __init__(
        self, in_dim: int, hidden_dim: int, n_quantiles: int, hypernet_dim: int, n_bases: int
    ) -> None:
        super().__init__()
        self.linear = Linear(in_dim, hidden_dim)

    def prepare(self, inputs: Float[Tensor, "*L I"]) -> Float[Tensor, "*L H"]:
        """The pre-activations."""
        return self.linear(inputs)

    def linear_map(self) -> tuple[Float[Tensor, "H I"], Float[Tensor, " H"]]:
        """Weight and bias of `prepare`."""
        return self.linear.weight, self.linear.bias

    def finish(
        self, prepared: Float[Tensor, "*L H"], quantiles: Float[Tensor, "*L M"]
    ) -> Float[Tensor, "*L H"]:
        """The pre-activations, unchanged."""
        return prepared


def compressed(quantiles: Float[Tensor, "*L M"]) -> Float[Tensor, "*L M"]:
    """asinh, entry by entry: linear near zero, logarithmic beyond a few units.

    A generated weight scales with what generates it, and returns grow from 0 to 20 while a team
    learns: fed as they are, they blow the input layer up midway. Written out, because PyTorch's
    asinh takes ten times as long as its logarithm.
    """
    size = quantiles.abs()
    return torch.copysign((size + (size.square() + 1.0).sqrt_()).log_(), quantiles)


def _trunk(n_quantiles: int, hypernet_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_quantiles, hypernet_dim), nn.ReLU(), nn.Linear(hypernet_dim, out_dim)
    )


@INPUT_LAYERS.register("hypernet")
class HypernetInput(nn.Module):
    """A linear layer whose non-negative weights are generated from return quantiles.

        y = x W(z) + b,    W(z) = ReLU(MLP(asinh z)) viewed as [input, hidden]

    DBF paper, section 4.4: one weight matrix per agent and step; asinh is ours. The matrices
    live in chunks of rows, and are generated again in the backward pass, so that memory does not
    grow with the batch. z is detached by the caller.

    Args:
        in_dim: Size of the input vector.
        hidden_dim: Size of the output.
        n_quantiles: Size of z.
        hypernet_dim: Hidden units of the generating network.
        n_bases: Unused.
    """

    uses_quantiles = True
    side_by_side = staticmethod(one_by_one)
    chunk_rows = 256

    def __init__(
        self, in_dim: int, hidden_dim: int, n_quantiles: int, hypernet_dim: int, n_bases: int
    ) -> None:
        super().__init__()
        self.generator = _trunk(n_quantiles, hypernet_dim, in_dim * hidden_dim)
        self.bias = nn.Parameter(torch.empty(hidden_dim))
        self.reset_parameters(in_dim)

    @torch.no_grad()
    def reset_parameters(self, in_dim: int) -> None:
        """E[W²] = 1/(3 in_dim), that of nn.Linear, for quantiles of unit variance.

        ReLU halves the second moment of symmetric pre-weights, whose variance is therefore
        2/(3 in_dim): half from the bias of the last layer, half from its weights. A unit of the
        trunk has second moment (1/3 + 1/(3 n_quantiles)) / 2 at the default initialisation.
        """
        first, last = cast(nn.Linear, self.generator[0]), cast(nn.Linear, self.generator[2])
        moment = (1.0 / 3.0 + 1.0 / (3.0 * first.in_features)) / 2.0
        bound = 1.0 / math.sqrt(in_dim)
        nn.init.uniform_(last.bias, -bound, bound)
        spread = bound / math.sqrt(last.in_features * moment)
        nn.init.uniform_(last.weight, -spread, spread)
        nn.init.uniform_(self.bias, -bound, bound)

    def prepare(self, inputs: Float[Tensor, "*L I"]) -> Float[Tensor, "*L I"]:
        """The inputs themselves: nothing can be done without the quantiles."""
        return inputs

    def finish(
        self, prepared: Float[Tensor, "*L I"], quantiles: Float[Tensor, "*L M"]
    ) -> Float[Tensor, "*L H"]:
        """The pre-activations under the weights generated from `quantiles`."""
        rows = prepared.reshape(-1, prepared.shape[-1])
        z = compressed(quantiles).reshape(-1, quantiles.shape[-1])
        features = F.relu(self.generator[0](z))
        chunks = zip(rows.split(self.chunk_rows), features.split(self.chunk_rows), strict=True)
        if torch.is_grad_enabled():
            again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)  # no draws
            out = [again(self._product, x, f) for x, f in chunks]
        else:
            out = [self._product(x, f) for x, f in chunks]
        y = torch.cat(out) + self.bias
        return y.reshape(*prepared.shape[:-1], -1)

    def _product(self, x: Tensor, features: Tensor) -> Tensor:
        weights = self.weights(features).view(*x.shape, -1)  # [rows, I, H]
        return torch.bmm(x.unsqueeze(1), weights).squeeze(1)

    def weights(self, features: Float[Tensor, "R F"]) -> Float[Tensor, "R W"]:
        """The generated weights, row by row."""
        return F.relu(self.generator[2](features))


@INPUT_LAYERS.register("hypernet_factored")
class FactoredHypernetInput(nn.Module):
    """The hypernetwork layer with weights mixed from a few non-negative bases.

        W(z) = Σ_c ReLU(c_c(z)) ReLU(W_c),    c(z) = MLP(asinh z),    y = x W(z) + b

    Ours, not the paper's: as non-negative as the literal form, but x W_c is computed for all
    steps at once and no matrix per row exists.

    Args:
        in_dim: Size of the input vector.
        hidden_dim: Size of the output.
        n_quantiles: Size of z.
        hypernet_dim: Hidden units of the network behind the coefficients.
        n_bases: Number of bases.
    """

    uses_quantiles = True

    def __init__(
        self, in_dim: int, hidden_dim: int, n_quantiles: int, hypernet_dim: int, n_bases: int
    ) -> None:
        super().__init__()
        self.coefficients = _trunk(n_quantiles, hypernet_dim, n_bases)
        self.bases = nn.Parameter(torch.empty(n_bases * hidden_dim, in_dim))
        self.bias = nn.Parameter(torch.empty(hidden_dim))
        self.reset_parameters(in_dim, n_bases)

    @torch.no_grad()
    def reset_parameters(self, in_dim: int, n_bases: int) -> None:
        """E[W²] = 1/(3 in_dim), that of nn.Linear, at coefficients 1/n_bases.

        A base drawn from U(-a, a) and rectified has mean a/4 and second moment a²/6; the mean of
        C of them has second moment a² (1/(6C) + (1 - 1/C)/16).
        """
        moment = 1.0 / (6.0 * n_bases) + (1.0 - 1.0 / n_bases) / 16.0
        bound = 1.0 / math.sqrt(in_dim)
        limit = bound / math.sqrt(3.0 * moment)
        nn.init.uniform_(self.bases, -limit, limit)
        nn.init.uniform_(self.bias, -bound, bound)
        last = cast(nn.Linear, self.coefficients[2])
        last.weight.div_(n_bases)
        nn.init.constant_(last.bias, 1.0 / n_bases)

    def prepare(self, inputs: Float[Tensor, "*L I"]) -> Float[Tensor, "*L CH"]:
        """x ReLU(W_c) of every base."""
        return linear(inputs, F.relu(self.bases))

    def linear_map(self) -> tuple[Float[Tensor, "CH I"], None]:
        """Weight and bias of `prepare`."""
        return F.relu(self.bases), None

    def finish(
        self, prepared: Float[Tensor, "*L CH"], quantiles: Float[Tensor, "*L M"]
    ) -> Float[Tensor, "*L H"]:
        """The bases mixed by the coefficients of `quantiles`."""
        coefficients = F.relu(self.coefficients(compressed(quantiles)))
        return mixture(coefficients, prepared, self.bias)

    @staticmethod
    def side_by_side(layers: Sequence[FactoredHypernetInput]) -> SideBySide:
        """`finish` of several networks' layers in one go, under the weights of now; no gradient."""
        trunks = [[layer.coefficients[0], layer.coefficients[2]] for layer in layers]
        (w1, b1), (w2, b2) = (
            (torch.stack([x.weight.t() for x in each]), torch.stack([x.bias for x in each]))
            for each in cast(Any, zip(*trunks, strict=True))
        )
        b1, b2 = b1.unsqueeze(1), b2.unsqueeze(1)
        bias = torch.stack([layer.bias for layer in layers]).unsqueeze(1)

        def finish(prepared: Tensor, quantiles: Tensor) -> Tensor:
            features = torch.baddbmm(b1, compressed(quantiles), w1).relu_()
            coefficients = torch.baddbmm(b2, features, w2).relu_().unsqueeze(-1)
            bases = prepared.unflatten(-1, (coefficients.shape[-2], -1))
            return (coefficients * bases).sum(dim=-2).add_(bias)

        return finish
