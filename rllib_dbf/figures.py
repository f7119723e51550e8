"""What updates have to tell, added up on their device until somebody asks."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class _Kept(NamedTuple):
    """Figures, a gradient's norm and 1: added up, and those of the last update that counted."""

    sums: Float[Tensor, " F+2"]
    last: Float[Tensor, " F+2"]


class Trouble(NamedTuple):
    """An update that was not finite."""

    update: int  # its number, the first since a start being 1
    norm: float
    figures: str


class Figures:
    """Sums of figures over updates; after one that was not finite nothing counts any more.

    Takes part in recordings: what is known after `add` lies on the device, in places that stay.

    Args:
        device: Where figures come from.
    """

    def __init__(self, device: torch.device) -> None:
        self.halted = torch.zeros((), device=device)  # 1 once an update was not finite
        self._kept: dict[tuple[str, ...], _Kept] = {}
        self._counted = 0  # updates whose figures have been asked for

    def add(self, figures: dict[str, Tensor], norm: Float[Tensor, ""]) -> None:
        """Take in the figures of an update; halt if `norm` is not finite."""
        names = tuple(figures)
        here, kind = self.halted.device, self.halted.dtype
        values = [x.detach().to(here, kind) for x in (*figures.values(), norm)]
        now = torch.stack([*values, self.halted.new_ones(())])
        if names not in self._kept:
            self._kept[names] = _Kept(torch.zeros_like(now), torch.zeros_like(now))
        sums, last = self._kept[names]
        before = self.halted > 0
        last.copy_(torch.where(before, last, now))
        torch.maximum(self.halted, (~torch.isfinite(norm)).to(kind), out=self.halted)
        sums.add_(torch.where(self.halted > 0, 0.0, now))

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
        if not bool(self.halted):
            return None
        update = 1 + self._counted + sum(int(kept.sums[-1]) for kept in self._kept.values())
        lasts = ((names, *kept.last.cpu().tolist()) for names, kept in self._kept.items())
        names, *values, norm, _ = next(last for last in lasts if not isfinite(last[-2]))
        self.forget()
        described = ", ".join(f"{k}={v:g}" for k, v in zip(names, values, strict=True))
        return Trouble(update, norm, described)

    def forget(self) -> None:
        """Start anew."""
        self.halted.zero_()
        self._counted = 0
        for sums, last in self._kept.values():
            sums.zero_()
            last.zero_()
