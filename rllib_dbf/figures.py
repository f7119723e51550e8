"""What updates have to tell, added up until somebody asks."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

LOSS = "td_loss"


class _Kept(NamedTuple):
    """Figures, a gradient's norm and 1: added up, and those of the last update that counted."""

    sums: Float[Tensor, " F+2"]
    last: Float[Tensor, " F+2"]


class Trouble(NamedTuple):
    """An update that was not finite."""

    update: int  # its number, the first since a start being 1
    norm: float
    figures: str


@runtime_checkable
class Figures(Protocol):
    """Sums of figures over updates; after one that was not finite nothing counts any more."""

    @property
    def halted(self) -> Tensor | bool:
        """Whether an update was not finite; as a tensor [] where a device keeps it, 1 if so."""
        ...

    def add(self, figures: dict[str, Tensor], norm: Float[Tensor, ""]) -> None:
        """Take in the figures of an update; halt if `norm` or `td_loss` is not finite.

        The Huber loss of an infinite error has a finite gradient.
        """
        ...

    def means(self) -> dict[str, float]:
        """Means over the updates since the last call."""
        ...

    def trouble(self) -> Trouble | None:
        """The update that was not finite, if there was one; then start anew."""
        ...

    def forget(self) -> None:
        """Start anew."""
        ...


def figures_of(device: torch.device) -> Figures:
    """Figures of updates on a device, of which a processor can be asked at any time."""
    return HostFigures() if device.type == "cpu" else DeviceFigures(device)


def _finite(names: tuple[str, ...], *last: float) -> bool:
    """Whether an update's norm and loss were."""
    *values, norm, _ = last
    return isfinite(norm) and isfinite(dict(zip(names, values, strict=True)).get(LOSS, 0.0))


def _described(figures: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in figures)


class HostFigures(Figures):
    """Figures that are numbers at once."""

    def __init__(self) -> None:
        self.forget()

    @property
    def halted(self) -> bool:
        """Whether an update was not finite."""
        return self._trouble is not None

    def add(self, figures: dict[str, Tensor], norm: Float[Tensor, ""]) -> None:
        """Take in the figures of an update; halt if `norm` or `td_loss` is not finite."""
        if self.halted:
            return
        self._updates += 1
        now = {name: float(value.detach()) for name, value in figures.items()}
        if not (isfinite(norm) and isfinite(now.get(LOSS, 0.0))):
            self._trouble = Trouble(self._updates, float(norm), _described(now.items()))
            return
        for name, value in now.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value, count + 1

    def means(self) -> dict[str, float]:
        """Means over the updates since the last call."""
        found = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums.clear()
        return found

    def trouble(self) -> Trouble | None:
        """The update that was not finite, if there was one; then start anew."""
        trouble = self._trouble
        if trouble is not None:
            self.forget()
        return trouble

    def forget(self) -> None:
        """Start anew."""
        self._trouble: Trouble | None = None
        self._updates = 0  # since the start
        self._sums: dict[str, tuple[float, int]] = {}  # and how many there were


class DeviceFigures(Figures):
    """Figures that stay on a device until somebody asks.

    Takes part in recordings: what is known after `add` lies on the device, in places that stay.

    Args:
        device: Where figures come from.
    """

    def __init__(self, device: torch.device) -> None:
        self._halted = torch.zeros((), device=device)  # 1 once an update was not finite
        self._kept: dict[tuple[str, ...], _Kept] = {}
        self._counted = 0  # updates whose figures have been asked for

    @property
    def halted(self) -> Float[Tensor, ""]:
        """1 once an update was not finite."""
        return self._halted

    def add(self, figures: dict[str, Tensor], norm: Float[Tensor, ""]) -> None:
        """Take in the figures of an update; halt if `norm` or `td_loss` is not finite."""
        names = tuple(figures)
        here, kind = self._halted.device, self._halted.dtype
        values = [x.detach().to(here, kind) for x in (*figures.values(), norm)]
        now = torch.stack([*values, self._halted.new_ones(())])
        if names not in self._kept:
            self._kept[names] = _Kept(torch.zeros_like(now), torch.zeros_like(now))
        sums, last = self._kept[names]
        before = self._halted > 0
        last.copy_(torch.where(before, last, now))
        finite = torch.isfinite(norm) & torch.isfinite(figures.get(LOSS, norm))
        torch.maximum(self._halted, (~finite).to(kind), out=self._halted)
        sums.add_(torch.where(self._halted > 0, 0.0, now))

    def means(self) -> dict[str, float]:
        """Means over the updates since the last call."""
        found: dict[str, list[float]] = {}
        for names, kept in self._kept.items():
            *sums, _, count = kept.sums.cpu().tolist()
            kept.sums.zero_()
            self._counted += int(count)
            for name, value in zip(names, sums, strict=True):
                total = found.setdefault(name, [0.0, 0.0])
                total[0] += value
                total[1] += count
        return {name: total / count for name, (total, count) in found.items() if count}

    def trouble(self) -> Trouble | None:
        """The update that was not finite, if there was one; then start anew."""
        if not bool(self._halted):
            return None
        update = 1 + self._counted + sum(int(kept.sums[-1]) for kept in self._kept.values())
        lasts = ((names, *kept.last.cpu().tolist()) for names, kept in self._kept.items())
        names, *values, norm, _ = next(last for last in lasts if not _finite(*last))
        self.forget()
        return Trouble(update, norm, _described(zip(names, values, strict=True)))

    def forget(self) -> None:
        """Start anew."""
        self._halted.zero_()
        self._counted = 0
        for sums, last in self._kept.values():
            sums.zero_()
            last.zero_()
