"""Simulators: which are there, and where each comes from."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import NamedTuple

from rllib_dbf.cli.checkups.finding import Finding
from rllib_dbf.cli.checkups.versions import OWN, suits, wishes_of


class Simulator(NamedTuple):
    """What an environment is played in."""

    title: str
    env: str  # tried unless others are asked for
    modules: tuple[str, ...]  # without any of these it is absent
    distribution: str
    extra: str  # of this package; "": see `install`
    install: str = ""
    default: bool = False  # `rllib train` plays it unless told otherwise


def simulators() -> list[Simulator]:
    """All that there are, the slowest to start first."""
    from rllib_dbf.envs.smac_packages import PACKAGES

    tried = {"smac": "smac/3m", "smacv2": "smacv2/terran_5_vs_5", "smaclite": "smaclite/2s3z"}
    battles = [
        Simulator(package.title, tried[name], (name,), name, "", package.install)
        for name, package in PACKAGES.items()
    ]
    return [
        Simulator("SMAX", "smax/3m", ("jaxmarl",), "jaxmarl", "smax", default=True),
        Simulator(
            "MetaDrive",
            "metadrive/roundabout",
            ("metadrive",),
            "metadrive-simulator",
            "metadrive",
        ),
        Simulator("KAZ", "pettingzoo/kaz", ("pettingzoo", "pygame"), "pettingzoo", "kaz"),
        Simulator("MPE", "pettingzoo/simple_spread", ("mpe2", "pettingzoo"), "mpe2", "mpe"),
        *battles,
    ]


def simulator_of(env: str) -> Simulator | None:
    """The one that an environment's name stands for; None for toys and tasks of the user's."""
    known = {simulator.env: simulator for simulator in simulators()}
    if env in known:
        return known[env]
    door, _, rest = env.partition("/")
    if door == "pettingzoo":
        return known["pettingzoo/simple_spread"] if rest.startswith("simple_") else None
    return next((s for s in known.values() if s.env.split("/")[0] == door), None)


def remedy(simulator: Simulator) -> str:
    """How to install it."""
    return simulator.install or f'pip install "{OWN}[{simulator.extra}]"'


def missing_modules(simulator: Simulator) -> list[str]:
    """Those of its modules that are not there; none of them is imported."""
    return [name for name in simulator.modules if not _is_package(name)]


def _is_package(name: str) -> bool:
    """Whether there is such a package; a folder that only has its name is none."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def describe(simulator: Simulator) -> str:
    """Its distribution and version, and where it is if that is not where it was installed."""
    spec = importlib.util.find_spec(simulator.modules[0])
    origin = Path(spec.origin if spec and spec.origin else "/")
    try:
        home = Path(str(distribution(simulator.distribution).locate_file("")))
    except PackageNotFoundError:
        return f"version unknown, imported from {origin.parent}"
    shown = version(simulator.distribution)
    place = "" if origin.is_relative_to(home) else f", imported from {origin.parent}"
    return f"{simulator.distribution} {shown}{place}"


def wrong_version(simulator: Simulator) -> str:
    """What this package asks for if the installed version is another; "" if it suits."""
    try:
        found = version(simulator.distribution)
    except PackageNotFoundError:
        return ""
    wishes = wishes_of(OWN, simulator.extra) if simulator.extra else []
    unmet = [w for w in wishes if w.name == simulator.distribution and not suits(found, w)]
    return f"{OWN} asks for {unmet[0].versions}" if unmet else ""


def check_pygame() -> list[Finding]:
    """A finding where two distributions overwrite each other's files."""
    found = {}
    for name in ("pygame", "pygame-ce"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            return []
    detail = "pygame and pygame-ce are both installed, and overwrite each other's files"
    again = "pip uninstall -y pygame pygame-ce && pip install pygame"
    return [Finding("pygame", "warning", detail, again)]
