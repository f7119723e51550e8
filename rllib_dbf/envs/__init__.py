"""Environments by name: `make_env("smax/3m", num_envs=32)`.

Listing and naming them imports no simulator; making one does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rllib_dbf.envs import smax, toy  # noqa: F401  (they enter themselves in the table)
from rllib_dbf.envs.catalogue import Option, check_options, entry_of
from rllib_dbf.envs.check import CheckReport, check_team_env
from rllib_dbf.envs.team_env import ENVS, TeamSpec, TeamStep, VectorTeamEnv

__all__ = [
    "CheckReport",
    "Option",
    "TeamSpec",
    "TeamStep",
    "VectorTeamEnv",
    "check_team_env",
    "env_options",
    "list_envs",
    "make_env",
    "register_team_env",
]


def make_env(name: str, num_envs: int, **options: Any) -> VectorTeamEnv:
    """Make a batch of an environment.

    Args:
        name: One of `list_envs()`, such as "smax/3m".
        num_envs: Number of sub-environments, at least 1.
        **options: Settings of the environment; see `env_options(name)`.

    Raises:
        UnknownNameError: If no environment has this name.
        ValueError: If an option is unknown or has a wrong value, or `num_envs` is no count.
        ImportError: If the simulator is not installed; names the extra to install.
    """
    entry = ENVS[name]
    if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
        raise ValueError(f"num_envs must be a whole number of at least 1, got {num_envs!r}")
    check_options(name, entry, options)
    return entry.factory(num_envs, **options)


def list_envs() -> list[str]:
    """Names of all environments, sorted."""
    return sorted(ENVS)


def env_options(name: str) -> dict[str, Option]:
    """The options of an environment: their defaults and what they mean.

    Raises:
        UnknownNameError: If no environment has this name.
    """
    return dict(ENVS[name].options)


def register_team_env(name: str, factory: Callable[..., VectorTeamEnv]) -> None:
    """Make an environment of your own known under a name.

    Args:
        name: The name, such as "mine/rescue".
        factory: Called as `factory(num_envs, **options)`; its options are read off its signature,
            where the type of a default is the type the option takes.

    Raises:
        ValueError: If the name is taken by another factory.
    """
    if name in ENVS and ENVS[name].factory is factory:
        return
    ENVS.register(name)(entry_of(factory))
