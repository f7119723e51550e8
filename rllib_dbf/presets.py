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
    head: str
    mixer: str  # "mean_shape(x)" mixes the means by x and adds the shapes
    td_loss: str
    paper: str
    n_quantiles: int = 1
    input_layer: str = "linear"
    barrier_estimator: str = "off"
    gradient_combination: str = "sum"
    action_correction: str = "off"


PRESETS: Registry[Preset] = Registry("algorithm")

_DFAC = "DFAC (Sun et al., 2021)"
_DBF = "DBF (Hazra, Dasgupta, Dey, 2025)"

for _name, _row in {
    "iql": Preset("IQL", "expected", "independent", "squared", "Tan, 1993"),
    "vdn": Preset("VDN", "expected", "sum", "squared", "Sunehag et al., 2018"),
    "qmix": Preset("QMIX", "expected", "qmix", "squared", "Rashid et al., 2018"),
    "diql": Preset("DIQL", "iqn", "independent", "quantile_huber", _DFAC, 8),
    "ddn": Preset("DDN", "iqn", "mean_shape(sum)", "quantile_huber", _DFAC, 8),
    "dmix": Preset("DMIX", "iqn", "mean_shape(qmix)", "quantile_huber", _DFAC, 8),
    "cbf": Preset(
        "CBF",
        "iqn",
        "mean_shape(qmix)",
        "quantile_huber",
        "after Qin et al., 2021; the adaptation is ours",
        8,
        action_correction="cbf",
    ),
    "qbf": Preset(
        "QBF",
        "expected",
        "qmix",
        "squared",
        _DBF,
        barrier_estimator="score",
        gradient_combination="sum",
    ),
    "dbf": Preset(
        "DBF",
        "iqn",
        "mean_shape(qmix)",
        "quantile_huber",
        _DBF,
        8,
        "hypernet_factored",
        barrier_estimator="score",
        gradient_combination="sum",
    ),
}.items():
    PRESETS.register(_name)(_row)
