"""What the table of environments holds: how to make one, and the options it takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from rllib_dbf.envs.team_env import VectorTeamEnv
from rllib_dbf.registry import suggestion


class Option(NamedTuple):
    """A setting of an environment; the type of the default is the type it takes."""

    default: Any
    doc: str = ""
    choices: tuple[Any, ...] = ()  # empty: any value of the type


class EnvEntry(NamedTuple):
    """A row of the table of environments."""

    factory: Callable[..., VectorTeamEnv]  # factory(num_envs, **options)
    options: Mapping[str, Option]
    takes_any_option: bool = False  # the factory has **keywords: unknown options are its business
    suggested: Mapping[str, Any] = MappingProxyType({})  # settings that suit it, by name
    made_from: Any = None  # what a user registered


def entry_of(factory: Callable[..., VectorTeamEnv]) -> EnvEntry:
    """A row for a factory of the user's, with the options its signature shows."""
    parameters = list(inspect.signature(factory).parameters.values())[1:]
    options = {
        p.name: Option(None if p.default is p.empty else p.default)
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    return EnvEntry(factory, options, any(p.kind is p.VAR_KEYWORD for p in parameters))


def check_options(name: str, entry: EnvEntry, given: Mapping[str, Any]) -> None:
    """Refuse options that the environment does not have, and values it cannot take.

    Raises:
        ValueError: Saying what was given and what is allowed.
    """
    for key, value in given.items():
        if key in entry.options:
            _check_value(name, key, entry.options[key], value)
        elif not entry.takes_any_option:
            known = sorted(entry.options)
            allowed = f"choose from {', '.join(known)}" if known else "it takes none"
            raise ValueError(
                f"environment {name!r} has no option {key!r}; {allowed}.{suggestion(key, known)}"
            )


def _check_value(name: str, key: str, option: Option, value: Any) -> None:
    """Refuse a value of another type than the default's, or outside the choices."""
    if not _fits(option.default, value):
        raise ValueError(
            f"option {key}={value!r} of environment {name!r} must be "
            f"{type(option.default).__name__}, like its default {option.default!r}"
        )
    if option.choices and value not in option.choices:
        raise ValueError(
            f"option {key}={value!r} of environment {name!r} is unknown; choose from "
            f"{', '.join(map(str, option.choices))}.{suggestion(str(value), [*option.choices])}"
        )


def _fits(default: Any, value: Any) -> bool:
    """Whether a value has the type of the default; whole numbers pass for real ones."""
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and math.isfinite(value)
    if isinstance(default, tuple | list):
        return isinstance(value, tuple | list)
    return isinstance(value, type(default))
