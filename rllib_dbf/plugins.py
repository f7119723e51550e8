"""Algorithms and environments of other packages, found by their entry points.

A package makes its own known by

    [project.entry-points."rllib.algorithms"]
    MyAlgo = "my_package.my_algo:MyAlgo"

    [project.entry-points."rllib.environments"]
    my-env = "my_package.my_env:MyEnv"

where an algorithm is a class derived from RLlib's `Algorithm`, and an environment a Gymnasium
class or a function of its `env_config`, or anything that a team environment can be made of.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

ALGORITHMS = "rllib.algorithms"
ENVIRONMENTS = "rllib.environments"


class PluginError(ValueError):
    """An entry point that cannot be loaded; the message names the package that declares it."""


@cache
def _found(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def algorithm_names() -> list[str]:
    """Names under which installed packages declare algorithms."""
    return list(_found(ALGORITHMS))


def environment_names() -> list[str]:
    """Names under which installed packages declare environments."""
    return list(_found(ENVIRONMENTS))


def source_of(group: str, name: str) -> str:
    """The package that declares an entry point."""
    distribution = _found(group)[name].dist
    return distribution.name if distribution is not None else _found(group)[name].module


def load(group: str, name: str) -> Any:
    """What an entry point stands for.

    Raises:
        PluginError: If it cannot be imported.
    """
    try:
        return _found(group)[name].load()
    except Exception as error:  # whatever a foreign package raises while it is imported
        raise PluginError(
            f"{name!r} of the package {source_of(group, name)!r} cannot be loaded"
            f" ({type(error).__name__}: {error})"
        ) from error
