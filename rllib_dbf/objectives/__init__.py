"""Objectives: what an update minimises on replayed episodes, by name.

Most systems learn by plain temporal differences of the mixed value ("td"); the others bring a
joint critic or auxiliary terms with them.
"""

from __future__ import annotations

from typing import Any

from rllib_dbf.loss_terms import TDSettings, td_loss
from rllib_dbf.objectives import drima, qtran, residual, rmix
from rllib_dbf.objectives.objective import OBJECTIVES, Objective, build_joint, make_options

OBJECTIVES.register("td")(Objective(td_loss))

__all__ = [
    "OBJECTIVES",
    "Objective",
    "build_joint",
    "drima",
    "make_options",
    "qtran",
    "residual",
    "rmix",
    "td_settings",
]


def td_settings(config: Any) -> TDSettings:
    """What a configuration says of the TD part of an update."""
    risk = (config.risk, config.risk_level) if config.risk_in_targets else ("mean", 1.0)
    return TDSettings(
        config.td_loss,
        config.gamma,
        config.td_lambda,
        config.double_q,
        make_options(config.objective, config.objective_options),
        *risk,
    )
