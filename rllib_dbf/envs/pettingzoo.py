"""PettingZoo's parallel environments as teams: `pettingzoo/kaz`, `pettingzoo/module:function`."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from rllib_dbf.envs.agents_rules import DEATHS, TerminationRules
from rllib_dbf.envs.agents_task import AgentsTask
from rllib_dbf.envs.catalogue import EnvEntry, Option
from rllib_dbf.envs.stacked import STACK_OPTIONS, StackedTeamEnv, stacking_of
from rllib_dbf.envs.team_env import DOORS, ENVS, VectorTeamEnv
from rllib_dbf.named_object import is_path, load_object
from rllib_dbf.registry import suggestion

TEAM_OPTIONS = {
    "agents": Option((), "the team, by name; empty: all agents"),
    "others": Option("random", 'who plays the rest: "random", or module:function'),
    "deaths": Option("game_goes_on", f"{', '.join(DEATHS)}, or module:function"),
    "team_reward": Option("sum", "how the agents' rewards become the team's", ("sum", "mean")),
    "state": Option("auto", "the environment's own if it has one, or all observations",
                    ("auto", "observations")),
    "episode_limit": Option(0, "steps until an episode is cut; 0: the environment's own limit"),
    "reward_scale": Option(1.0, "factor on the reward"),
    "remake": Option(False, "make it anew for each episode, where a reset leaves traces"),
}  # fmt: skip
OPTIONS = TEAM_OPTIONS | STACK_OPTIONS


class Known(NamedTuple):
    """A PettingZoo environment that is known by a short name, and options that fit it."""

    path: str
    options: dict[str, Any]


KNOWN = {
    "kaz": Known(
        "pettingzoo.butterfly.knights_archers_zombies_v11:parallel_env",
        {"deaths": "rllib_dbf.envs.pettingzoo:killed_by_zombies", "remake": True},
    ),
    "simple_spread": Known("mpe2.simple_spread_v3:parallel_env", {"deaths": "none"}),
    "simple_reference": Known("mpe2.simple_reference_v3:parallel_env", {"deaths": "none"}),
    "simple_speaker_listener": Known(
        "mpe2.simple_speaker_listener_v4:parallel_env", {"deaths": "none"}
    ),
    "simple_tag": Known(
        "mpe2.simple_tag_v3:parallel_env",
        {"deaths": "none", "agents": ("adversary_0", "adversary_1", "adversary_2")},
    ),
}


def killed_by_zombies(agent: str, info: Any, game_over: bool, env: Any) -> bool:
    """Whether a knight or archer was killed, rather than seeing a zombie cross the line."""
    return agent in env.unwrapped.dead_agents


def random_other(agent: Any, observation: Any, env: Any, rng: np.random.Generator) -> Any:
    """A random action, legal where the observation has a mask."""
    space = env.action_space(agent)
    mask = observation.get("action_mask") if isinstance(observation, dict) else None
    legal = np.arange(space.n) if mask is None else np.flatnonzero(mask)
    return int(rng.choice(legal)) + int(space.start)


def parallel_task(make: str | Callable[..., Any], settings: dict[str, Any]) -> AgentsTask:
    """One PettingZoo environment as a team.

    Args:
        make: Makes the environment: called with the settings that are not of `OPTIONS`.
        settings: Those of `OPTIONS`, and the environment's own.

    Raises:
        ValueError: If the environment takes turns, has no time limit, or does not know a setting.
        ImportError: If a package is missing; names the extra to install.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    rest = {k: v for k, v in settings.items() if k not in OPTIONS}
    maker = _load(make) if isinstance(make, str) else make
    path = make if isinstance(make, str) else f"{maker.__module__}:{maker.__qualname__}"
    make_one = partial(_made, path, maker, {"render_mode": "rgb_array"} | rest, rest)
    env = make_one()
    limit = getattr(getattr(env, "unwrapped", env), "max_cycles", None)
    return team_of(env, settings, limit, _picture, make_one)


def team_of(
    env: Any,
    settings: dict[str, Any],
    limit: int | None,
    draw: Callable[[Any], ndarray | None],
    make_one: Callable[[], Any],
) -> AgentsTask:
    """A team of an environment in dictionaries, with the settings of `TEAM_OPTIONS`.

    Raises:
        ValueError: If the time limit is neither known nor given, or a setting is wrong.
    """
    own = {k: settings.get(k, option.default) for k, option in TEAM_OPTIONS.items()}
    limit = own["episode_limit"] or limit
    if not limit:
        name = type(getattr(env, "unwrapped", env)).__qualname__
        raise ValueError(
            f"{name} does not say how long its episodes last; set the option episode_limit"
        )
    return AgentsTask(
        env,
        TerminationRules(own["deaths"]),
        limit,
        list(own["agents"]),
        random_other if own["others"] == "random" else load_object(own["others"]),
        own["team_reward"],
        own["state"] == "auto",
        own["reward_scale"],
        draw,
        make_one if own["remake"] else None,
    )


def _load(path: str) -> Any:
    try:
        return load_object(path)
    except ValueError as error:
        missing = getattr(error.__cause__, "name", None)
        if missing in ("pettingzoo", "mpe2", "pygame"):
            extra = "mpe" if "mpe2" in path else "kaz" if missing == "pygame" else "pettingzoo"
            raise ImportError(
                f'{path} needs {missing}: pip install "rllib-dbf[{extra}]"', name=missing
            ) from error
        raise


def _made(path: str, maker: Callable[..., Any], *attempts: dict[str, Any]) -> Any:
    """The environment, with pictures if it knows how."""
    for keywords in attempts:
        try:
            env = maker(**keywords)
        except TypeError as error:  # an unknown keyword; the last attempt has only the user's
            refused = error
            continue
        if not hasattr(env, "possible_agents") or hasattr(env, "agent_iter"):
            raise ValueError(
                f"{path} makes {type(env).__name__}, which is no ParallelEnv; agents that take "
                "turns cannot be played by a team that acts at once"
            )
        return env
    raise ValueError(_not_taken(path, maker, attempts[-1]) or f"{path}: {refused}")


def _not_taken(path: str, maker: Callable[..., Any], given: dict[str, Any]) -> str | None:
    """Which keywords the maker does not take, and which it does; None if it does not tell."""
    # PettingZoo's makers take anything and hand it to the class beside them.
    beside = getattr(sys.modules.get(path.partition(":")[0]), "raw_env", maker)
    parameters = inspect.signature(beside).parameters.values()
    takes = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [name for name in given if name not in takes]
    if not unknown or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    hints = "".join(suggestion(name, takes) for name in unknown)
    known = ", ".join(name for name in takes if name != "render_mode") or "nothing"
    return f"{path} does not take {', '.join(map(repr, unknown))}; it takes {known}.{hints}"


def _picture(env: Any) -> ndarray | None:
    if getattr(env, "render_mode", None) != "rgb_array":
        return None
    return np.asarray(env.render(), np.uint8)


def _stack(
    make: str | Callable[..., Any], defaults: dict[str, Any], num_envs: int, **given: Any
) -> VectorTeamEnv:
    settings = defaults | given
    task = partial(parallel_task, make, settings)
    return StackedTeamEnv(task, num_envs, **stacking_of(settings))


def entry_for(make: str | Callable[..., Any], **defaults: Any) -> EnvEntry:
    """A row of the table of environments; what is no option goes to the environment's maker."""
    options = {k: o._replace(default=defaults.get(k, o.default)) for k, o in OPTIONS.items()}
    return EnvEntry(partial(_stack, make, defaults), options, takes_any_option=True)


@DOORS.register("pettingzoo")
def by_path(path: str) -> EnvEntry | None:
    """`pettingzoo/module:function`."""
    return entry_for(path) if is_path(path) else None


for _name, _known in KNOWN.items():
    ENVS.register(f"pettingzoo/{_name}")(entry_for(_known.path, **_known.options))
