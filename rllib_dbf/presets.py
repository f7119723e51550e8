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
    objective: str = "td"
    risk: str = "mean"
    risk_level: float = 1.0
    risk_in_targets: bool = False
    input_layer: str = "linear"
    barrier_estimator: str = "off"
    gradient_combination: str = "sum"
    action_correction: str = "off"
    status: str = "reference step"  # how far it is proven, see `preset_table`


PRESETS: Registry[Preset] = Registry("algorithm")

_DFAC = "DFAC (Sun et al., 2021)"
_DPLEX = "DFAC (Sun et al., 2023)"
_QPLEX = "Wang et al., 2021"
_QTRAN = "Son et al., 2019"
_RESQ = "Shen et al., 2022"
_DBF = "DBF (Hazra, Dasgupta, Dey, 2025)"

_PARTWISE = "reference parts"
_TOYS = "known answers"

for _name, _row in {
    "iql": Preset("IQL", "expected", "independent", "squared", "Tan, 1993"),
    "vdn": Preset("VDN", "expected", "sum", "squared", "Sunehag et al., 2018"),
    "qmix": Preset("QMIX", "expected", "qmix", "squared", "Rashid et al., 2018"),
    "qatten": Preset("Qatten", "expected", "qatten", "squared", "Yang et al., 2020"),
    "qplex": Preset("QPLEX", "expected", "qplex", "squared", _QPLEX),
    "qplex_qatten": Preset("QPLEX-Qatten", "expected", "qplex_qatten", "squared", _QPLEX),
    "qtran_base": Preset("QTRAN", "expected", "sum", "squared", _QTRAN, objective="qtran_base"),
    "qtran_alt": Preset(
        "QTRAN-alt", "expected", "sum", "squared", _QTRAN, objective="qtran_alt", status=_TOYS
    ),
    "resq": Preset(
        "ResQ", "expected", "qmix", "squared", _RESQ, objective="resq", status=_PARTWISE
    ),
    "diql": Preset("DIQL", "iqn", "independent", "quantile_huber", _DFAC, 8),
    "ddn": Preset("DDN", "iqn", "mean_shape(sum)", "quantile_huber", _DFAC, 8),
    "dmix": Preset("DMIX", "iqn", "mean_shape(qmix)", "quantile_huber", _DFAC, 8),
    "dplex": Preset("DPLEX", "iqn", "mean_shape(qplex_qatten)", "quantile_huber", _DPLEX, 8),
    "resz": Preset(
        "ResZ", "iqn", "qatten", "quantile_huber", _RESQ, 8, objective="resz", status=_PARTWISE
    ),
    "riskq": Preset(
        "RiskQ",
        "qr",
        "riskq",
        "quantile_huber",
        "Shen et al., 2023",
        32,
        risk="wang",
        risk_level=0.75,
        risk_in_targets=True,
        status=_PARTWISE,
    ),
    "rmix": Preset(
        "RMIX",
        "cvar_qr",
        "qmix",
        "squared",
        "Qiu et al., 2021",
        100,
        objective="rmix",
        status=_PARTWISE,
    ),
    "drima": Preset(
        "DRIMA",
        "iqn_pair",
        "qmix",
        "quantile_huber",
        "our definition, after Son et al., 2022",
        8,
        objective="drima",
        status=_TOYS,
    ),
    "cbf": Preset(
        "CBF",
        "iqn",
        "mean_shape(qmix)",
        "quantile_huber",
        "after Qin et al., 2021; the adaptation is ours",
        8,
        action_correction="cbf",
        status=_TOYS,
    ),
    "qbf": Preset(
        "QBF",
        "expected",
        "qmix",
        "squared",
        _DBF,
        barrier_estimator="score",
        gradient_combination="sum",
        status=_PARTWISE,
    ),
    "dbf": Preset(
        "DBF",
        "iqn",
        "mean_shape(qmix)",
        "quantile_huber",
        _DBF,
        8,
        input_layer="hypernet_factored",
        barrier_estimator="score",
        gradient_combination="sum",
        status=_PARTWISE,
    ),
}.items():
    PRESETS.register(_name)(_row._replace(status=f"{_row.status}; SMAX"))  # all have been played


def preset_table() -> str:
    """All presets and their parts as a Markdown table; the one in the README.

    "status" says how far a row is proven: "reference step", a whole training step has the loss and
    the gradients of public code; "reference parts", its networks and functions have; "known
    answers", it solves what it should among the toys; "SMAX", its win rates are in the README.
    """
    lines = [
        "| preset | setting | head | mixer | learns by | actions | barrier | paper | status |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in PRESETS.items():
        learns = row.td_loss if row.objective == "td" else f"{row.td_loss}, {row.objective}"
        actions = row.risk if row.risk == "mean" else f"{row.risk} {row.risk_level:g}"
        if row.action_correction != "off":
            actions += f", corrected by {row.action_correction}"
        barrier = "" if row.barrier_estimator == "off" else row.barrier_estimator
        head = row.head if row.n_quantiles == 1 else f"{row.head} × {row.n_quantiles}"
        head += "" if row.input_layer == "linear" else f", {row.input_layer} input"
        parts = (row.title, f"`{name}`", head, row.mixer, learns, actions, barrier)
        cells = (*parts, row.paper, row.status)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines).replace("|  |", "| |")
