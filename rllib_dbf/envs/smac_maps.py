"""Names of StarCraft II's battles, and how SMACv2's teams are drawn."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

SMAC_MAPS = (
    *("3m", "8m", "25m", "5m_vs_6m", "8m_vs_9m", "10m_vs_11m", "27m_vs_30m", "MMM", "MMM2"),
    *("2s3z", "3s5z", "3s5z_vs_3s6z", "3s_vs_3z", "3s_vs_4z", "3s_vs_5z", "1c3s5z", "2m_vs_1z"),
    *("corridor", "6h_vs_8z", "2s_vs_1sc", "so_many_baneling", "bane_vs_bane", "2c_vs_64zg"),
)

SMACLITE_MAPS = (
    *("10m_vs_11m", "27m_vs_30m", "3s5z_vs_3s6z", "2s3z", "3s5z", "MMM", "MMM2", "2c_vs_64zg"),
    *("bane_vs_bane", "corridor", "2s_vs_1sc", "3s_vs_5z"),
)


class Race(NamedTuple):
    """What a race's teams of SMACv2 are drawn from."""

    unit_types: tuple[str, ...]
    weights: tuple[float, ...]
    never_alone: tuple[str, ...]  # types that may not make up a whole team


RACES = {
    "terran": Race(("marine", "marauder", "medivac"), (0.45, 0.45, 0.1), ("medivac",)),
    "protoss": Race(("stalker", "zealot", "colossus"), (0.45, 0.45, 0.1), ()),
    "zerg": Race(("zergling", "baneling", "hydralisk"), (0.45, 0.1, 0.45), ("baneling",)),
}
SIZES = ((5, 5), (10, 10), (10, 11), (20, 20), (20, 23))
SMACV2_TASKS = tuple(f"{race}_{n}_vs_{m}" for race in RACES for n, m in SIZES)


def battle_of(name: str) -> tuple[str, dict[str, Any]]:
    """SMACv2's map and capability configuration for a name such as "terran_5_vs_6".

    The configuration is that of SMACv2 (Ellis et al., 2023): unit types drawn with the race's
    weights, and start positions half of the time around the team, else mirrored. Any other name
    is a map of SMACv2's, without a configuration.
    """
    found = re.fullmatch(rf"({'|'.join(RACES)})_([1-9]\d*)_vs_([1-9]\d*)", name)
    if not found:
        return name, {}
    race = RACES[found[1]]
    team = {
        "dist_type": "weighted_teams",
        "unit_types": list(race.unit_types),
        "weights": list(race.weights),
        "observe": True,
    }
    if race.never_alone:
        team["exception_unit_types"] = list(race.never_alone)
    start = {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": 32, "map_y": 32}
    return f"10gen_{found[1]}", {
        "n_units": int(found[2]),
        "n_enemies": int(found[3]),
        "team_gen": team,
        "start_positions": start,
    }
