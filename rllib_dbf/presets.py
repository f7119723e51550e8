"""THE TABLE: an algorithm is a row of parts.

Nothing else in the package knows an algorithm by name; a system that does not fit a row adds a
part (a mixer, a head, a loss term, a risk measure), never an `if`.
"""

from __future__ import annotations

from typing import NamedTuple

from rllib_dbf.registry import Registry


class Preset(NamedTuple):
    """One system: which parts it is made of, and where it comes from."""

    title: str
    head: str  # nets/utility.py HEADS: "expected" or "iqn"
    mixer: str  # nets/mixers MIXERS; "mean_shape(x)" mixes means by x and adds the shapes
    td_loss: str  # loss_terms.py TD_LOSSES: "squared" or "quantile_huber"
    paper: str
    input_layer: str = "linear"  # nets/utility.py INPUT_LAYERS
    barrier_estimator: str = "off"  # loss_terms.py: "off" or "score"
    gradient_combination: str = "sum"  # functional/gradients.py COMBINATIONS
    n_quantiles: int = 1


PRESETS: Registry[Preset] = Registry("algorithm")
