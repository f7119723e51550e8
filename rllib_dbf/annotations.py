"""Whether a typed-in value fits a type annotation, and annotations in words."""

from __future__ import annotations

import re
import types
import typing
from typing import Any, Literal, Union

from rllib_dbf.values import parse_value


def readings(value: Any) -> list[Any]:
    """The value itself first, then what it may stand for without loss."""
    found = [value]
    if isinstance(value, str):  # "1e-3", as YAML readers other than ours leave it
        parsed = parse_value(value)
        found += [] if isinstance(parsed, str) else readings(parsed)
    elif isinstance(value, int) and not isinstance(value, bool):
        found.append(float(value))
    elif isinstance(value, float) and value.is_integer():  # 4e5 steps
        found.append(int(value))
    elif isinstance(value, list):
        found.append(tuple(value))
    return found


def bears(value: Any, annotation: Any) -> bool:
    """Whether a value fits an annotation; a bool is not taken for an int."""
    from beartype.door import is_bearable
    from beartype.roar import BeartypeException

    if isinstance(value, bool) and not mentions(annotation, (bool, Any, object)):
        return annotation is Any or any(value is x for x in literals(annotation))
    try:
        return is_bearable(value, annotation)
    except BeartypeException:  # a forward reference to a class of Ray: nothing to check against
        return True


def mentions(annotation: Any, wanted: tuple[Any, ...]) -> bool:
    """Whether a type stands among the alternatives of an annotation."""
    if is_union(annotation):
        return any(mentions(part, wanted) for part in typing.get_args(annotation))
    return annotation in wanted


def is_union(annotation: Any) -> bool:
    """Whether an annotation lists alternatives."""
    return typing.get_origin(annotation) in (Union, types.UnionType)


def literals(annotation: Any) -> list[Any]:
    """The values spelled out in an annotation."""
    if is_union(annotation):
        return [x for part in typing.get_args(annotation) for x in literals(part)]
    return list(typing.get_args(annotation)) if typing.get_origin(annotation) is Literal else []


def describe(annotation: Any) -> str:
    """An annotation in words."""
    if is_union(annotation):
        return " or ".join(describe(part) for part in typing.get_args(annotation))
    if typing.get_origin(annotation) is Literal:
        return " or ".join(repr(x) for x in typing.get_args(annotation))
    if annotation in (None, type(None)):
        return "None"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return re.sub(
        r"\b(?:typing|collections\.abc|ray(?:\.\w+)+|gymnasium(?:\.\w+)+)\.", "", str(annotation)
    )
