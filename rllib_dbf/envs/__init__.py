"""Environments by name: `make_env("smax/3m", num_envs=32)`.

Listing and naming them imports no simulator; making one does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rllib_dbf.envs import metadrive, smac, smax, toy  # noqa: F401  (they enter themselves in the table)
from rllib_dbf.envs.catalogue import Option, check_options
from rllib_dbf.envs.check import CheckReport, check_team_env
from rllib_dbf.envs.naming import entry_of_object, find_env
from rllib_dbf.envs.team_env import ENVS, TeamSpec, TeamStep, VectorTeamEnv
from rllib_dbf.envs.team_task import EpisodeLostError, TaskStep, TeamTask

__all__ = [
    "CheckReport",
    "EpisodeLostError",
    "Option",
    "TaskStep",
    "TeamSpec",
    "TeamStep",
    "TeamTask",
    "VectorTeamEnv",
    "check_team_env",
    "env_options",
    "list_envs",
    "make_env",
    "register_team_env",
]


REGISTERED: list[Callable[[str, Callable[..., VectorTeamEnv]], None]] = []
"""Who wants to know of environments that users register; called with name and factory."""


def make_env(name: Any, num_envs: int, **options: Any) -> VectorTeamEnv:
    """Make a batch of an environment.

    Args:
        name: One of `list_envs()`, such as "smax/3m"; "pettingzoo/module:function",
            "rllib/module:Class" or "module:Class"; a name registered with Ray; or a class.
        num_envs: Number of sub-environments, at least 1.
        **options: Settings of the environment; see `env_options(name)`.

    Raises:
        UnknownNameError: If no environment has this name.
        ValueError: If an option is unknown or has a wrong value, or `num_envs` is no count.
        ImportError: If the simulator is not installed; names the extra to install.
    """
    entry = find_env(name)
    if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
        raise ValueError(f"num_envs must be a whole number of at least 1, got {num_envs!r}")
    check_options(str(name), entry, options)
    return entry.factory(num_envs, **options)


def list_envs() -> list[str]:
    """Names of all environments, sorted."""
    return sorted(ENVS)


def env_options(name: Any) -> dict[str, Option]:
    """The options of an environment: their defaults and what they mean.

    Raises:
        UnknownNameError: If no environment has this name.
    """
    return dict(find_env(name).options)


def register_team_env(name: str, factory: Callable[..., Any]) -> None:
    """Make an environment of your own known under a name, here and to Ray's workers.

    Args:
        name: The name, such as "mine/rescue".
        factory: What makes it, one of
            a function or `VectorTeamEnv` class, called as `factory(num_envs, **options)`;
            a `TeamTask` class (one team at a time), called with the options;
            a PettingZoo ParallelEnv class, or an RLlib MultiAgentEnv class.
            Its options are read off its signature, where the type of a default is the type the
            option takes.

    Raises:
        ValueError: If the name is taken by another factory.
    """
    entry = entry_of_object(factory)
    if name in ENVS and ENVS[name].made_from is factory:
        return
    ENVS.register(name)(entry._replace(made_from=factory))
    for announce in REGISTERED:
        announce(name, entry.factory)
