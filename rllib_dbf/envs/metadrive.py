"""MetaDrive's multi-agent traffic as teams: `metadrive/roundabout` and its siblings."""

from __future__ import annotations

import importlib
import logging
import os
import random
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from rllib_dbf.envs.agents_task import AgentsTask, Ending
from rllib_dbf.envs.catalogue import EnvEntry, Option
from rllib_dbf.envs.dicts_with_all import DictsWithAll
from rllib_dbf.envs.stacked import STACK_OPTIONS, StackedTeamEnv, stacking_of
from rllib_dbf.envs.team_env import ENVS, VectorTeamEnv

CLASSES = {
    "roundabout": "MultiAgentRoundaboutEnv",
    "intersection": "MultiAgentIntersectionEnv",
    "tollgate": "MultiAgentTollgateEnv",
    "bottleneck": "MultiAgentBottleneckEnv",
    "parking_lot": "MultiAgentParkingLotEnv",
    "pgma": "MultiAgentMetaDrive",
}
_SCENARIOS = 1_000_000  # seeds are taken modulo this

OPTIONS = {
    "num_agents": Option(10, "cars"),
    "horizon": Option(1000, "steps until an episode is cut"),
    "ends_when": Option(
        "all_done",
        "an episode ends when nobody drives any more, when more than half have crashed (DBF's "
        "training), or at the first crash (DBF's evaluation)",
        ("all_done", "half_dead", "any_death"),
    ),
    "delay_done": Option(25, "steps that a crashed car stays on the road as an obstacle"),
    "team_reward": Option("sum", "how the cars' rewards become the team's", ("sum", "mean")),
    "reward_scale": Option(1.0, "factor on the reward"),
    "settings": Option({}, "further settings of MetaDrive's own, as a mapping"),
    "step_timeout": STACK_OPTIONS["step_timeout"],
}
SUGGESTED = {
    "num_envs_per_env_runner": 2,
    "min_sample_timesteps_per_iteration": 2_000,
    "metrics_num_episodes_for_smoothing": 20,
    "evaluation_interval": 5,
    "evaluation_duration": 10,
    "replay_capacity": 200,
    "batch_episodes": 8,
    "learning_starts": 8,
    "episodes_per_update": 1,
    "updates_per_collection": 6,
    "target_update_interval": 4,
    "epsilon": [(0, 1.0), (10_000, 0.05)],
}


class Driving:
    """Crashes and leaving the road are deaths, arriving is not; a win is when all arrived.

    Args:
        ends_when: See `OPTIONS`.
    """

    reports_deaths, has_win = True, True

    def __init__(self, ends_when: str) -> None:
        self._ends_when = ends_when

    def died(self, agent: Any, info: Any, game_over: bool, env: Any) -> bool:
        """Everyone who terminated without having arrived."""
        return not info.get("arrive_dest", False)

    def outcome(self, ending: Ending) -> str:
        """ "win", "loss", or "" to go on."""
        n = len(ending.alive)
        early = {"half_dead": ending.deaths > n / 2, "any_death": ending.deaths > 0}
        if ending.arrivals == n:
            return "win"
        return "loss" if ending.over or early.get(self._ends_when, False) else ""


def metadrive_task(name: str, settings: dict[str, Any]) -> AgentsTask:
    """One MetaDrive environment as a team; there can be one per process.

    Args:
        name: A key of `CLASSES`.
        settings: Settings of `OPTIONS`.

    Raises:
        ImportError: If MetaDrive is not installed.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    own = {key: settings.get(key, option.default) for key, option in OPTIONS.items()}
    config = {
        "num_agents": own["num_agents"],
        "discrete_action": True,
        "use_multi_discrete": False,
        "allow_respawn": False,
        "truncate_as_terminate": False,
        "horizon": own["horizon"],
        "delay_done": own["delay_done"],
        "num_scenarios": _SCENARIOS,
        "force_seed_spawn_manager": True,
        "log_level": logging.ERROR,
    } | own["settings"]
    traffic = _Seeded(_load(name, offline=not config.get("use_render"))(config))
    traffic.reset(seed=0)
    agents = sorted(traffic.env.observation_space.spaces, key=_number)
    spaces = {a: (traffic.env.observation_space[a], traffic.env.action_space[a]) for a in agents}
    return AgentsTask(
        DictsWithAll(traffic, agents, spaces),
        Driving(own["ends_when"]),
        own["horizon"],
        team_reward=own["team_reward"],
        use_state=False,
        reward_scale=own["reward_scale"],
        draw=_picture,
    )


def _number(agent: str) -> int:
    """ "agent7" → 7."""
    return int("".join(filter(str.isdigit, agent)) or 0)


class _Seeded:
    """A MetaDrive environment that takes any seed, and gives it to every generator there is."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def reset(self, seed: int) -> tuple[dict, dict]:
        """Start the scenario that the seed stands for."""
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (the parking lot draws from the global generator)
        return self.env.reset(seed=seed % _SCENARIOS)

    def step(self, actions: dict) -> Any:
        """As MetaDrive's."""
        return self.env.step(actions)

    def close(self) -> None:
        """Close the engine."""
        self.env.close()


def _load(name: str, offline: bool) -> type:
    """The class; offline, it runs without the assets that only its three-dimensional view needs."""
    try:
        module = importlib.import_module("metadrive.envs.marl_envs")
        engine = importlib.import_module("metadrive.engine.base_engine").BaseEngine
    except ImportError as error:
        raise ImportError(
            f'MetaDrive is missing ({error}): pip install "rllib-dbf[metadrive]"', name=error.name
        ) from error
    if offline:  # it would download a gigabyte where that is missing or old
        engine.try_pull_asset = staticmethod(lambda: None)
    return getattr(module, CLASSES[name])


def _picture(traffic: Any) -> ndarray:
    """The whole map from above."""
    env = traffic.env.env
    box = env.engine.current_map.road_network.get_bounding_box()
    x_low, x_high, y_low, y_high = box
    size = 800
    scaling = size / (1.05 * max(x_high - x_low, y_high - y_low))
    far = max(abs(x_low), abs(x_high), abs(y_low), abs(y_high))
    film = int(2 * scaling * far) + size
    return np.asarray(
        env.render(
            mode="top_down",
            window=False,
            scaling=scaling,
            film_size=(film, film),
            screen_size=(size, size),
            camera_position=((x_low + x_high) / 2, (y_low + y_high) / 2),
        ),
        np.uint8,
    )


def _stack(name: str, num_envs: int, **given: Any) -> VectorTeamEnv:
    stacking = stacking_of(given | {"vectorisation": "processes"})
    return StackedTeamEnv(partial(metadrive_task, name, given), num_envs, **stacking)


for _name in CLASSES:
    ENVS.register(f"metadrive/{_name}")(
        EnvEntry(partial(_stack, _name), OPTIONS, suggested=SUGGESTED)
    )
