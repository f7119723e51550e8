"""Makes presets and environments known to Ray."""

from __future__ import annotations

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
    from rllib_dbf.envs import list_envs
    from rllib_dbf.presets import PRESETS

    for name, row in PRESETS.items():
        title = f"Team{row.title}" if row.title in _RAY_OWNS else row.title
        register_trainable(title, preset_algorithm(name), warn=False)
    for env in list_envs():
        register_env(env, _EnvCreator(env))
    _registered = True


class _EnvCreator:
    """Creates a team environment by name; what Ray's registry stores for each of ours."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, config: dict[str, Any]) -> Any:
        from rllib_dbf.envs import make_env

        options = dict(config)
        return make_env(self.name, int(options.pop("num_envs", 1)), **options)
