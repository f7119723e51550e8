"""Mixers: from what the agents say to the value of the team.

Every mixer is made by `make_mixer` with the same arguments and called as
`mixer(utilities, state) -> [B, T, G, K]`, with a state that is already normalised. `monotone` says
that raising a utility never lowers the team value, `grouped` that there is one value per agent
(G = N) instead of one for the team (G = 1).
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from rllib_dbf.nets.mixers.independent import Independent
from rllib_dbf.nets.mixers.mean_shape import MeanShape
from rllib_dbf.nets.mixers.qmix import QMix
from rllib_dbf.nets.mixers.sum import Sum
from rllib_dbf.registry import Registry

MIXERS: Registry = Registry("mixer")
MIXERS.register("independent")(Independent)
MIXERS.register("sum")(Sum)
MIXERS.register("qmix")(QMix)

WRAPPERS: Registry = Registry("mixer wrapper")
WRAPPERS.register("mean_shape")(MeanShape)


def make_mixer(name: str, *args: Any, **kwargs: Any) -> nn.Module:
    """The mixer called `name`: a name in `MIXERS`, or `wrapper(mixer)`.

    Args:
        name: For example "qmix" or "mean_shape(qmix)".
        *args: Arguments of every mixer: n_agents, n_actions, state_dim, hidden_dim, embed_dim,
            hypernet_dim, hypernet_layers.
        **kwargs: The same by name.

    Raises:
        ValueError: If a part of the name is unknown (with the nearest known name).
    """
    composed = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", name)
    if composed:
        wrapper = WRAPPERS[composed[1]]
        return wrapper(make_mixer(composed[2], *args, **kwargs))
    if name.strip() in WRAPPERS:
        raise ValueError(f"mixer={name!r} wraps another mixer; write '{name.strip()}(qmix)'")
    return MIXERS[name.strip()](*args, **kwargs)
