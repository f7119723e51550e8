"""Names of algorithms and environments: found without Ray, loaded with it."""

from __future__ import annotations

from typing import Any, NamedTuple

from rllib_dbf import named_object, plugins
from rllib_dbf.cli.errors import CommandError
from rllib_dbf.presets import PRESETS
from rllib_dbf.registry import suggestion

DEFAULT_ALGORITHM = "DBF"
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


_BY_TITLE = {row.title.lower(): name for name, row in PRESETS.items()}


class Algorithm(NamedTuple):
    """An algorithm found by name: a row of the preset table, RLlib's own, or a package's."""

    title: str
    preset: str | None  # key of the row; None: not ours
    plugin: bool = False  # declared by another package

    @property
    def is_team(self) -> bool:
        """Whether it plays team environments."""
        return self.preset is not None


def algorithm_names() -> list[str]:
    """Every name an algorithm can be given by: ours, RLlib's own, other packages'."""
    ours = [row.title for row in PRESETS.values()]
    rays = [f"{RAY_PREFIX}{name}" if name in ours else name for name in RAY_ALGORITHMS]
    return list(dict.fromkeys([*ours, *rays, *plugins.algorithm_names()]))


def find_algorithm(name: str) -> Algorithm:
    """The algorithm a name means, whatever its case; `ray:NAME` means RLlib's own.

    Ours come before RLlib's, and those before other packages'.

    Raises:
        CommandError: If there is none, with the nearest name.
    """
    wanted = name.lower()
    rays = {known.lower(): known for known in RAY_ALGORITHMS}
    if wanted.startswith(RAY_PREFIX):
        wanted = wanted.removeprefix(RAY_PREFIX)
        if wanted in rays:
            return Algorithm(rays[wanted], None)
    elif wanted in PRESETS or wanted in _BY_TITLE:
        wanted = _BY_TITLE.get(wanted, wanted)
        return Algorithm(PRESETS[wanted].title, wanted)
    elif wanted in rays:
        return Algorithm(rays[wanted], None)
    else:
        for declared in plugins.algorithm_names():
            if declared.lower() == wanted:
                return Algorithm(declared, None, plugin=True)
    known = algorithm_names()
    raise CommandError(
        f"algorithm {name!r} is unknown; choose from {', '.join(known)}.{suggestion(name, known)}"
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
    if env in plugins.environment_names() or (algorithm.plugin and env in teams):
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

    names = [*gymnasium.registry, *plugins.environment_names()]
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
    if algorithm.plugin:
        return _declared(algorithm.title)
    from ray.tune.registry import get_trainable_cls

    return get_trainable_cls(algorithm.title)


def _declared(title: str) -> type:
    """The class another package declares, made known to Tune by its name."""
    from ray.rllib.algorithms.algorithm import Algorithm as RaysAlgorithm
    from ray.tune.registry import register_trainable

    try:
        found = plugins.load(plugins.ALGORITHMS, title)
    except plugins.PluginError as error:
        raise CommandError(f"algorithm {error}") from error
    if not (isinstance(found, type) and issubclass(found, RaysAlgorithm)):
        package = plugins.source_of(plugins.ALGORITHMS, title)
        raise CommandError(f"algorithm {title!r} of {package!r} is {found!r}, no RLlib Algorithm")
    register_trainable(title, found, warn=False)
    return found


def environment_of(env: Any, algorithm: Algorithm) -> Any:
    """What RLlib takes for an environment of its own kind (imports Ray).

    Returns:
        A class for `module:Class`; the name, made known to Ray, for one that another package
        declares; else what was given.
    """
    if not isinstance(env, str) or algorithm.is_team:
        return env
    if ":" in env:
        return load_object(env)
    if env in plugins.environment_names():
        from ray.tune.registry import register_env

        try:
            create = plugins.load(plugins.ENVIRONMENTS, env)
        except plugins.PluginError as error:
            raise CommandError(f"environment {error}") from error
        register_env(env, create)
    return env


def config_of(algorithm: Algorithm) -> Any:
    """A fresh default configuration of an algorithm (imports Ray)."""
    return trainable_of(algorithm).get_default_config()  # pyright: ignore[reportAttributeAccessIssue]
