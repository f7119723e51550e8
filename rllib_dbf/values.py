"""Reads values people type: JSON, or YAML without the surprises of YAML 1.1."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml


class PlainLoader(yaml.SafeLoader):
    """YAML that reads `1e-3` as a number, and `off`, `no` and `2026-01-01` as words.

    PyYAML follows YAML 1.1, where `1e-3` is a string (it misses the dot) and `off` is False;
    `lr: 1e-3` and `barrier_estimator: off` are what people write in experiment files.
    """


_RESOLVERS = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|None|", "~nN"),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "tag:yaml.org,2002:merge": (r"<<", "<"),
}
PlainLoader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _RESOLVERS.items():
    PlainLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))
PlainLoader.yaml_implicit_resolvers.setdefault("", []).append(
    ("tag:yaml.org,2002:null", re.compile("^$"))
)


def _mapping_without_duplicates(loader: PlainLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    """A YAML mapping; a key given twice is an error, not a silent last-one-wins."""
    seen: set[Any] = set()
    for key_node, _ in node.value:  # before `<<` is replaced by what it stands for
        if isinstance(key_node.value, str) and key_node.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
            )
        if isinstance(key_node.value, str):
            seen.add(key_node.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


PlainLoader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)


def parse_value(text: str) -> Any:
    """The value a text on the command line stands for: JSON, else plain YAML, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.load(text, Loader=PlainLoader)
    except yaml.YAMLError:
        return text


def parse_mapping(text: str, what: str) -> dict[str, Any]:
    """The mapping a text stands for (JSON as the options say, YAML's flow style as well).

    Raises:
        ValueError: If the text is no mapping; the message names `what` was being read.
    """
    try:
        value = yaml.load(text, Loader=PlainLoader)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f'{what}={text!r} is not a mapping; write JSON, as {{"gamma_b": 0.5}}')
    return value


def load_yaml(path: Path) -> Any:
    """The contents of a YAML file.

    Raises:
        ValueError: If the file is not YAML, with the line that is wrong.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error
