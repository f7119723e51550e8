"""Which settings a config class has, and whether a value fits one of them.

RLlib's `update_from_dict` and `setattr` accept any key in silence; only the fluent methods
(`training(…)`, `env_runners(…)`, …) know which settings exist. Their signatures, collected over
the class's ancestors, are the one list that the command and `DBFConfig` check against.
"""

from __future__ import annotations

import inspect
import math
import re
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from rllib_dbf.annotations import bears, describe, literals, readings
from rllib_dbf.registry import suggestion
from rllib_dbf.values import parse_value

__all__ = [
    "Setting",
    "SettingError",
    "apply_settings",
    "check_setting",
    "parse_value",
    "settings_of",
]

UNSET = "<unset>"  # the default of a setting that has no attribute of its own


class SettingError(ValueError):
    """A setting that does not exist, or a value that does not fit it."""


class Setting(NamedTuple):
    """One keyword of one fluent method."""

    name: str
    section: str
    annotation: Any
    default: Any
    doc: str

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        return describe(self.annotation)


def settings_of(config: Any) -> dict[str, Setting]:
    """Every setting of a config class, by its bare name.

    Args:
        config: An `AlgorithmConfig` class, or an instance whose values count as the defaults.
    """
    config_class = config if isinstance(config, type) else type(config)
    values = vars(config_class() if isinstance(config, type) else config)
    return {
        name: Setting(name, section, annotation, _default(values, name), doc)
        for name, (section, annotation, doc) in _signatures(config_class).items()
    }


@cache
def _signatures(config_class: type) -> dict[str, tuple[str, Any, str]]:
    """(section, annotation, doc) of every setting; the most derived class has the last word."""
    found: dict[str, tuple[str, Any, str]] = {}
    for cls in reversed(config_class.__mro__):
        for section, method in vars(cls).items():
            if section.startswith("_") or not inspect.isfunction(method):
                continue
            parameters = _fluent_parameters(method)
            docs = _argument_docs(method)
            for name, parameter in parameters.items():
                first_section = found[name][0] if name in found else section
                doc = docs.get(name) or (found[name][2] if name in found else "")
                found[name] = (first_section, _annotation(method, parameter), doc)
    return found


def _fluent_parameters(method: Any) -> dict[str, inspect.Parameter]:
    """The keywords of a fluent method, without deprecated ones; empty for other methods.

    A fluent method is one whose every argument may be left out: its default is `NotProvided`
    (or the mark of a deprecated argument).
    """
    from ray.rllib.utils.from_config import NotProvided

    parameters = [
        p
        for p in list(inspect.signature(method).parameters.values())[1:]
        if p.kind is not p.VAR_KEYWORD
    ]
    marks = [p.default is NotProvided for p in parameters]
    if not all(mark or _is_deprecated(p) for mark, p in zip(marks, parameters, strict=True)):
        return {}
    return {p.name: p for mark, p in zip(marks, parameters, strict=True) if mark}


def _is_deprecated(parameter: inspect.Parameter) -> bool:
    from ray._common.deprecation import DEPRECATED_VALUE

    return parameter.default is DEPRECATED_VALUE or parameter.default == DEPRECATED_VALUE


def _annotation(method: Any, parameter: inspect.Parameter) -> Any:
    """The parameter's type; `Any` where there is none or it cannot be resolved here."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, str):  # from __future__ import annotations
        try:
            return eval(annotation, method.__globals__, vars(typing))
        except (NameError, AttributeError, TypeError):
            return Any
    return annotation


def _argument_docs(method: Any) -> dict[str, str]:
    """First sentence of each argument in a Google-style docstring."""
    text = inspect.getdoc(method) or ""
    arguments = re.split(r"^Args:\s*$", text, maxsplit=1, flags=re.M)
    if len(arguments) < 2:
        return {}
    block = re.split(r"^\S", arguments[1], maxsplit=1, flags=re.M)[0]
    entries = re.split(r"^    (\*{0,2}\w+)(?: \([^)]*\))?: ?", block, flags=re.M)
    pairs = zip(entries[1::2], entries[2::2], strict=True)
    return {name: re.split(r"(?<=\.)\s(?=[A-Z`])", " ".join(doc.split()))[0] for name, doc in pairs}


def _default(values: Mapping[str, Any], name: str) -> Any:
    """The attribute a setting is kept in; RLlib names a few of them differently."""
    for attribute in (name, f"_{name}", f"{name}_str"):
        if attribute in values:
            return values[attribute]
    return UNSET


def find_setting(config: Any, key: str) -> Setting:
    """The setting a key names: `gamma_b`, or with its section `training.gamma_b`.

    Its default is left out: only `settings_of` looks at values.

    Raises:
        SettingError: If there is none.
    """
    config_class = config if isinstance(config, type) else type(config)
    known = _signatures(config_class)
    section, _, name = key.rpartition(".")
    found = None
    if name in known:
        where, annotation, doc = known[name]
        found = Setting(name, where, annotation, UNSET, doc)
    if found and section in ("", found.section):
        return found
    if found:
        raise SettingError(f"setting {key!r} is unknown; {name!r} stands in {found.section!r}.")
    raise SettingError(
        f"setting {key!r} is unknown to {config_class.__name__}.{suggestion(name, list(known))}"
        f" `rllib list settings` shows all {len(known)}."
    )


def check_setting(config: Any, key: str, value: Any) -> Any:
    """The value as the setting wants it (an int for a float becomes a float, say).

    Of Tune's search spaces the choices are checked, or the ends of their range.

    Raises:
        SettingError: If the setting does not exist or the value does not fit its type.
    """
    if key.startswith("__") and key.endswith("__"):
        return value  # Tune's bookkeeping (`__stdout_file__`, …) travels among a trial's settings
    setting = find_setting(config, key)
    if isinstance(value, Mapping) and set(value) == {"grid_search"}:
        choices = value["grid_search"]
        if not isinstance(choices, list | tuple) or not choices:
            raise SettingError(f"{key}: grid_search={choices!r} is no list of values")
        return {"grid_search": [_fit(setting, choice) for choice in choices]}
    if is_search_space(value):
        for sample in samples_of(value):
            _fit(setting, sample)
        return value
    return _fit(setting, value)


def samples_of(space: Any) -> list[Any]:
    """Values that tell whether a search space fits: all of a list, or what lies at its ends."""
    if isinstance(space, Mapping):
        return list(space["grid_search"])
    if hasattr(space, "categories"):
        return list(space.categories)
    lower, upper = getattr(space, "lower", None), getattr(space, "upper", None)
    if lower is None or upper is None or not math.isfinite(upper - lower):
        return []
    if isinstance(lower, int) and isinstance(upper, int):
        return [lower, upper - 1]  # randint leaves the upper end out
    inside = lower + 0.381966 * (upper - lower)  # no whole number by chance
    step = getattr(space.get_sampler(), "q", None)
    return [lower, upper] if step else [lower, upper, inside]


def is_search_space(value: Any) -> bool:
    """Whether Tune is going to draw the value (`tune.choice(…)` or a grid)."""
    if isinstance(value, Mapping):
        return set(value) == {"grid_search"}
    return any(cls.__module__.startswith("ray.tune.search") for cls in type(value).__mro__)


def _fit(setting: Setting, value: Any) -> Any:
    """The value, or the nearest lossless reading of it, that the annotation allows."""
    for candidate in readings(value):
        if bears(candidate, setting.annotation):
            return candidate
    hint = suggestion(value, literals(setting.annotation)) if isinstance(value, str) else ""
    raise SettingError(
        f"{setting.section}.{setting.name}={value!r} is of type {type(value).__name__};"
        f" allowed: {setting.allowed}.{hint}"
    )


def apply_settings(config: Any, values: Mapping[str, Any]) -> Any:
    """Check settings and hand them to the fluent methods they belong to.

    Returns:
        The same config, changed.

    Raises:
        SettingError: As `check_setting`; nothing has been changed then.
    """
    by_section: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        setting = find_setting(config, key)
        by_section.setdefault(setting.section, {})[setting.name] = check_setting(config, key, value)
    for section, keywords in by_section.items():
        getattr(config, section)(**keywords)
    return config
