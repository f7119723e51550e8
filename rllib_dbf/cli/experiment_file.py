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
from rllib_dbf.cli.old_files import KEYS_REMOVED, renewed_stop
from rllib_dbf.cli.sweeps import sweep_in_file
from rllib_dbf.registry import suggestion
from rllib_dbf.values import load_yaml

_KEYS = {
    "run": str,
    "env": str,
    "stop": dict,
    "config": dict,
    "num_samples": int,
    "storage_path": str,
    "checkpoint_config": dict,
    "checkpoint_freq": int,
    "checkpoint_at_end": bool,
    "keep_checkpoints_num": int,
    "checkpoint_score_attr": str,
}
_CHECKPOINT_KEYS = {
    "checkpoint_frequency": "frequency",
    "checkpoint_at_end": "at_end",
    "num_to_keep": "keep",
    "checkpoint_score_attribute": "score",
    "checkpoint_score_order": "order",
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
        given=[
            (str(key), Given(sweep_in_file(value, f"{where}: {key}"), origin))
            for key, value in settings.items()
        ],
        stop=renewed_stop(entry.get("stop") or {}),
        num_samples=entry.get("num_samples"),
        storage=entry.get("storage_path"),
        checkpointing=_read_checkpointing(where, entry),
    )


def _check_keys(where: str, entry: Mapping[str, Any]) -> None:
    for key, value in entry.items():
        if key in KEYS_REMOVED:
            raise CommandError(f"{where}: {key!r} is gone; use {KEYS_REMOVED[key]}")
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


def _read_checkpointing(where: str, entry: Mapping[str, Any]) -> Checkpointing:
    """`checkpoint_config`, or the keys that files had for it before."""
    given = dict(entry.get("checkpoint_config") or {})
    old = {"checkpoint_freq": "checkpoint_frequency", "keep_checkpoints_num": "num_to_keep"}
    for key, new in {**old, "checkpoint_at_end": "checkpoint_at_end"}.items():
        if entry.get(key) is not None:
            given.setdefault(new, entry[key])
    unknown = [key for key in given if key not in _CHECKPOINT_KEYS]
    if unknown:
        known = list(_CHECKPOINT_KEYS)
        raise CommandError(
            f"{where}: checkpoint_config.{unknown[0]} is unknown; choose from {', '.join(known)}."
            f"{suggestion(str(unknown[0]), known)}"
        )
    found = Checkpointing(**{_CHECKPOINT_KEYS[key]: value for key, value in given.items()})
    if entry.get("checkpoint_score_attr"):
        found.score_by(entry["checkpoint_score_attr"])
    return found


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
        stop=renewed_stop(stop),
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
