"""What every mixer is built from, and what it reads of the state."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.nets.compiled.layers import Linear
from rllib_dbf.team import Utilities


class MixerSizes(NamedTuple):
    """The one argument of every mixer; a mixer takes what it needs."""

    n_agents: int
    n_actions: int
    state_dim: int
    hidden_dim: int  # of the utilities' hidden states
    embed_dim: int = 32  # width of what mixes
    hypernet_dim: int = 64  # hidden units of the networks that make its weights
    hypernet_layers: int = 2
    unit_dim: int = 0  # features of each agent at the front of the state; 0: not known
    n_kernels: int = 10  # terms of a duelling mixer's λ
    kernel_layers: int = 3  # linear layers of the networks that make λ
    weighted_heads: bool = True  # of attention: a head counts |w_h(s)|, not 1


def mlp(in_dim: int, width: int, out_dim: int, layers: int = 2, bias: bool = True) -> nn.Module:
    """Linear layers with ReLU between them; `bias` is that of the last one."""
    steps: list[nn.Module] = []
    for _ in range(layers - 1):
        steps += [Linear(in_dim, width), nn.ReLU()]
        in_dim = width
    last = Linear(in_dim, out_dim, bias=bias)
    return nn.Sequential(*steps, last) if steps else last


def unit_dim_of(sizes: MixerSizes) -> int:
    """State features that describe one agent: as given, else an equal share of the state."""
    return sizes.unit_dim or max(1, sizes.state_dim // sizes.n_agents)


def unit_states(state: Float[Tensor, "*L S"], sizes: MixerSizes) -> Float[Tensor, "*L N U"]:
    """What the state says of each agent: state[i U : (i + 1) U].

    A state that is shorter than one feature per agent is filled up with zeros.
    """
    width = unit_dim_of(sizes) * sizes.n_agents
    if width > state.shape[-1]:
        state = F.pad(state, (0, width - state.shape[-1]))
    return state[..., :width].unflatten(-1, (sizes.n_agents, -1))


def require_expected(name: str, utilities: Utilities) -> None:
    """Refuse quantiles where the mixing is not linear in them.

    Raises:
        ValueError: If there is more than one quantile.
    """
    count = utilities.z.shape[-1]
    if count != 1:
        raise ValueError(
            f"{name} mixes expected values (K = 1) and got K = {count} quantiles; use "
            f"mixer='mean_shape({name})'"
        )
