"""What tells a trial from its siblings: on the screen, and as its directory's name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_LONGEST = 80


def number_of(trial: Any) -> int:
    """A Tune trial's number, from 1."""
    number = (trial.experiment_tag or "").partition("_")[0]
    return int(number) + 1 if number.isdigit() else 1


def directory_name(trial: Any, searched: Sequence[str]) -> str:
    """Its directory: `trial_001_gamma_b=0.4`."""
    values = "".join(f"_{key}={_brief(value)}" for key, value in _told(trial.config, searched))
    values = re.sub(r"[^\w.=+-]+", "-", values)
    return f"trial_{number_of(trial):03d}{values}"[:_LONGEST]


def label(number: int, config: Mapping[str, Any], searched: Sequence[str]) -> str:
    """Its name on the screen: `trial 1 (gamma_b 0.4, seed 1)`."""
    told = [f"{key} {_brief(value)}" for key, value in _told(config, [*searched, "seed"])]
    return f"trial {number}" + (f" ({', '.join(told)})" if told else "")


def number_in(path: str) -> int | None:
    """The number in a trial directory's name."""
    found = re.match(r"trial_(\d+)", Path(path).name)
    return int(found[1]) if found else None


def _told(config: Mapping[str, Any], searched: Sequence[str]) -> list[tuple[str, Any]]:
    names = dict.fromkeys(searched)
    return [(name, config[name]) for name in names if config.get(name) is not None]


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
