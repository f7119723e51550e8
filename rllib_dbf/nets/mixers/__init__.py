"""Mixers: from what the agents say to the value of the team.

Every mixer is made by `make_mixer` from one `MixerSizes` and called as
`mixer(utilities, state) -> [B, T, G, K]`, with a state that is already normalised. `monotone` says
that raising a utility never lowers the team value, `grouped` that there is one value per agent
(G = N) instead of one for the team (G = 1), `expected_only` that it refuses return quantiles
because it is not linear in them, `reads_maximum` that it looks at `q_max` (it may if it does not
say). A mixer may have a method `penalty(state)`: a number
per state, whose mean is added to the loss.
"""

from __future__ import annotations

import re
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.nets.mixers.independent import Independent
from rllib_dbf.nets.mixers.mean_shape import MeanShape
from rllib_dbf.nets.mixers.qatten import Qatten, RiskQMix
from rllib_dbf.nets.mixers.qmix import QMix
from rllib_dbf.nets.mixers.qplex import QPlex, QPlexAttention
from rllib_dbf.nets.mixers.sizes import MixerSizes
from rllib_dbf.nets.mixers.sum import Sum
from rllib_dbf.registry import Registry

MIXERS: Registry = Registry("mixer")
MIXERS.register("independent")(Independent)
MIXERS.register("sum")(Sum)
MIXERS.register("qmix")(QMix)
MIXERS.register("qatten")(Qatten)
MIXERS.register("qplex")(QPlex)
MIXERS.register("qplex_qatten")(QPlexAttention)
MIXERS.register("riskq")(RiskQMix)

WRAPPERS: Registry = Registry("mixer wrapper")
WRAPPERS.register("mean_shape")(MeanShape)


def make_mixer(name: str, *args: Any, **kwargs: Any) -> nn.Module:
    """The mixer called `name`: a name in `MIXERS`, or `wrapper(mixer)`.

    Args:
        name: For example "qmix" or "mean_shape(qmix)".
        *args: The sizes, in the order of `MixerSizes`.
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
    return MIXERS[name.strip()](MixerSizes(*args, **kwargs))


def mixer_penalty(mixer: nn.Module, state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L"] | None:
    """What a mixer, or the mixer inside it, adds to the loss of each state; None for most."""
    penalty = getattr(mixer, "penalty", None)
    return None if penalty is None else penalty(state)
