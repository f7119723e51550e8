"""Names of the SMAX maps, known without importing JAX, and the maps we add to JaxMARL's."""

from __future__ import annotations

from typing import NamedTuple

UNIT_NAMES = ("marine", "marauder", "stalker", "zealot", "zergling", "hydralisk")
"""Unit types in JaxMARL's numbering."""

JAXMARL_MAPS = (
    "3m",
    "2s3z",
    "25m",
    "3s5z",
    "8m",
    "5m_vs_6m",
    "10m_vs_11m",
    "27m_vs_30m",
    "3s5z_vs_3s6z",
    "3s_vs_5z",
    "6h_vs_8z",
    "smacv2_5_units",
    "smacv2_10_units",
    "smacv2_20_units",
)
"""Maps that come with JaxMARL 0.2.0; a test compares this list with the package."""


class Teams(NamedTuple):
    """Unit types of both sides."""

    allies: tuple[str, ...]
    enemies: tuple[str, ...]


ADDED_MAPS = {
    "8m_vs_9m": Teams(("marine",) * 8, ("marine",) * 9),
    "2m_vs_1z": Teams(("marine",) * 2, ("zealot",)),
    "3s_vs_3z": Teams(("stalker",) * 3, ("zealot",) * 3),
    "3s_vs_4z": Teams(("stalker",) * 3, ("zealot",) * 4),
}
"""SMAC maps that SMAX can play with the same units but JaxMARL does not list."""

MAPS = JAXMARL_MAPS + tuple(ADDED_MAPS)
