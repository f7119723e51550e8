"""Values people type mean what they look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rllib_dbf.values import load_yaml, parse_mapping, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        (".5", 0.5),
        ("1.", 1.0),
        ("400000", 400_000),
        ("4e5", 4e5),
        ("true", True),
        ("None", None),
        ("null", None),
        ("off", "off"),
        ("no", "no"),
        ("mean_shape(qmix)", "mean_shape(qmix)"),
        ("2026-01-01", "2026-01-01"),
        ("[[0, 1.0], [5e4, 0.05]]", [[0, 1.0], [5e4, 0.05]]),
        ("{a: 1e-3, b: off}", {"a": 0.001, "b": "off"}),
        ('"1"', "1"),
        ("@odd", "@odd"),
    ],
)
def test_parse_value(text: str, value: Any) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_parse_mapping_takes_json() -> None:
    assert parse_mapping('{"gamma_b": 1e-1}', "--config") == {"gamma_b": 0.1}


@pytest.mark.parametrize("text", ["[1]", "1", "{", ""])
def test_parse_mapping_refuses_the_rest(text: str) -> None:
    with pytest.raises(ValueError, match="--config"):
        parse_mapping(text, "--config")


def test_yaml_file_keeps_words_and_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: &x {lr: 1e-3, barrier_estimator: off}\nb: {<<: *x, lr: 2}\n")
    assert load_yaml(file)["a"] == {"lr": 0.001, "barrier_estimator": "off"}
    assert load_yaml(file)["b"]["barrier_estimator"] == "off"
