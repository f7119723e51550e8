"""Makes presets and environments known to Ray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_registered = False
_RAY_OWNS = {"IQL"}  # RLlib's offline Implicit Q-Learning; ours is "TeamIQL" for Tune


def register() -> None:
    """Register every preset as a Tune trainable and every environment; harmless to repeat."""
    global _registered
    if _registered:
        return
    from ray.tune.registry import register_env, register_trainable

    from rllib_dbf.algorithm import preset_algorithm
    from rllib_dbf.envs import REGISTERED, list_envs
    from rllib_dbf.presets import PRESETS

    for name, row in PRESETS.items():
        title = f"Team{row.title}" if row.title in _RAY_OWNS else row.title
        register_trainable(title, preset_algorithm(name), warn=False)
    for env in list_envs():
        register_env(env, _EnvCreator(env))
    REGISTERED.append(lambda name, factory: register_env(name, _EnvCreator(name, factory)))
    _registered = True


class _EnvCreator:
    """What Ray's registry stores for a team environment.

    Args:
        name: Its name.
        factory: A user's factory, which travels along to the workers; None for those of the
            package, which workers have.
    """

    makes_teams = True

    def __init__(self, name: str, factory: Callable[..., Any] | None = None) -> None:
        self._name, self._factory = name, factory

    def __call__(self, config: dict[str, Any]) -> Any:
        from rllib_dbf.envs import make_env

        options = dict(config)
        num_envs = int(options.pop("num_envs", 1))
        if self._factory is None:
            return make_env(self._name, num_envs, **options)
        return self._factory(num_envs, **options)
