"""Name → part lookup tables that answer a misspelt name with a suggestion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Generic, TypeVar

Part = TypeVar("Part")


class UnknownNameError(ValueError):
    """A name that is in no table; the message says what is, and what was probably meant."""


def suggestion(name: str, names: list[str]) -> str:
    """ " Did you mean 'x'?" for the known name closest to `name`, or an empty string."""
    lower = {known.lower(): known for known in reversed(names)}
    close = get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    return f" Did you mean {lower[close[0]]!r}?" if close else ""


class Registry(Mapping[str, Part], Generic[Part]):
    """A table of named parts of one kind, filled by `register` where each part is defined.

    Args:
        kind: What the entries are, in the singular ("mixer"), for error messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Part] = {}

    def register(self, name: str) -> Callable[[Part], Part]:
        """Decorator that enters a part under `name`.

        Raises:
            ValueError: If the name is already taken by another part.
        """

        def enter(part: Part) -> Part:
            if name in self._parts and self._parts[name] is not part:
                raise ValueError(f"{self.kind} {name!r} is already registered")
            self._parts[name] = part
            return part

        return enter

    def __getitem__(self, name: str) -> Part:
        try:
            return self._parts[name]
        except KeyError:
            names = sorted(self._parts)
            raise UnknownNameError(
                f"{self.kind}={name!r} is unknown; choose from {', '.join(names)}."
                f"{suggestion(str(name), names)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
