"""StarCraft II itself: the game, its maps, and the form of protobuf that its messages need."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from rllib_dbf.cli.checkups.finding import Finding
from rllib_dbf.cli.checkups.versions import installed_version

_MAPS = "copy the folder SMAC_Maps of SMAC (or SMACv2's 32x32_flat.SC2Map) into {place}/Maps"
_SIMULATORS = ("smac", "smacv2")


def check_starcraft() -> Iterator[Finding]:
    """The game; protobuf where it matters."""
    yield _game()
    if importlib.util.find_spec("pysc2") or importlib.util.find_spec("s2clientprotocol"):
        yield _protobuf()


def _game() -> Finding:
    from rllib_dbf.envs.smac_packages import NO_GAME, game_folder
    from rllib_dbf.envs.versions import game_builds

    check, place = "StarCraft II", Path(game_folder())
    how = NO_GAME.partition(": ")[2]
    if not (place / "Versions").is_dir():
        if "SC2PATH" in os.environ:
            detail = f"SC2PATH={place} is no folder of the game (it has no folder Versions)"
            wanted = any(importlib.util.find_spec(name) for name in _SIMULATORS)
            return Finding(check, "broken" if wanted else "warning", detail, how)
        return Finding(check, "absent", f"not in {place} (for SMAC and SMACv2)", how)
    if not any((place / "Versions").glob("Base*")):
        return Finding(check, "broken", f"{place}/Versions holds no Base… folder", how)
    folders = [place / "Maps", place / "maps"]
    count = sum(1 for folder in folders for _ in folder.rglob("*.SC2Map"))
    if not count:
        detail = f"{place} has no maps"
        return Finding(check, "warning", detail, _MAPS.format(place=place))
    builds = ", ".join(game_builds())
    return Finding(check, "ok", f"{place}, build {builds or 'unknown'}, with {count} maps")


def _protobuf() -> Finding:
    """Messages of pysc2 are older than what protobuf's compiled form takes (since 4)."""
    from rllib_dbf.envs.smac_packages import PROTOBUF

    version, chosen = installed_version("protobuf") or "missing", os.environ.get(PROTOBUF)
    check = "protobuf"
    if version.partition(".")[0] in ("2", "3"):
        return Finding(check, "ok", f"{version}, which takes the messages of StarCraft II")
    if chosen == "python":
        return Finding(check, "ok", f"{version} in Python, as StarCraft II's messages need it")
    if chosen is None:
        detail = f'{version}; vectorisation="processes" (the default) chooses the right form'
        return Finding(check, "ok", detail, f'set {PROTOBUF}=python for vectorisation="list"')
    detail = f"{version} with {PROTOBUF}={chosen}, which refuses StarCraft II's messages"
    return Finding(check, "warning", detail, f"unset {PROTOBUF}, or set it to python")
