"""What `module:name` stands for."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


def is_path(text: str) -> bool:
    """Whether a text reads like `module:name`."""
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), name])


def load_object(path: str) -> Any:
    """Import it; modules of the working directory count.

    Raises:
        ValueError: If the module or the name is not there.
    """
    module, _, name = path.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{path!r} cannot be imported ({error}); it has to read module:name, with the module"
            " on PYTHONPATH or in this directory"
        ) from error
