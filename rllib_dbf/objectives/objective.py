"""What the TD part of an update minimises, and the networks that this takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from torch import nn

from rllib_dbf.nets.joint import JointSizes
from rllib_dbf.registry import Registry, UnknownNameError, suggestion


class NoOptions(NamedTuple):
    """Of an objective that has none."""


class Objective(NamedTuple):
    """One way to learn from replayed episodes.

    `loss(online, target, batch, taus, settings)` returns a loss and figures to log;
    `joint(sizes, options)` builds the networks it needs beside utility and mixer, which are found
    as `TeamNetwork.joint`, trained, copied to the target and checkpointed like the others. `heads`,
    `td_losses` and `mixers` name what it works with; empty: whatever fits together.
    """

    loss: Callable[..., Any]
    joint: Callable[[JointSizes, Any], nn.Module] | None = None
    options: type[Any] = NoOptions  # a NamedTuple with defaults
    mixes_values: bool = False  # mixes one number per agent even if the head gives quantiles
    knows_maximum: bool = True  # tells mixers the agents' greatest utilities, not the chosen ones
    paired_quantiles: bool = False  # needs as many quantiles in predictions as in targets
    heads: tuple[str, ...] = ()
    td_losses: tuple[str, ...] = ()
    mixers: tuple[str, ...] = ()
    one_value: bool = False  # needs a mixer with one value for the team
    by_risk: bool = True  # its targets follow the row's risk measure


OBJECTIVES: Registry[Objective] = Registry("objective")


def make_options(name: str, given: Mapping[str, Any]) -> Any:
    """The options of an objective, those not given at their defaults.

    Raises:
        ValueError: If the objective has no such option, or it takes something else.
    """
    options = OBJECTIVES[name].options()
    hints = get_type_hints(type(options))
    known = options._asdict()
    for key, value in given.items():
        if key not in known:
            raise UnknownNameError(
                f"objective_options: {key!r} is not an option of objective={name!r}; it has "
                f"{', '.join(known) or 'none'}.{suggestion(key, list(known))}"
            )
        wanted = type(known[key])
        number = wanted is float and type(value) is int
        if type(value) is not wanted and not number:
            raise ValueError(
                f"objective_options: {key}={value!r} must be a {wanted.__name__}, "
                f"such as {known[key]!r}"
            )
        choices = get_args(hints[key]) if get_origin(hints[key]) is Literal else (value,)
        if value not in choices:
            allowed = [str(choice) for choice in choices]
            raise UnknownNameError(
                f"objective_options: {key}={value!r} is unknown; choose from {', '.join(allowed)}."
                f"{suggestion(str(value), allowed)}"
            )
    return options._replace(**given)


def build_joint(name: str, sizes: JointSizes, given: Mapping[str, Any]) -> nn.Module:
    """The networks of an objective; an empty module where it needs none."""
    joint = OBJECTIVES[name].joint
    return nn.Sequential() if joint is None else joint(sizes, make_options(name, given))
