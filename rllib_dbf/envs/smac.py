"""StarCraft II's battles: `smac/3m`, `smacv2/terran_5_vs_5`, and, without it, `smaclite/MMM`."""

from __future__ import annotations

import copy
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from rllib_dbf.envs.catalogue import EnvEntry, Option
from rllib_dbf.envs.smac_maps import (
    SMAC_MAPS,
    SMACLITE_MAPS,
    SMACV2_TASKS,
    battle_of,
)
from rllib_dbf.envs.smac_packages import (
    PACKAGES,
    game_failures,
    load,
    require_installed,
    set_timeout,
)
from rllib_dbf.envs.smac_task import SmacTask
from rllib_dbf.envs.stacked import STACK_OPTIONS, StackedTeamEnv
from rllib_dbf.envs.team_env import DOORS, ENVS, VectorTeamEnv
from rllib_dbf.registry import suggestion

_NEW_GAME = "a new battle for every episode, started with its seed; with StarCraft II slow"
_LEVELS = tuple("123456789A")
GAME_OPTIONS = {
    "difficulty": Option("7", "opponent: 1 (very easy) to 7 (very hard); 8, 9, A cheat", _LEVELS),
    "step_mul": Option(8, "frames of the game in a step"),
    "reward_scale": Option(True, "divide rewards so that a battle won pays reward_scale_rate"),
    "reward_scale_rate": Option(20.0, "what a battle won pays in all"),
    "reward_sparse": Option(False, "1 for a win, -1 for a loss, and nothing else"),
    "reward_only_positive": Option(True, "do not pay for the team's damage and deaths"),
    "obs_all_health": Option(True, "observe the health of all units in sight"),
    "obs_last_action": Option(False, "observe the last actions of allies in sight"),
    "obs_pathing_grid": Option(False, "observe where one can walk"),
    "obs_terrain_height": Option(False, "observe how high the land around is"),
    "obs_timestep_number": Option(False, "observe the time"),
    "obs_instead_of_state": Option(False, "the state is all observations"),
    "state_last_action": Option(False, "the state has everybody's last actions"),
    "state_timestep_number": Option(False, "the state has the time"),
}
V2_OPTIONS = GAME_OPTIONS | {
    "capability_config": Option({}, "how teams and start positions are drawn; {}: by the name"),
    "obs_own_pos": Option(True, "observe one's own position"),
    "use_unit_ranges": Option(True, "every type of unit shoots as far as it does in the game"),
    "conic_fov": Option(False, "see and shoot within a cone only, which actions turn"),
    "prob_obs_enemy": Option(1.0, "how likely an enemy is seen that an ally saw first"),
    "action_mask": Option(True, "show which enemies are in range; False with prob_obs_enemy=0"),
}
LITE_OPTIONS = {"episode_limit": Option(150, "steps until a battle is cut")}
GAME_TASK_OPTIONS = {
    "sc2_timeout": Option(120, "seconds until a game that does not answer is started again"),
    "launch_attempts": Option(3, "battles to try to start before an episode is given up"),
    "new_game": Option(False, _NEW_GAME),
    "replay_dir": Option("", "folder for a replay per episode; empty: none"),
}
_APART = STACK_OPTIONS["vectorisation"]._replace(default="processes")
STACKING = STACK_OPTIONS | {"vectorisation": _APART}
OPTIONS = {
    "smac": GAME_OPTIONS | GAME_TASK_OPTIONS | STACKING,
    "smacv2": V2_OPTIONS | GAME_TASK_OPTIONS | STACKING,
    "smaclite": LITE_OPTIONS | {"new_game": Option(True, _NEW_GAME)} | STACKING,
}
_SETTLED = {
    "map_name": "the environment's name says it",
    "continuing_episode": "it is always on, because it tells time limits from losses",
    "seed": "a battle starts with the seed of its first episode",
}


def battle_task(package: str, arguments: dict[str, Any], settings: dict[str, Any]) -> SmacTask:
    """One team in a battle, in the process that is to play it.

    Args:
        package: "smac", "smacv2" or "smaclite".
        arguments: For the simulator's constructor, without the seed.
        settings: Of `GAME_TASK_OPTIONS`.

    Raises:
        ImportError: If a package is missing or is another project.
        RuntimeError: If packages of this process do not go together.
        ValueError: If the simulator has no such map.
    """
    maker = load(package)
    failures: tuple[type[Exception], ...] = ()
    if package != "smaclite":
        set_timeout(settings["sc2_timeout"])
        failures = game_failures()
    own = {k: settings[k] for k in ("launch_attempts", "new_game") if k in settings}
    replays = bool(settings.get("replay_dir"))
    return SmacTask(partial(_battle, package, maker, arguments), failures, replays=replays, **own)


def _battle(package: str, maker: Any, arguments: dict[str, Any], seed: int) -> Any:
    arguments = copy.deepcopy(arguments)  # SMACv2 writes into its capability_config
    if arguments.get("replay_dir"):
        # A replay's file is named after the second it was saved in, and must not replace another.
        arguments.setdefault("replay_prefix", f"{arguments['map_name']}_{uuid.uuid4().hex[:8]}")
    try:
        return maker(**arguments, seed=seed)
    except KeyError as error:
        name = arguments["map_name"]
        if error.args[:1] != (name,):
            raise
        raise ValueError(
            f"{PACKAGES[package].title} has no map {name!r}.{suggestion(name, list(SMAC_MAPS))}"
        ) from error


def _stack(package: str, map_name: str, num_envs: int, **given: Any) -> VectorTeamEnv:
    for key in _SETTLED.keys() & given.keys():
        raise ValueError(f"option {key!r} cannot be set: {_SETTLED[key]}")
    require_installed(package)
    settings = {k: option.default for k, option in OPTIONS[package].items()} | given
    for key in ("sc2_timeout", "launch_attempts", "episode_limit", "step_mul"):
        if settings.get(key, 1) < 1:
            raise ValueError(f"option {key}={settings[key]} must be at least 1")
    stacking = {k: settings.pop(k) for k in STACKING}
    stacking["step_timeout"] = float(stacking["step_timeout"])
    own = {k: settings.pop(k) for k in GAME_TASK_OPTIONS if k in settings}
    arguments = settings | {"map_name": map_name}
    if package != "smaclite":
        arguments["continuing_episode"] = True
        if own["replay_dir"]:
            arguments["replay_dir"] = str(Path(own["replay_dir"]).expanduser().absolute())
    if package == "smacv2":
        arguments["map_name"], published = battle_of(map_name)
        arguments["capability_config"] = settings["capability_config"] or published
    return StackedTeamEnv(partial(battle_task, package, arguments, own), num_envs, **stacking)


def _entry(package: str, map_name: str) -> EnvEntry:
    make = partial(_stack, package, map_name)
    return EnvEntry(make, OPTIONS[package], takes_any_option=True)


# Names that are in no table stand for maps that a simulator was extended by.
for _package in PACKAGES:
    DOORS.register(_package)(partial(_entry, _package))
for _package, _names in (
    ("smac", SMAC_MAPS),
    ("smacv2", SMACV2_TASKS),
    ("smaclite", SMACLITE_MAPS),
):
    for _name in _names:
        ENVS.register(f"{_package}/{_name}")(_entry(_package, _name))
