"""Values to try: `gamma_b=0.4,0.5`, `lr=loguniform(1e-4,1e-2)` and their forms in files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from rllib_dbf.cli.errors import CommandError
from rllib_dbf.registry import suggestion
from rllib_dbf.values import PlainLoader

GRIDS = ("grid", "grid_search")
_DRAWN = {
    "choice": None,  # any number of values
    "uniform": 2,
    "quniform": 3,
    "loguniform": 2,
    "qloguniform": 3,
    "randint": 2,
    "qrandint": 3,
    "lograndint": 2,
    "qlograndint": 3,
    "randn": 2,
}
"""Forms of which Tune draws one value per trial, with the number of their arguments."""


class Sweep(NamedTuple):
    """Values to try for one setting, before Ray is imported."""

    form: str
    values: tuple[Any, ...]

    @property
    def drawn(self) -> bool:
        """Whether every trial draws a value (a grid tries them all)."""
        return self.form not in GRIDS

    def space(self) -> Any:
        """What Tune calls it (imports Ray)."""
        if not self.drawn:
            return {"grid_search": list(self.values)}
        from ray import tune

        if self.form == "choice":
            return tune.choice(list(self.values))
        return getattr(tune, self.form)(*self.values)


def parse_sweep(text: str) -> tuple[str, Sweep]:
    """`KEY=VALUES` of the command line.

    VALUES is a list (`0.4,0.5`, `[0.4, 0.5]`, `grid(0.4, 0.5)`), of which every value is tried,
    or one of Tune's distributions (`uniform(0.3,0.9)`), of which each trial draws.

    Raises:
        CommandError: If it cannot be read.
    """
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise CommandError(f"--sweep {text!r} must read KEY=VALUES, as gamma_b=0.4,0.5,0.7")
    call = re.fullmatch(r"\s*([a-z_]+)\s*\((.*)\)\s*", values)
    # A part such as mean_shape(qmix) looks like a call as well: only known forms are one, and an
    # unknown one with numbers in it is a misspelt one.
    if call and (call[1] in (*GRIDS, *_DRAWN) or _numbers(call[2])):
        return key.strip(), sweep_of(call[1], _items(call[2], text), f"--sweep {text!r}")
    items = _items(values, text)
    if len(items) == 1 and isinstance(items[0], list):
        items = items[0]
    return key.strip(), sweep_of("grid", items, f"--sweep {text!r}")


def sweep_in_file(value: Any, where: str) -> Any:
    """A setting of a file: `{uniform: [0.3, 0.9]}` becomes a Sweep, anything else stays.

    `{grid_search: […]}` stays as well: it is Tune's own.

    Raises:
        CommandError: If the arguments do not fit the form.
    """
    if isinstance(value, Mapping) and len(value) == 1:
        ((form, values),) = value.items()
        if form in _DRAWN and isinstance(values, list):
            return sweep_of(form, values, where)
    return value


def sweep_of(form: str, values: list[Any], where: str) -> Sweep:
    """A checked Sweep.

    Raises:
        CommandError: If there is no such form, or its arguments do not fit.
    """
    known = [*GRIDS, *_DRAWN]
    if form not in known:
        raise CommandError(
            f"{where}: {form!r} is no form of a sweep; choose from {', '.join(known)}."
            f"{suggestion(form, known)}"
        )
    wanted = _DRAWN.get(form)
    if not values or (wanted is not None and len(values) != wanted):
        count = wanted or "at least one"
        raise CommandError(f"{where}: {form} takes {count} values, not {len(values)}")
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if wanted is not None and not numbers:
        raise CommandError(f"{where}: {form} takes numbers, not {values}")
    if wanted is not None and form != "randn" and values[0] >= values[1]:
        raise CommandError(f"{where}: {form} needs a lower bound below the upper one")
    if "log" in form and values[0] <= 0:
        raise CommandError(f"{where}: {form} needs bounds above 0")
    return Sweep("grid" if form in GRIDS else form, tuple(values))


def _items(text: str, whole: str) -> list[Any]:
    try:
        return yaml.load(f"[{text}]", Loader=PlainLoader)
    except yaml.YAMLError as error:
        raise CommandError(f"--sweep {whole!r} cannot be read as a list of values") from error


def _numbers(text: str) -> bool:
    return bool(re.search(r"\d\s*,\s*[-+.\d]", text))
