"""A team out of an environment that speaks in dictionaries by agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from rllib_dbf.envs.agent_spaces import AgentSpaces
from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.envs.team_task import TaskStep

Dicts = tuple[dict, dict, dict, dict, dict]


@runtime_checkable
class AgentsEnv(Protocol):
    """What is needed of an environment; PettingZoo's ParallelEnv has it."""

    possible_agents: list[Any]
    agents: list[Any]

    def observation_space(self, agent: Any) -> Any:
        """Observation space of an agent."""
        ...

    def action_space(self, agent: Any) -> Any:
        """Action space of an agent."""
        ...

    def reset(self, seed: int | None = None) -> tuple[dict, dict]:
        """Observations and infos."""
        ...

    def step(self, actions: dict) -> Dicts:
        """Observations, rewards, terminated, truncated, infos, by agent."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


class Ending(NamedTuple):
    """How a step left the team; what `Rules.outcome` judges."""

    env: Any
    infos: Mapping[Any, Mapping[str, Any]]
    alive: ndarray  # bool [N], after the step
    deaths: int  # so far in the episode
    arrivals: int  # terminations so far that were no deaths
    over: bool  # the environment ended, or nobody of the team is left in it


@runtime_checkable
class Rules(Protocol):
    """What the dictionaries do not say: which terminations are deaths, and what the end is."""

    reports_deaths: bool
    has_win: bool

    def died(self, agent: Any, info: Mapping[str, Any], game_over: bool, env: Any) -> bool:
        """Whether the agent, which terminated, failed (rather than arrived, or saw the end)."""
        ...

    def outcome(self, ending: Ending) -> str:
        """ "" to go on, or the outcome; asked after every step that no time limit cuts."""
        ...


class AgentsTask:
    """Fixed slots for agents that come in dictionaries.

    Slots follow `possible_agents`. An agent whose termination is no death and who leaves while
    others go on is shown like the dead, and not counted. At a time limit everybody is alive.

    Args:
        env: The environment.
        rules: Tells deaths and outcomes.
        episode_limit: Steps after which an episode is cut, if the environment has not done so.
        agents: The team, in slots' order; None: all possible agents.
        others: Plays the agents that are not in the team: others(agent, observation, env, rng).
        team_reward: "sum" or "mean" of the team's rewards.
        use_state: Ask the environment for `state()`; False: the agents' observations.
        reward_scale: Factor on the reward.
        draw: Makes a picture of the environment.
        remake: Makes the environment anew for each episode, where a reset leaves traces.

    Raises:
        ValueError: If an agent of the team does not exist or its actions are not discrete.
    """

    def __init__(
        self,
        env: Any,
        rules: Rules,
        episode_limit: int,
        agents: list[Any] | None = None,
        others: Callable[..., Any] | None = None,
        team_reward: str = "sum",
        use_state: bool = True,
        reward_scale: float = 1.0,
        draw: Callable[[Any], ndarray | None] = lambda env: None,
        remake: Callable[[], Any] | None = None,
    ) -> None:
        self._remake = remake
        self._env, self._rules, self._others, self._draw = env, rules, others, draw
        self._team = self._members(list(env.possible_agents), agents)
        self._slot = {agent: slot for slot, agent in enumerate(self._team)}
        self._spaces = AgentSpaces(
            self._team,
            {a: env.observation_space(a) for a in self._team},
            {a: env.action_space(a) for a in self._team},
        )
        n = len(self._team)
        self._scale = reward_scale / (n if team_reward == "mean" else 1)
        self._state = self._read_state if use_state and self._has_state() else None
        own = self._spaces.obs_dim
        self.spec = TeamSpec(
            n_agents=n,
            n_actions=self._spaces.n_actions,
            obs_dim=own,
            state_dim=len(self._state()) if self._state else n * own,
            episode_limit=episode_limit,
            noop_action=0,
            reports_deaths=rules.reports_deaths,
            has_win=rules.has_win,
            unit_dim=0 if self._state else own,
        )

    def _members(self, possible: list[Any], wanted: list[Any] | None) -> list[Any]:
        unknown = [agent for agent in wanted or [] if agent not in possible]
        if unknown or not possible:
            raise ValueError(f"agents {unknown} do not exist; choose from {possible}")
        if len(set(wanted or [])) < len(wanted or []):
            raise ValueError(f"agents={wanted} names an agent twice; a team has each once")
        return possible if not wanted else [agent for agent in possible if agent in wanted]

    def _has_state(self) -> bool:
        """Whether `state()` gives numbers; only an environment that was reset can tell."""
        self._env.reset(seed=0)
        if not hasattr(self._env, "state"):
            return False
        try:
            return self._env.state() is not None
        except NotImplementedError:  # PettingZoo's way to say that there is none
            return False

    def _read_state(self) -> ndarray:
        return np.asarray(self._env.state(), np.float32).ravel()

    def reset(self, seed: int) -> TaskStep:
        """Start an episode."""
        self._rng = np.random.default_rng(seed)
        if self._remake is not None:
            self._env.close()
            self._env = self._remake()
        self._obs, infos = self._env.reset(seed=seed)
        self._time, self._deaths, self._arrivals = 0, 0, 0
        self._alive = np.array([agent in self._obs for agent in self._team])
        if not self._alive.all():
            missing = [a for a in self._team if a not in self._obs]
            raise ValueError(_TURNS.format(missing))
        return self._show(infos, 0.0, 0, "")

    def step(self, actions: Int[ndarray, " N"]) -> TaskStep:
        """Play a joint action.

        Raises:
            ValueError: If an agent is away without having ended, comes back after it ended, may do
                nothing while it lives, or gets something else than a number.
        """
        chosen = {
            agent: self._spaces.action(slot, int(actions[slot]))
            for agent, slot in self._slot.items()
            if self._alive[slot]
        }
        chosen |= self._choose_for_others()
        self._obs, rewards, terminated, truncated, infos = self._env.step(chosen)
        self._time += 1
        reward = sum(_number(agent, rewards.get(agent, 0.0)) for agent in self._team)
        goes_on = bool(self._env.agents)
        gone = [a for a in self._living() if terminated.get(a) or truncated.get(a)]
        remaining = [a for a in self._living() if a not in gone]
        last_step = not goes_on or not remaining
        ended = [agent for agent in gone if terminated.get(agent)]
        dead = [a for a in ended if self._rules.died(a, infos.get(a, {}), not goes_on, self._env)]
        self._check_presence(remaining if not last_step else [])
        for agent in dead if last_step else gone:
            self._alive[self._slot[agent]] = False
        self._deaths += len(dead)
        self._arrivals += len(ended) - len(dead)
        cut = last_step and (len(ended) < len(gone) or not gone)
        outcome = "timeout" if cut else self._outcome(infos, last_step)
        return self._show(infos, reward, len(dead), outcome)

    def _living(self) -> list[Any]:
        return [agent for agent, slot in self._slot.items() if self._alive[slot]]

    def _check_presence(self, remaining: list[Any]) -> None:
        away = [agent for agent in remaining if agent not in self._obs]
        if away:
            raise ValueError(_TURNS.format(away))
        back = [a for a, slot in self._slot.items() if a in self._env.agents]
        back = [a for a in back if a not in remaining] if remaining else []
        if back:
            raise ValueError(
                f"agents {back} came back after they had ended; teams here do not respawn"
            )

    def _outcome(self, infos: dict, over: bool) -> str:
        alive = self._alive.copy()
        ending = Ending(self._env, infos, alive, self._deaths, self._arrivals, over)
        late = "timeout" if self._time >= self.spec.episode_limit else ""
        return self._rules.outcome(ending) or late

    def _choose_for_others(self) -> dict:
        others = [agent for agent in self._env.agents if agent not in self._slot]
        if not others:
            return {}
        assert self._others is not None
        return {a: self._others(a, self._obs.get(a), self._env, self._rng) for a in others}

    def _show(self, infos: dict, reward: float, deaths: int, outcome: str) -> TaskStep:
        obs = np.zeros((self.spec.n_agents, self.spec.obs_dim), np.float32)
        avail = np.zeros((self.spec.n_agents, self.spec.n_actions), np.bool_)
        for agent, slot in self._slot.items():
            if self._alive[slot] and agent in self._obs:
                shown = self._obs[agent]
                self._spaces.observe(slot, shown, obs[slot])
                avail[slot] = self._spaces.legal(slot, shown, infos.get(agent) or {})
        helpless = self._alive & ~avail.any(axis=1)
        if helpless.any() and not outcome:
            names = [agent for agent, slot in self._slot.items() if helpless[slot]]
            raise ValueError(
                f"the action masks of agents {names} allow nothing although the episode goes on; "
                "allow them an action that waits"
            )
        avail[~avail.any(axis=1), 0] = True  # of the dead, and at the end of all
        state = self._state() if self._state else None
        scaled = reward * self._scale
        return TaskStep(obs, state, avail, self._alive.copy(), scaled, deaths, outcome)

    def draw(self) -> ndarray | None:
        """A picture, if the environment can draw itself."""
        return self._draw(self._env)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def _number(agent: Any, reward: Any) -> float:
    try:
        return float(np.asarray(reward).item())
    except (TypeError, ValueError) as error:
        raise ValueError(f"the reward of agent {agent!r} is {reward!r}, and no number") from error


_TURNS = (
    "agents {} got no observation although they have not ended; environments where agents take "
    "turns cannot be played by a team that acts at once"
)
