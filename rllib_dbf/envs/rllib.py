"""RLlib's MultiAgentEnv as a team: `rllib/module:Class`, a name known to Ray, or the class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from rllib_dbf.envs.agents_task import AgentsTask
from rllib_dbf.envs.catalogue import EnvEntry
from rllib_dbf.envs.dicts_with_all import DictsWithAll
from rllib_dbf.envs.pettingzoo import OPTIONS, team_of
from rllib_dbf.envs.stacked import StackedTeamEnv, stacking_of
from rllib_dbf.envs.team_env import DOORS, VectorTeamEnv
from rllib_dbf.named_object import is_path, load_object


def multi_agent_task(create: str | Callable[[dict], Any], settings: dict[str, Any]) -> AgentsTask:
    """One MultiAgentEnv as a team; `info["__common__"]["state"]` is the state, if it is there.

    Args:
        create: Called with the config (a dict) like an environment creator of Ray's.
        settings: Those of `OPTIONS`; the rest is the environment's config.

    Raises:
        ValueError: If the environment names no agents, or has no time limit.
    """
    config = {k: v for k, v in settings.items() if k not in OPTIONS}
    make_one = partial(_made, load_object(create) if isinstance(create, str) else create, config)
    return team_of(make_one(), settings, None, lambda _: None, make_one)


def _made(create: Callable[[dict], Any], config: dict[str, Any]) -> DictsWithAll:
    env = create(dict(config))
    agents = list(getattr(env, "possible_agents", None) or [])
    if not agents:
        raise ValueError(f"{type(env).__name__} names no possible_agents; a team needs them")
    spaces = {a: (env.get_observation_space(a), env.get_action_space(a)) for a in agents}
    return DictsWithAll(env, agents, spaces)


def _stack(create: str | Callable[[dict], Any], num_envs: int, **given: Any) -> VectorTeamEnv:
    task = partial(multi_agent_task, create, given)
    return StackedTeamEnv(task, num_envs, **stacking_of(given))


def entry_for(create: str | Callable[[dict], Any]) -> EnvEntry:
    """A row of the table of environments for a class or a creator."""
    return EnvEntry(partial(_stack, create), OPTIONS, takes_any_option=True)


@DOORS.register("rllib")
def by_name(name: str) -> EnvEntry | None:
    """`rllib/module:Class`, or a name registered with `ray.tune.register_env`."""
    return entry_for(name) if is_path(name) else registered_with_ray(name)


def registered_with_ray(name: str) -> EnvEntry | None:
    """The environment that Ray knows under a name; None if it knows none.

    A creator of a `VectorTeamEnv` is called with "num_envs" in its config.
    """
    from ray.tune.registry import ENV_CREATOR, _global_registry

    if not _global_registry.contains(ENV_CREATOR, name):
        return None
    create = _global_registry.get(ENV_CREATOR, name)
    return EnvEntry(partial(_created, create), OPTIONS, takes_any_option=True)


def _created(create: Callable[[dict], Any], num_envs: int, **given: Any) -> VectorTeamEnv:
    if getattr(create, "makes_teams", False):
        return create(given | {"num_envs": num_envs})
    return _stack(create, num_envs, **given)


def is_multi_agent_class(thing: Any) -> bool:
    """Whether this is a subclass of RLlib's MultiAgentEnv."""
    return inspect.isclass(thing) and any(
        base.__name__ == "MultiAgentEnv" and base.__module__.startswith("ray.rllib")
        for base in thing.__mro__
    )
