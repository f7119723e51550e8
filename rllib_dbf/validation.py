"""Checks of a configuration before anything is built: got, allowed, remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rllib_dbf.barrier_estimators import BARRIER_ESTIMATORS
from rllib_dbf.barrier_validation import validate_barrier
from rllib_dbf.functional.risk import RISKS
from rllib_dbf.loss_terms import TD_LOSSES
from rllib_dbf.nets.mixers import make_mixer
from rllib_dbf.nets.utility import HEADS, INPUT_LAYERS
from rllib_dbf.objectives import OBJECTIVES, make_options
from rllib_dbf.optimizers import OPTIMIZERS
from rllib_dbf.registry import Registry
from rllib_dbf.settings import SettingError, check_setting, find_setting, settings_of
from rllib_dbf.without_effect import refuse_without_effect

_UNIT = ("td_lambda", "gamma")
_AGENT_RISK = 0.75  # its default
LARGEST_SEED = 4_290_000_000  # NumPy: below 2**32; runners add their numbers, evaluations 10**6
_POSITIVE = (
    "hidden_dim",
    "mixing_embed_dim",
    "mixing_hypernet_dim",
    "mixing_kernels",
    "mixing_kernel_layers",
    "input_hypernet_dim",
    "n_quantiles",
    "n_target_quantiles",
    "batch_episodes",
    "episodes_per_update",
    "updates_per_collection",
    "learning_starts",
    "target_update_interval",
    "replay_capacity",
    "optimizer_eps",
    "metrics_num_episodes_for_smoothing",
)


def validate_row(config: Any) -> None:
    """Refuse unknown parts, values out of range, and rows whose parts do not fit together.

    Raises:
        ValueError: With what was given, what is allowed and what to do.
    """
    for name, table in _tables().items():
        value = getattr(config, name)
        if not (name == "barrier_estimator" and value == "off"):
            table[value]
    mixer = make_mixer(config.mixer, 1, 1, 1, 1)
    make_options(config.objective, config.objective_options)
    _validate_ranges(config)
    _validate_steps(config)
    _validate_fit(config, mixer.expected_only, getattr(mixer, "reads_maximum", True))
    _validate_objective(config, getattr(mixer, "grouped", False))
    _validate_risk_in_targets(config)
    validate_barrier(config)
    refuse_without_effect(config)
    _validate_epsilon(config.epsilon)
    validate_start(config)


def _tables() -> dict[str, Registry]:
    return {
        "head": HEADS,
        "input_layer": INPUT_LAYERS,
        "risk": RISKS,
        "td_loss": TD_LOSSES,
        "objective": OBJECTIVES,
        "barrier_estimator": BARRIER_ESTIMATORS,
        "optimizer_name": OPTIMIZERS,
    }


def _validate_ranges(config: Any) -> None:
    for name in _UNIT:
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise ValueError(f"{name}={getattr(config, name)!r} must lie in [0, 1]")
    given = {name: getattr(config, name) for name in _POSITIVE}
    if config.overlap_updates is not None:
        given["overlap_updates"] = config.overlap_updates
    for name, value in given.items():
        if not value > 0:
            raise ValueError(f"{name}={value!r} must be greater than 0")


def _validate_steps(config: Any) -> None:
    lr, clip = config.lr, config.grad_clip
    rates = [rate for _, rate in lr] if isinstance(lr, list | tuple) else [lr]
    if not all(rate >= 0 for rate in rates):
        raise ValueError(
            f"lr={lr!r} must not be negative; give a rate, or a list of [env steps, rate]"
        )
    if clip is not None and not clip > 0:
        raise ValueError(f"grad_clip={clip!r} must be greater than 0, or None for no bound")


def _validate_fit(config: Any, expected_only: bool, reads_maximum: bool) -> None:
    head, objective = HEADS[config.head], OBJECTIVES[config.objective]
    distributional = head.distributional
    if not distributional and (config.n_quantiles != 1 or config.n_target_quantiles != 1):
        raise ValueError(
            f"head='expected' has one quantile, but n_quantiles={config.n_quantiles} and "
            f"n_target_quantiles={config.n_target_quantiles}; set both to 1 or use head='iqn'"
        )
    if not distributional and config.td_loss == "quantile_huber":
        raise ValueError("td_loss='quantile_huber' needs head='iqn'; with 'expected' use 'squared'")
    if distributional and config.td_loss == "squared" and not objective.mixes_values:
        raise ValueError(
            f"td_loss='squared' would collapse the quantiles of head={config.head!r}; "
            "use td_loss='quantile_huber'"
        )
    counts = config.n_quantiles, config.n_target_quantiles
    if counts[0] != counts[1] and (head.fixed_fractions or objective.paired_quantiles):
        raise ValueError(
            f"n_quantiles={counts[0]} and n_target_quantiles={counts[1]} must be equal with "
            f"head={config.head!r} and objective={config.objective!r}"
        )
    if distributional and expected_only and not objective.mixes_values:
        raise ValueError(
            f"mixer={config.mixer!r} mixes expected values, but head={config.head!r} gives "
            f"quantiles; use mixer='mean_shape({config.mixer})'"
        )
    if reads_maximum and not objective.knows_maximum:
        raise ValueError(
            f"mixer={config.mixer!r} looks at each agent's greatest utility, which "
            f"objective={config.objective!r} does not tell it; use objective='td', or a mixer "
            "whose reads_maximum is False, such as 'qmix'"
        )
    if config.risk != "mean" and not distributional:
        raise ValueError(
            f"risk={config.risk!r} needs a return distribution, but head='expected' has one "
            "quantile; use head='iqn' (for example preset='dmix') or risk='mean'"
        )
    RISKS[config.risk](torch.zeros(2), config.risk_level)  # refuses an impossible level
    if config.risk == "mean" and config.risk_level != 1.0:
        raise ValueError(
            f"risk_level={config.risk_level!r} has no effect with risk='mean'; leave it out, or "
            f"choose risk from {', '.join(r for r in RISKS if r != 'mean')}"
        )
    if not 0.0 < config.agent_risk < 1.0:
        raise ValueError(f"agent_risk={config.agent_risk!r} must lie between 0 and 1")
    if config.agent_risk != _AGENT_RISK and head.fractions == 1:
        raise ValueError(
            f"agent_risk={config.agent_risk!r} has no effect with head={config.head!r}; leave it "
            "out, or use head='iqn_pair' (preset='drima')"
        )
    if config.input_layer != "linear" and not head.any_fraction:
        raise ValueError(
            f"input_layer={config.input_layer!r} feeds on return quantiles at given fractions, "
            f"but head={config.head!r} has none; use input_layer='linear' or head='iqn'"
        )
    if config.learning_starts < config.batch_episodes:
        raise ValueError(
            f"learning_starts={config.learning_starts} is below batch_episodes="
            f"{config.batch_episodes}: the first batch could not be filled; raise it"
        )
    if config.replay_capacity < config.batch_episodes:
        raise ValueError(
            f"replay_capacity={config.replay_capacity} is below batch_episodes="
            f"{config.batch_episodes}; raise it"
        )


def _validate_objective(config: Any, grouped: bool) -> None:
    """What an objective does not work with."""
    objective, name = OBJECTIVES[config.objective], config.objective
    for part, allowed in (
        ("head", objective.heads),
        ("td_loss", objective.td_losses),
        ("mixer", objective.mixers),
    ):
        given = getattr(config, part)
        if allowed and given not in allowed:
            raise ValueError(
                f"{part}={given!r} does not go with objective={name!r}, which takes "
                f"{' or '.join(map(repr, allowed))}; leave it out, or choose another objective"
            )
    if grouped and objective.one_value:
        raise ValueError(
            f"mixer={config.mixer!r} has a value for each agent, and objective={name!r} needs one "
            "of the team; use mixer='qmix', or objective='td'"
        )
    wanted = getattr(HEADS[config.head], "objective", name)
    if wanted != name:
        raise ValueError(
            f"head={config.head!r} is learnt by objective={wanted!r} alone; use that, or head='qr'"
        )
    if config.correction_in_targets and name != "td":
        raise ValueError(
            f"correction_in_targets=True has no effect with objective={name!r}; leave it out, or "
            "use objective='td'"
        )


def _validate_risk_in_targets(config: Any) -> None:
    """Whether targets look at the row's risk measure."""
    if not config.risk_in_targets:
        return
    if config.risk == "mean":
        raise ValueError(
            "risk_in_targets=True has no effect with risk='mean'; set risk_in_targets=False, or "
            f"choose risk from {', '.join(r for r in RISKS if r != 'mean')}"
        )
    by_risk = OBJECTIVES[config.objective].by_risk
    if not by_risk or hasattr(HEADS[config.head], "objective"):
        judge = f"head={config.head!r}" if by_risk else f"objective={config.objective!r}"
        raise ValueError(
            f"risk_in_targets=True has no effect with {judge}, whose targets have a measure of "
            "their own; set risk_in_targets=False"
        )


def _validate_epsilon(epsilon: Any) -> None:
    points = [(0, epsilon)] if isinstance(epsilon, int | float) else epsilon
    try:
        steps = [float(step) for step, _ in points]
        rates = [float(rate) for _, rate in points]
    except (TypeError, ValueError):
        steps, rates = [1.0, 0.0], []
    if not rates or steps != sorted(steps) or not all(0.0 <= r <= 1.0 for r in rates):
        raise ValueError(
            f"epsilon={epsilon!r} must be a rate in [0, 1] or a list of (env steps, rate) in "
            "rising order, such as [(0, 1.0), (50000, 0.05)]"
        )


def validate_start(config: Any) -> None:
    """Refuse what RLlib, with any algorithm, would fail on once everything is being built.

    Raises:
        ValueError: For a seed out of range, and for settings of evaluations that do
            not exist or cannot work.
    """
    seed = config.seed
    if seed is not None and not (isinstance(seed, int) and 0 <= seed <= LARGEST_SEED):
        raise ValueError(f"seed={seed!r} must be None or a whole number from 0 to {LARGEST_SEED}")
    given = config.evaluation_config
    if not given or not isinstance(given, Mapping):
        return
    try:
        for name, value in given.items():
            _check_override(config, str(name), value)
        config.get_evaluation_config_object().validate()
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"evaluation_config: {error}") from error


def _check_override(config: Any, name: str, value: Any) -> None:
    """One entry of `evaluation_config`; attributes that are no settings are RLlib's business."""
    name = config._translate_special_keys(name, warn_deprecated=False)
    if hasattr(config, name) and name not in settings_of(config):
        return
    bare = find_setting(config, name).name
    if bare != name:
        raise SettingError(f"{name!r} stands without its section there; write {bare!r}")
    check_setting(config, name, value)


def validate_task(config: Any, reports_deaths: bool) -> None:
    """Refuse a barrier on an environment that reports no deaths."""
    if config.barrier_estimator != "off" and not reports_deaths:
        raise ValueError(
            f"barrier_estimator={config.barrier_estimator!r} learns from deaths, but "
            f"env={config.env!r} reports none; set barrier_estimator='off' or use a preset "
            "without a barrier"
        )
    if config.action_correction != "off" and not reports_deaths:
        raise ValueError(
            f"action_correction={config.action_correction!r} learns from deaths, but "
            f"env={config.env!r} reports none; set action_correction='off'"
        )
