"""Combines the return's gradient with the barrier's: weights, annealing and running means."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rllib_dbf.config import DBFConfig
from rllib_dbf.functional.gradient_scope import RunningGradients, merge


class GradientCombiner:
    """Combines the two task gradients, update after update.

    Args:
        config: How.
        layers: The layer that each parameter of the utility network belongs to.
    """

    def __init__(self, config: DBFConfig, layers: list[str]) -> None:
        self._how, self._layers = config.combining, layers
        self._annealing_steps = config.barrier_annealing_steps
        decay = self._how.decay
        self._running = RunningGradients(decay) if decay > 0.0 else None

    @property
    def recordable(self) -> bool:
        """Whether a GPU may record how it combines: nothing is carried from update to update."""
        return self._running is None

    def share(self, env_steps: int) -> float:
        """How much of β_B is left after so many env steps; at 0 the barrier has ended."""
        if self._annealing_steps is None:
            return 1.0
        return max(0.0, 1.0 - env_steps / self._annealing_steps)

    def combine(
        self, g_q: list[Tensor], g_b: list[Tensor], share: float
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The gradient to step along, and figures to log."""
        averages = self._running and self._running.follow(g_q, g_b)
        merged = merge(g_q, g_b, self._layers, self._how.annealed(share), averages)
        return merged.gradients, {
            "gradient_cosine": merged.cosine,
            "gradient_conflict_rate": merged.conflict,
            "gradient_norm_ratio": merged.norm_ratio,
        }

    def without_barrier(self, g_q: list[Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """As `combine` with a barrier that vanishes."""
        none = g_q[0].new_zeros(())
        names = ("gradient_cosine", "gradient_conflict_rate", "gradient_norm_ratio")
        return list(torch._foreach_mul(g_q, self._how.agreeing[0])), dict.fromkeys(names, none)

    def get_state(self) -> dict[str, Any] | None:
        """The running means, for a checkpoint."""
        return self._running and self._running.get_state()

    def set_state(self, state: dict[str, Any] | None, device: torch.device | str) -> None:
        """Restore what `get_state` returned."""
        if self._running is not None and state is not None:
            self._running.set_state(state, device)
