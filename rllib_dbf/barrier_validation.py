"""Checks of the barrier's settings: got, allowed, remedy."""

from __future__ import annotations

from functools import partial
from typing import Any

from rllib_dbf.barrier_config import BARRIER_DEFAULTS
from rllib_dbf.barrier_estimators import BARRIER_ESTIMATORS, STATE_BASELINES
from rllib_dbf.correction_config import CORRECTION_DEFAULTS
from rllib_dbf.expressions import ExpressionError, evaluate
from rllib_dbf.functional.gradient_scope import SCOPES
from rllib_dbf.functional.gradients import COMBINATIONS
from rllib_dbf.nets.barrier_critics import BARRIER_CRITICS
from rllib_dbf.nets.corrections import ACTION_CORRECTIONS

_CHOICES = {
    "barrier_deaths": ("new", "cumulative"),
    "barrier_tail": ("zero", "absorbing"),
    "barrier_normaliser": ("transitions", "trajectories", "states", "episodes"),
    "barrier_critic_data": ("latest", "replayed"),
    "barrier_critic_target": ("team", "agents"),
    "barrier_weights": ("myopic", "to_go", "control_variate"),
    "barrier_baseline": ("none", "mean", *STATE_BASELINES),
    "gradient_scope": SCOPES,
    "learn_from": ("executed", "proposed"),
}


_POSITIVE = (
    "on_policy_episodes",
    "importance_clip",
    "barrier_critic_lr",
    "correction_horizon",
    "correction_lr",
    "barrier_annealing_steps",
    "multiplier_rate",
    "exploration_temperature",
)
_UNIT = ("gamma_b", "lambda_b", "barrier_to_go_discount", "correction_alpha", "tie_break_margin")
_AT_LEAST_ZERO = (
    "beta_q",
    "beta_b",
    "beta_q_agreeing",
    "beta_b_agreeing",
    "max_gradient_ratio",
    "barrier_penalty",
)


def validate_barrier(config: Any) -> None:
    """Refuse values out of range, and settings that the chosen parts do not use.

    Raises:
        ValueError: With what was given, what is allowed and what to do.
    """
    COMBINATIONS[config.gradient_combination]
    for name, allowed in _CHOICES.items():
        if getattr(config, name) not in allowed:
            raise ValueError(
                f"{name}={getattr(config, name)!r} is unknown; choose from {', '.join(allowed)}"
            )
    _validate_ranges(config)
    _validate_omega(config.omega)
    _validate_correction(config)
    if config.barrier_estimator == "off":
        _refuse_acting_on_danger(config)
        return
    _validate_use(config)
    _validate_critic(config)
    _validate_baseline(config)
    if config.barrier_weights == "control_variate" and (
        config.barrier_deaths != "new" or config.barrier_tail != "zero"
    ):
        raise ValueError(
            "barrier_weights='control_variate' is derived for barrier_deaths='new' and "
            f"barrier_tail='zero', but got {config.barrier_deaths!r} and {config.barrier_tail!r}; "
            "change these, or use barrier_weights='myopic' or 'to_go'"
        )


def _validate_ranges(config: Any) -> None:
    for name in _UNIT:
        if not 0.0 <= (getattr(config, name) or 0.0) <= 1.0:
            raise ValueError(f"{name}={getattr(config, name)!r} must lie in [0, 1]")
    if config.gamma_b >= 1.0:
        raise ValueError(f"gamma_b={config.gamma_b!r} must be below 1: eq. 4 would not decay")
    for name in ("conflict_threshold", "conflict_decay"):
        if not 0.0 <= getattr(config, name) < 1.0:
            raise ValueError(f"{name}={getattr(config, name)!r} must lie in [0, 1)")
    for name in _POSITIVE:
        if getattr(config, name) is not None and not getattr(config, name) > 0:
            raise ValueError(f"{name}={getattr(config, name)!r} must be greater than 0")
    for name in _AT_LEAST_ZERO:
        if (getattr(config, name) or 0.0) < 0:
            raise ValueError(f"{name}={getattr(config, name)!r} must not be negative")
    temperature = config.policy_temperature
    if temperature != "std" and (isinstance(temperature, str) or not temperature > 0):
        raise ValueError(
            f"policy_temperature={temperature!r} must be a number greater than 0, or 'std' for "
            "the running standard deviation of the utilities"
        )


def _validate_correction(config: Any) -> None:
    if config.action_correction != "off":
        ACTION_CORRECTIONS[config.action_correction]
        if config.correction_in_targets and config.input_layer != "linear":
            raise ValueError(
                "correction_in_targets=True would change what input_layer="
                f"{config.input_layer!r} remembers; use input_layer='linear' or leave it out"
            )
        return
    for name, default in CORRECTION_DEFAULTS.items():
        if getattr(config, name) != default:
            raise ValueError(
                f"{name}={getattr(config, name)!r} has no effect with action_correction='off'; "
                f"leave it out, or choose from {', '.join(ACTION_CORRECTIONS)}"
            )


def _validate_omega(omega: float | str | None) -> None:
    try:
        values = [0.0] if omega is None else [_omega(omega, n) for n in (2, 100)]
    except ExpressionError as error:
        raise ValueError(f"omega={error}") from error
    if min(values) < 0:
        raise ValueError(
            f"omega={omega!r} must be None (team size - 1), a number of at least 0, or a formula "
            "of the team size n that is never negative"
        )


def _omega(omega: float | str, n: int) -> float:
    return evaluate(omega, n=n) if isinstance(omega, str) else float(omega)


def _validate_use(config: Any) -> None:
    """Refuse settings that were changed and have no effect."""
    estimator = config.barrier_estimator
    used = BARRIER_ESTIMATORS[estimator].uses
    for name in sorted({name for entry in BARRIER_ESTIMATORS.values() for name in entry.uses}):
        if name not in used and _changed(config, name):
            users = [n for n, entry in BARRIER_ESTIMATORS.items() if name in entry.uses]
            raise ValueError(
                f"{name}={getattr(config, name)!r} has no effect with barrier_estimator="
                f"{estimator!r}; leave it out, or choose from {', '.join(users)}"
            )
    if BARRIER_ESTIMATORS[estimator].surrogate is None:
        for name in _COMBINING:
            if _changed(config, name):
                raise ValueError(
                    f"{name}={getattr(config, name)!r} has no effect with barrier_estimator="
                    f"{estimator!r}, which has no gradient of its own; "
                    f"set {name}={BARRIER_DEFAULTS[name]!r}"
                )
    if not BARRIER_ESTIMATORS[estimator].by_omega and _changed(config, "omega"):
        raise ValueError(
            f"omega={config.omega!r} has no effect with barrier_estimator={estimator!r}, which "
            "learns from every episode; leave it out"
        )
    if config.barrier_weights != "to_go" and _changed(config, "barrier_to_go_discount"):
        raise ValueError(
            f"barrier_to_go_discount={config.barrier_to_go_discount!r} has no effect with "
            f"barrier_weights={config.barrier_weights!r}; leave it out, or set "
            "barrier_weights='to_go'"
        )
    plain = config.gradient_combination == "sum" and not any(
        map(partial(_changed, config), _AGREEING)
    )
    for name in ("conflict_threshold", "conflict_decay", "gradient_scope"):
        if plain and _changed(config, name):
            raise ValueError(
                f"{name}={getattr(config, name)!r} has no effect with gradient_combination='sum', "
                "which treats conflict like agreement; leave it out, or use 'pcgrad', "
                "'pcgrad_one_way', beta_q_agreeing or beta_b_agreeing"
            )
    if config.gradient_combination != "pcgrad_one_way" and _changed(config, "max_gradient_ratio"):
        raise ValueError(
            f"max_gradient_ratio={config.max_gradient_ratio!r} has no effect with "
            f"gradient_combination={config.gradient_combination!r}; leave it out, or use "
            "gradient_combination='pcgrad_one_way'"
        )


def _refuse_acting_on_danger(config: Any) -> None:
    for name in ("exploration_temperature", "tie_break_margin"):
        if _changed(config, name):
            raise ValueError(
                f"{name}={getattr(config, name)!r} acts on foreseen deaths, but with "
                "barrier_estimator='off' nothing foresees them; set barrier_estimator='watch' or "
                "leave it out"
            )


def _validate_critic(config: Any) -> None:
    """Settings of a critic want one, and to foresee agents one that tells them apart."""
    estimator, critic = config.barrier_estimator, config.barrier_critic
    for name in ("barrier_critic_lr", "barrier_critic_data", "barrier_critic_target"):
        if critic is None and _changed(config, name):
            users = [n for n, entry in BARRIER_ESTIMATORS.items() if entry.critic]
            raise ValueError(
                f"{name}={getattr(config, name)!r} has no effect with barrier_estimator="
                f"{estimator!r}, which has no critic; leave it out, choose from "
                f"{', '.join(users)}, or use barrier_baseline='critic'"
            )
    tells_apart = [n for n, e in BARRIER_ESTIMATORS.items() if _tells_agents_apart(e.critic)]
    if config.barrier_critic_target == "agents" and not _tells_agents_apart(critic):
        raise ValueError(
            "barrier_critic_target='agents' wants a critic that tells agents apart, but that of "
            f"barrier_estimator={estimator!r} sees the team as one; set "
            f"barrier_critic_target='team' or choose from {', '.join(tells_apart)}"
        )


def _tells_agents_apart(critic: str | None) -> bool:
    return critic is not None and hasattr(BARRIER_CRITICS[critic], "shares")


def _validate_baseline(config: Any) -> None:
    """A baseline from the critic is one of the violation now, at its own scale."""
    if config.barrier_baseline not in STATE_BASELINES:
        return
    for name in ("barrier_weights", "barrier_standardise"):
        if _changed(config, name):
            raise ValueError(
                f"{name}={getattr(config, name)!r} cannot go with barrier_baseline="
                f"{config.barrier_baseline!r}, the critic's estimate of the violation itself; set "
                f"{name}={BARRIER_DEFAULTS[name]!r} or barrier_baseline='mean'"
            )


_AGREEING = ("beta_q_agreeing", "beta_b_agreeing")
_COMBINING = (
    "gradient_combination",
    "gradient_scope",
    "barrier_annealing_steps",
    "conflict_threshold",
    "conflict_decay",
    *_AT_LEAST_ZERO[:4],
)


def _changed(config: Any, name: str) -> bool:
    return getattr(config, name) != BARRIER_DEFAULTS[name]
