"""Names of algorithms and environments: found without Ray, loaded with it."""

from __future__ import annotations

from typing import Any, NamedTuple

from rllib_dbf import named_object
from rllib_dbf.cli.errors import CommandError
from rllib_dbf.presets import PRESETS
from rllib_dbf.registry import suggestion

DEFAULT_ENV = "smax/3m"
RAY_PREFIX = "ray:"
RAY_ALGORITHMS = (
    "APPO",
    "BC",
    "CQL",
    "DQN",
    "DreamerV3",
    "IMPALA",
    "IQL",
    "MARWIL",
    "PPO",
    "SAC",
)
"""RLlib's own algorithms; a test compares this list with Ray's registry."""


class Algorithm(NamedTuple):
    """An algorithm found by name: a row of the preset table, or one of RLlib's own."""

    title: str
    preset: str | None  # key of the row; None: RLlib's own

    @property
    def is_team(self) -> bool:
        """Whether it plays team environments."""
        return self.preset is not None


def find_algorithm(name: str) -> Algorithm:
    """The algorithm a name means, whatever its case; `ray:NAME` means RLlib's own.

    Raises:
        CommandError: If there is none, with the nearest name.
    """
    wanted = name.lower()
    rays = {known.lower(): known for known in RAY_ALGORITHMS}
    if wanted.startswith(RAY_PREFIX):
        wanted = wanted.removeprefix(RAY_PREFIX)
        if wanted in rays:
            return Algorithm(rays[wanted], None)
    elif wanted in PRESETS:
        return Algorithm(PRESETS[wanted].title, wanted)
    elif wanted in rays:
        return Algorithm(rays[wanted], None)
    known = [row.title for row in PRESETS.values()] + list(RAY_ALGORITHMS)
    raise CommandError(
        f"algorithm {name!r} is unknown; choose from {', '.join(dict.fromkeys(known))}."
        f"{suggestion(name, known)}"
    )


def check_env(env: str | None, algorithm: Algorithm) -> str:
    """The name of an environment that the algorithm can play.

    Raises:
        CommandError: If it is unknown or of the wrong sort, with the nearest name.
    """
    if env is None:
        if algorithm.is_team:
            return DEFAULT_ENV
        raise CommandError(f"{algorithm.title} needs an environment, as --env CartPole-v1")
    from rllib_dbf.envs import list_envs

    teams = list_envs()
    if algorithm.is_team:
        return _check_team_env(env, algorithm.title, teams)
    if ":" in env:
        load_object(env)
        return env
    if env in teams:
        raise CommandError(
            f"{algorithm.title} plays single-agent environments, and {env!r} is a team;"
            f" choose a team algorithm: {', '.join(row.title for row in PRESETS.values())}"
        )
    return _check_single_agent_env(env)


def _check_team_env(env: str, title: str, teams: list[str]) -> str:
    from rllib_dbf.envs.naming import find_env
    from rllib_dbf.registry import UnknownNameError

    try:
        find_env(env)
    except UnknownNameError as error:
        raise CommandError(
            f"environment {env!r} is unknown to {title}, which plays teams;"
            f" `rllib list envs` shows all {len(teams)}.{suggestion(env, teams)}"
        ) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    return env


def _check_single_agent_env(env: str) -> str:
    import gymnasium

    names = list(gymnasium.registry)
    if env not in names and not env.startswith("ale_py"):
        raise CommandError(
            f"environment {env!r} is unknown to Gymnasium.{suggestion(env, names)}"
            " A class of your own is named module:Class."
        )
    return env


def load_object(path: str) -> Any:
    """What `module:name` stands for; modules of the working directory count.

    Raises:
        CommandError: If the module or the name is not there.
    """
    try:
        return named_object.load_object(path)
    except ValueError as error:
        raise CommandError(str(error)) from error


def trainable_of(algorithm: Algorithm) -> type:
    """The Algorithm class behind a name (imports Ray)."""
    if algorithm.preset is not None:
        from rllib_dbf.algorithm import preset_algorithm

        return preset_algorithm(algorithm.preset)
    from ray.tune.registry import get_trainable_cls

    return get_trainable_cls(algorithm.title)


def config_of(algorithm: Algorithm) -> Any:
    """A fresh default configuration of an algorithm (imports Ray)."""
    return trainable_of(algorithm).get_default_config()  # pyright: ignore[reportAttributeAccessIssue]
