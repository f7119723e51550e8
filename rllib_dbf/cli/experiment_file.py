"""Reads experiment files: RLlib's old YAML format, and Python files with a `config`."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_dbf.cli.errors import CommandError, one_line
from rllib_dbf.cli.experiment import Checkpointing, Experiment, Given
from rllib_dbf.cli.names import Algorithm, check_env, find_algorithm
from rllib_dbf.registry import suggestion
from rllib_dbf.values import load_yaml

_KEYS = {
    "run": str,
    "env": str,
    "stop": dict,
    "config": dict,
    "num_samples": int,
    "checkpoint_config": dict,
}
_REPLACED = {
    "local_dir": "give --storage-path on the command line",
    "upload_dir": "give --storage-path on the command line",
    "storage_path": "give --storage-path on the command line",
    "resources_per_trial": "set num_cpus_for_main_process or num_env_runners under config",
    "checkpoint_freq": "write checkpoint_config: {checkpoint_frequency: N}",
    "checkpoint_at_end": "write checkpoint_config: {checkpoint_at_end: true}",
}
_CHECKPOINT_KEYS = {
    "checkpoint_frequency": "frequency",
    "checkpoint_at_end": "at_end",
    "num_to_keep": "keep",
}


def read_experiments(path: Path, algo: str | None, env: str | None) -> list[Experiment]:
    """The experiments of a file; `algo` and `env` replace what it says.

    Raises:
        CommandError: If the file is missing, malformed, or names something unknown.
    """
    if not path.is_file():
        raise CommandError(f"experiment file {str(path)!r} does not exist")
    if path.suffix == ".py":
        return [_read_python(path, algo, env)]
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise CommandError(f"experiment file {str(path)!r} must end in .yaml, .yml or .py")
    try:
        content = load_yaml(path)
    except ValueError as error:
        raise CommandError(one_line(error)) from error
    if not isinstance(content, Mapping) or not content:
        raise CommandError(f"{path}: must map experiment names to {{run, env, stop, config}}")
    return [_read_entry(path, str(name), entry, algo, env) for name, entry in content.items()]


def _read_entry(path: Path, name: str, entry: Any, algo: str | None, env: str | None) -> Experiment:
    where = f"{path}: {name}"
    if not isinstance(entry, Mapping):
        raise CommandError(f"{where}: must be a mapping with {', '.join(_KEYS)}")
    _check_keys(where, entry)
    settings = dict(entry.get("config") or {})
    algorithm = find_algorithm(algo or _required(where, entry, "run"))
    env_in_config = settings.pop("env", None)
    env_name = check_env(env or entry.get("env") or env_in_config, algorithm)
    origin = str(path)
    return Experiment(
        name=name,
        algorithm=algorithm,
        env=Given(env_name, "--env" if env else origin),
        given=[(str(key), Given(value, origin)) for key, value in settings.items()],
        stop=dict(entry.get("stop") or {}),
        num_samples=entry.get("num_samples", 1),
        checkpointing=_read_checkpointing(where, entry.get("checkpoint_config") or {}),
    )


def _check_keys(where: str, entry: Mapping[str, Any]) -> None:
    for key, value in entry.items():
        if key in _REPLACED:
            raise CommandError(f"{where}: {key!r} is not supported any more; {_REPLACED[key]}")
        if key not in _KEYS:
            raise CommandError(
                f"{where}: key {key!r} is unknown; choose from {', '.join(_KEYS)}."
                f"{suggestion(str(key), list(_KEYS))} Settings belong under config."
            )
        if value is not None and not isinstance(value, _KEYS[key]):
            raise CommandError(f"{where}: {key}={value!r} must be a {_KEYS[key].__name__}")


def _required(where: str, entry: Mapping[str, Any], key: str) -> Any:
    if not entry.get(key):
        raise CommandError(f"{where}: {key!r} is missing")
    return entry[key]


def _read_checkpointing(where: str, given: Mapping[str, Any]) -> Checkpointing:
    unknown = [key for key in given if key not in _CHECKPOINT_KEYS]
    if unknown:
        known = list(_CHECKPOINT_KEYS)
        raise CommandError(
            f"{where}: checkpoint_config.{unknown[0]} is unknown; choose from {', '.join(known)}."
            f"{suggestion(str(unknown[0]), known)}"
        )
    return Checkpointing(**{_CHECKPOINT_KEYS[key]: value for key, value in given.items()})


def _read_python(path: Path, algo: str | None, env: str | None) -> Experiment:
    """A Python file that defines `config` (an AlgorithmConfig) and perhaps `stop` (a dict)."""
    from rllib_dbf.cli.running import load_ray

    load_ray(verbose=0)
    sys.path.insert(0, str(path.parent.resolve()))
    content = runpy.run_path(str(path))
    config = content.get("config")
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    if not isinstance(config, AlgorithmConfig):
        raise CommandError(f"{path}: must define `config`, an AlgorithmConfig; got {config!r}")
    if algo is not None:
        raise CommandError(f"{path} fixes the algorithm; leave --algo out")
    stop = content.get("stop") or {}
    if not isinstance(stop, Mapping):
        raise CommandError(f"{path}: `stop` must be a dict such as {{'training_iteration': 10}}")
    algorithm = _algorithm_of(config)
    chosen = Given(check_env(env, algorithm), "--env") if env else Given(config.env, str(path))
    defaults = vars(type(config)())
    return Experiment(
        name=path.stem,
        algorithm=algorithm,
        env=chosen,
        stop=dict(stop),
        base_config=config,
        base_changes={
            key
            for key, value in vars(config).items()
            if key not in defaults or not _same(defaults[key], value)
        },
    )


def _algorithm_of(config: Any) -> Algorithm:
    preset = getattr(config, "preset", None)
    if preset is not None:
        return find_algorithm(preset)
    return Algorithm(config.algo_class.__name__, None)


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except ValueError:  # arrays have no single truth value; spaces of a config may hold them
        return False
