"""Finding and importing SMAC, SMACv2 and SMAClite, or saying what is missing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

PROTOBUF = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
_PYSC2 = (
    "pip install --no-deps pysc2 && "
    "pip install absl-py portpicker websocket-client s2clientprotocol"
)


class Package(NamedTuple):
    """Where a simulator is, and how to get it."""

    title: str
    module: str  # has what `make` names
    make: str
    folder: str  # inside the package; tells it from others of the same name
    install: str
    rival: str = ""  # cannot be loaded in the same process


PACKAGES = {
    "smac": Package(
        "SMAC",
        "smac.env",
        "StarCraft2Env",
        "env/starcraft2",
        f'pip install --no-deps "smac @ git+https://github.com/oxwhirl/smac.git" && {_PYSC2}',
        rival="smacv2",
    ),
    "smacv2": Package(
        "SMACv2",
        "smacv2.env.starcraft2.wrapper",
        "StarCraftCapabilityEnvWrapper",
        "env/starcraft2",
        f'pip install --no-deps "smacv2 @ git+https://github.com/oxwhirl/smacv2.git" && {_PYSC2}',
        rival="smac",
    ),
    "smaclite": Package(
        "SMAClite",
        "rllib_dbf.envs.smac_lite",
        "SmacLiteBattle",
        "env",
        'pip install --no-deps "smaclite @ git+https://github.com/uoe-agents/smaclite.git" && '
        "pip install rtree",
    ),
}
NO_GAME = (
    "StarCraft II is not installed in {place}: install it (Linux: "
    "https://github.com/Blizzard/s2client-proto#linux-packages) with the maps of SMAC or SMACv2, "
    "and set SC2PATH to its folder"
)


def require_installed(name: str) -> None:
    """Refuse a simulator that is not there, without importing it.

    Raises:
        ImportError: If the package is missing, or is another one of the same name.
        FileNotFoundError: If the game is missing.
    """
    package = PACKAGES[name]
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(f"{package.title} is not installed: {package.install}", name=name)
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    if not any((folder / package.folder).is_dir() for folder in folders):
        raise another_project(name)
    if name == "smaclite":
        return
    if importlib.util.find_spec("pysc2") is None:
        raise ImportError(f"{package.title} needs pysc2: {_PYSC2}", name="pysc2")
    place = Path(game_folder())
    if (sys.platform == "linux" or "SC2PATH" in os.environ) and not (place / "Versions").is_dir():
        raise FileNotFoundError(NO_GAME.format(place=place))


def game_folder() -> str:
    """Where StarCraft II is looked for."""
    return str(Path(os.environ.get("SC2PATH", "~/StarCraftII")).expanduser())


def another_project(name: str) -> ImportError:
    """The error for a package that only has the right name."""
    package = PACKAGES[name]
    return ImportError(
        f"the installed package {name!r} is another project (PyPI's smac optimises "
        f"hyper-parameters): pip uninstall {name}, then {package.install}",
        name=name,
    )


def load(name: str) -> Any:
    """What makes a battle: StarCraft2Env or what can be used in its place.

    Raises:
        ImportError: If the package, or one that it needs, is missing or is another project.
        RuntimeError: If another package of this process does not go together with it.
    """
    package = PACKAGES[name]
    if package.rival in sys.modules and package.rival:
        raise RuntimeError(
            f"{package.title} cannot be used in a process that has loaded {package.rival}: both "
            'define maps of the same names; leave vectorisation at "processes"'
        )
    if name != "smaclite":
        os.environ.setdefault(PROTOBUF, "python")  # read when protobuf is imported, not later
    try:
        return getattr(importlib.import_module(package.module), package.make)
    except AttributeError as error:
        raise another_project(name) from error
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith(f"{name}."):
            raise another_project(name) from error
        missing = error.name or "a package"
        raise ImportError(
            f"{package.title} needs {missing}: {package.install}", name=error.name
        ) from error
    except TypeError as error:  # what protobuf raises for pysc2's older message definitions
        if "Descriptors" not in str(error):
            raise
        raise RuntimeError(
            f"{package.title} needs protobuf in Python, and this process has loaded it in another "
            f'form: leave vectorisation at "processes", or set {PROTOBUF}=python in the '
            "environment before Python starts"
        ) from error


def set_timeout(seconds: int) -> None:
    """How long pysc2 waits for the game to answer; call it after `load`."""
    flags = importlib.import_module("absl.flags").FLAGS
    if not flags.is_parsed():  # nobody else does, and pysc2 reads them
        flags.mark_as_parsed()
    flags.sc2_timeout = seconds


def game_failures() -> tuple[type[Exception], ...]:
    """What pysc2 raises when the game does not start, dies, or does not answer."""
    protocol, controller, process = (
        importlib.import_module(f"pysc2.lib.{name}")
        for name in ("protocol", "remote_controller", "sc_process")
    )
    return (
        protocol.ConnectionError,
        protocol.ProtocolError,
        controller.ConnectError,
        controller.RequestError,
        process.SC2LaunchError,
    )
