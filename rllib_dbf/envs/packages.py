"""Packages whose own code runs only if somebody asks for what it defines."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """A package with its place among the modules, whose `__init__` has not run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        spec = self.__spec__
        assert spec is not None and spec.loader is not None
        self.__class__ = ModuleType  # pyright: ignore
        try:
            spec.loader.exec_module(self)
        except BaseException:
            self.__class__ = _Later  # pyright: ignore  # who asks next is told why, too
            raise
        return getattr(self, name)


def import_later(name: str) -> None:
    """Let modules of a package be imported without its own code.

    That runs when something else is first asked of the package, by whomever. Nothing happens if it
    has been imported, or is not there.

    Args:
        name: Of the package; those it lies in have to be imported, or given to this, before.
    """
    if name in sys.modules:
        return
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    module.__class__ = _Later
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
