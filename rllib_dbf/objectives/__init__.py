"""Objectives: what an update minimises on replayed episodes, by name.

Most systems learn by plain temporal differences of the mixed value ("td"); the others bring a
joint critic or auxiliary terms with them.
"""

from __future__ import annotations

from rllib_dbf.loss_terms import td_loss
from rllib_dbf.objectives import qtran, residual
from rllib_dbf.objectives.objective import OBJECTIVES, Objective, build_joint, make_options

OBJECTIVES.register("td")(Objective(td_loss))

__all__ = ["OBJECTIVES", "Objective", "build_joint", "make_options", "qtran", "residual"]
