"""Versions of what plays: the simulators, and the game behind some of them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rllib_dbf.envs.smac_packages import game_folder

_DISTRIBUTIONS = (
    "jax",
    "jaxmarl",
    "metadrive-simulator",
    "pettingzoo",
    "mpe2",
    "smac",
    "smacv2",
    "smaclite",
    "pysc2",
)


def simulator_versions() -> dict[str, str]:
    """Of every simulator that is installed; nothing is imported or started."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    builds = game_builds()
    return found | ({"StarCraft II": f"build {', '.join(builds)}"} if builds else {})


def game_builds() -> list[str]:
    """Builds of StarCraft II in its folder, oldest first; a battle is fought with the newest.

    Win rates of different versions of the game must not be compared, say SMAC's authors.
    """
    folders = (Path(game_folder()) / "Versions").glob("Base*")
    numbers = (folder.name.removeprefix("Base") for folder in folders)
    return sorted((n for n in numbers if n.isdigit()), key=int)
