"""The settings of the action correction: what may overrule an agent's action."""

from __future__ import annotations

from typing import Any, no_type_check

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided

CORRECTION_DEFAULTS: dict[str, Any] = {
    "action_correction": "off",
    "correction_alpha": 0.1,
    "correction_horizon": 1,
    "correction_lr": 1e-3,
    "correction_in_targets": False,
    "learn_from": "executed",
}


class CorrectionConfig(AlgorithmConfig):
    """The part of `DBFConfig` that says what corrects actions; see `docs/barrier.md`."""

    action_correction: str
    correction_alpha: float
    correction_horizon: int
    correction_lr: float
    correction_in_targets: bool
    learn_from: str

    def _set_correction_defaults(self) -> None:
        for name, value in CORRECTION_DEFAULTS.items():
            setattr(self, name, value)

    @no_type_check  # checked by `DBFConfig.training`, with a better message than a type checker's
    def training(
        self,
        *,
        action_correction: str = NotProvided,
        correction_alpha: float = NotProvided,
        correction_horizon: int = NotProvided,
        correction_lr: float = NotProvided,
        correction_in_targets: bool = NotProvided,
        learn_from: str = NotProvided,
        **kwargs: Any,
    ) -> CorrectionConfig:
        """Sets what corrects actions.

        Args:
            action_correction: What may overrule an agent's action: "off" or "cbf" (a learnt
                control barrier function). Needs no barrier estimator and goes with any preset.
            correction_alpha: α of "cbf" in [0, 1]: share of its safety an agent may lose per step.
            correction_horizon: K of "cbf": an agent is in danger this many steps before it dies.
                What lies further ahead follows from h; a longer label blames the way to danger too.
            correction_lr: Learning rate of the correction's own Adam.
            correction_in_targets: Bootstrap from corrected greedy actions, not from the proposals.
            learn_from: Which action values are learnt for: the "executed" one, or the "proposed"
                one that was overruled.
            **kwargs: RLlib's own training settings.

        Returns:
            This updated configuration.
        """
        own = {k: v for k, v in locals().items() if k in CORRECTION_DEFAULTS}
        super().training(**kwargs)
        self._take_given(own)
        return self

    def _take_given(self, arguments: dict[str, Any]) -> None:
        """Set what a fluent method was given."""
        for name, value in arguments.items():
            if value is not NotProvided:
                setattr(self, name, value)

    @property
    def correction_rates(self) -> dict[str, float]:
        """Learning rate of the correction's own optimiser, if there is a correction."""
        return {} if self.action_correction == "off" else {"correction": self.correction_lr}

    @property
    def correction_model_config(self) -> dict[str, Any]:
        """What the module has to know of the correction."""
        names = ("action_correction", "correction_alpha", "correction_horizon")
        return {name: getattr(self, name) for name in names}
