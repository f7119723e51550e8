"""From a name, a path or a class to an environment."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from rllib_dbf import plugins
from rllib_dbf.envs import pettingzoo, rllib
from rllib_dbf.envs.catalogue import EnvEntry, Option, entry_of
from rllib_dbf.envs.stacked import STACK_OPTIONS, StackedTeamEnv, stacking_of
from rllib_dbf.envs.team_env import DOORS, ENVS, VectorTeamEnv
from rllib_dbf.envs.team_task import TeamTask
from rllib_dbf.named_object import is_path, load_object


def find_env(env: Any) -> EnvEntry:
    """The row of the table of environments that a name, a path or a class stands for.

    In this order: a name of the table; "door/rest"; "module:name"; a name that another package
    declares (`rllib_dbf.plugins`); a name that Ray knows, where Ray is loaded.

    Raises:
        UnknownNameError: If there is none; suggests the nearest name.
        ValueError: If a path cannot be imported, or is nothing an environment can be made of.
    """
    if not isinstance(env, str):
        return entry_of_object(env)
    if env in ENVS:
        return ENVS[env]
    door, _, rest = env.partition("/")
    entry = DOORS[door](rest) if door in DOORS and rest else None
    if entry is None and is_path(env):
        entry = entry_of_object(load_object(env))
    if entry is None and env in plugins.environment_names():
        entry = entry_of_object(plugins.load(plugins.ENVIRONMENTS, env))
    if entry is None and "ray" in sys.modules:
        entry = rllib.registered_with_ray(env)
    return entry if entry is not None else ENVS[env]


def entry_of_object(thing: Any) -> EnvEntry:
    """The row for a class or a function of the user's.

    Raises:
        ValueError: If nothing can be made of it.
    """
    if rllib.is_multi_agent_class(thing):
        return rllib.entry_for(thing)
    if inspect.isclass(thing) and not issubclass(thing, VectorTeamEnv):
        if _is_parallel_env(thing):
            return pettingzoo.entry_for(thing)
        if callable(getattr(thing, "reset", None)) and callable(getattr(thing, "step", None)):
            return _entry_of_task(thing)
    elif callable(thing):
        return entry_of(thing)
    raise ValueError(
        f"{thing!r} is no environment of a team: give a VectorTeamEnv, TeamTask, PettingZoo "
        "ParallelEnv or RLlib MultiAgentEnv class, or a function(num_envs, **options)"
    )


def _is_parallel_env(thing: type) -> bool:
    return any(base.__name__ == "ParallelEnv" for base in thing.__mro__)


def _entry_of_task(task: type) -> EnvEntry:
    parameters = inspect.signature(task).parameters.values()
    options = {
        p.name: Option(None if p.default is p.empty else p.default)
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    any_option = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return EnvEntry(partial(_make_task, task), options | STACK_OPTIONS, any_option)


def _make_task(task: Callable[..., TeamTask], num_envs: int, **options: Any) -> StackedTeamEnv:
    own = {key: value for key, value in options.items() if key not in STACK_OPTIONS}
    return StackedTeamEnv(partial(task, **own), num_envs, **stacking_of(options))
