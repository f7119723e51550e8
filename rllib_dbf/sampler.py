"""Playing episodes in a batch of sub-environments, each restarted as soon as it ends."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from rllib_dbf.envs.team_env import CRASH, OUTCOMES, TeamStep, VectorTeamEnv
from rllib_dbf.episode import TeamEpisode
from rllib_dbf.exploration import choose, draw_exploration, epsilon_greedy
from rllib_dbf.nets.utility import Memory

_TRIES = 3  # of a seed whose episodes are lost
_SEED_BLOCK = 64  # seeds announced to the environment at a time, so that it may reset in bulk


@runtime_checkable
class Policy(Protocol):
    """What the sampler needs of a team: scores for every action, and its recurrent memory."""

    def initial_memory(self, rows: int) -> Memory:
        """Memory of `rows` = B * N agents before their first step."""
        ...

    def scores(
        self,
        obs: Float[Tensor, "B N O"],
        last_actions: Int[Tensor, "B N"],
        avail: Bool[Tensor, "B N A"],
        memory: Memory,
    ) -> tuple[Float[Tensor, "B N A"], Memory]:
        """Action scores (expected utility or a risk measure) and the next memory."""
        ...

    def allowed_actions(
        self, obs: Float[Tensor, "B N O"], avail: Bool[Tensor, "B N A"]
    ) -> Bool[Tensor, "B N A"] | None:
        """Actions that stand uncorrected, at least one per agent; None for all available ones."""
        ...

    def exploration_probabilities(
        self, avail: Bool[Tensor, "B N A"], memory: Memory
    ) -> Float[Tensor, "B N A"] | None:
        """What exploring agents draw from, given the memory after `scores`; None for uniform."""
        ...


class Sampler:
    """Plays ε-greedily and emits whole episodes with behaviour probabilities.

    Exploration is one independent coin per agent; a random action is uniform over the available
    ones unless the policy says otherwise. Everything random comes from `rng` and from the seeds it
    is given.

    Args:
        env: Batch of B sub-environments.
        policy: Gives action scores.
        epsilon: Maps a step count to ε in [0, 1].
        rng: Draws the exploration.
        seeds: Endless source of episode seeds.
        record_proposed: Store the actions before their correction, not those executed.
        repeat_crashed: Play a seed again whose episode the simulator lost; after three times it
            is among those given up.
    """

    def __init__(
        self,
        env: VectorTeamEnv,
        policy: Policy,
        epsilon: Callable[[float], float],
        rng: np.random.Generator,
        seeds: Iterator[int],
        record_proposed: bool = False,
        repeat_crashed: bool = False,
    ) -> None:
        self._record_proposed, self._repeat_crashed = record_proposed, repeat_crashed
        self.crashed = 0  # episodes that the simulator lost; they are in no list
        self._lost: Counter[int] = Counter()  # how often, by seed
        self._given_up: list[int] = []  # seeds whose episodes were lost again and again
        self.env, self.policy, self.epsilon, self.rng = env, policy, epsilon, rng
        self.timestep = 0.0  # lifetime team steps of all runners, which ε is a function of
        self.timestep_scale = 1.0  # runners that step beside this one, itself included
        self._seeds = seeds
        self._upcoming: deque[int] = deque()
        self._rows = np.arange(env.num_envs)
        self._allocate()
        self._current: TeamStep | None = None
        self._memory = policy.initial_memory(env.num_envs * env.spec.n_agents)
        self.finished: list[TeamEpisode] = []

    @torch.inference_mode()
    def begin(self) -> TeamStep:
        """Start the first episodes, unless they are running already."""
        return self._current or self._restart(np.ones(self.env.num_envs, bool))

    @torch.inference_mode()
    def step(self, before_restart: Callable[[], None] | None = None) -> int:
        """Play one joint action in every sub-environment; finished episodes go to `finished`.

        Args:
            before_restart: Called once the step is played and before ended episodes restart.

        Returns:
            Number of team steps played.
        """
        step = self.begin()
        scores, self._memory = self.policy.scores(
            torch.from_numpy(step.obs),
            torch.from_numpy(self._last),
            torch.from_numpy(step.avail),
            self._memory,
        )
        actions, recorded = self._choose(step, scores.numpy())
        self._record(step, *recorded)
        step = self.env.step(actions)
        self._rewards[self._rows, self._t] = step.reward
        self._t += 1
        self._last[:] = recorded[0]  # what a replayed episode will say
        self.timestep += self.env.num_envs * self.timestep_scale
        ended = step.terminated | step.truncated
        self._current = step
        if before_restart is not None:
            before_restart()
        if ended.any():
            self._finish(step, np.flatnonzero(ended))
            self._restart(ended)
        return self.env.num_envs

    def _choose(
        self, step: TeamStep, scores: Float[ndarray, "B N A"]
    ) -> tuple[Int[ndarray, "B N"], tuple[ndarray, ndarray]]:
        """Actions to play, and actions to record with the probability of each."""
        epsilon, avail = self.epsilon(self.timestep), step.avail
        probabilities = self._exploration_probabilities(avail)
        allowed = self.policy.allowed_actions(torch.from_numpy(step.obs), torch.from_numpy(avail))
        if probabilities is None and allowed is None:
            recorded = choose(scores, avail, epsilon, self.rng)
            return recorded[0], recorded
        scores = np.where(avail, scores, -np.inf)
        exploration = draw_exploration(avail, epsilon, self.rng, probabilities)
        proposed = greedy = scores.argmax(axis=-1)
        if allowed is not None:  # exploration goes uncorrected: what is never tried is never learnt
            greedy = np.where(allowed.numpy(), scores, -np.inf).argmax(axis=-1)
        actions, prob = epsilon_greedy(greedy, avail, exploration, epsilon)
        if self._record_proposed:
            return actions, epsilon_greedy(proposed, avail, exploration, epsilon)
        return actions, (actions, prob)

    def _exploration_probabilities(self, avail: ndarray) -> Float[ndarray, "B N A"] | None:
        found = self.policy.exploration_probabilities(torch.from_numpy(avail), self._memory)
        return None if found is None else found.numpy()

    def take_given_up(self) -> list[int]:
        """Remove and return the seeds that were given up."""
        taken, self._given_up = self._given_up, []
        return taken

    def insert_seed(self, seed: int) -> None:
        """Begin the next episode with this seed."""
        self._upcoming.appendleft(seed)

    def abandon(self) -> None:
        """Drop all running episodes; the next step starts new ones from the seeds that follow."""
        self._current = None

    def take_finished(self, n: int | None = None) -> list[TeamEpisode]:
        """Remove and return the first `n` finished episodes (all if None)."""
        n = len(self.finished) if n is None else n
        taken, self.finished = self.finished[:n], self.finished[n:]
        return taken

    def _allocate(self) -> None:
        spec, envs = self.env.spec, self.env.num_envs
        n, limit = spec.n_agents, spec.episode_limit
        self._t = np.zeros(envs, np.int64)
        self._seed = np.zeros(envs, np.int64)
        self._last = np.full((envs, n), -1, np.int64)
        self._obs = np.zeros((envs, limit + 1, n, spec.obs_dim), np.float32)
        self._states = np.zeros((envs, limit + 1, spec.state_dim), np.float32)
        self._avail = np.zeros((envs, limit + 1, n, spec.n_actions), bool)
        self._alive = np.zeros((envs, limit + 1, n), bool)
        self._deaths = np.zeros((envs, limit + 1), np.int16)
        self._actions = np.zeros((envs, limit, n), np.int16)
        self._prob = np.zeros((envs, limit, n), np.float32)
        self._rewards = np.zeros((envs, limit), np.float32)

    def _record(self, step: TeamStep, actions: ndarray, prob: ndarray) -> None:
        at = (self._rows, self._t)
        self._record_state(step, at, slice(None))
        self._actions[at] = actions
        self._prob[at] = prob

    def _record_state(self, step: TeamStep, at: tuple[ndarray, ndarray], rows: Any) -> None:
        self._obs[at] = step.obs[rows]
        self._states[at] = step.state[rows]
        self._avail[at] = step.avail[rows]
        self._alive[at] = step.alive[rows]
        self._deaths[at] = step.new_deaths[rows]

    def _finish(self, step: TeamStep, ended: ndarray) -> None:
        self._record_state(step, (ended, self._t[ended]), ended)
        for b in ended.tolist():
            if step.outcome[b] == OUTCOMES[CRASH]:
                self._lose(int(self._seed[b]))
                continue
            length = int(self._t[b])
            states, steps = slice(0, length + 1), slice(0, length)
            self.finished.append(
                TeamEpisode(
                    obs=self._obs[b, states].copy(),
                    state=self._states[b, states].copy(),
                    avail=self._avail[b, states].copy(),
                    alive=self._alive[b, states].copy(),
                    deaths=self._deaths[b, states].copy(),
                    actions=self._actions[b, steps].copy(),
                    behaviour_prob=self._prob[b, steps].copy(),
                    reward=self._rewards[b, steps].copy(),
                    terminated=bool(step.terminated[b]),
                    truncated=bool(step.truncated[b]),
                    outcome=step.outcome[b],
                    seed=int(self._seed[b]),
                    illegal_actions=self._count_illegal(b, steps),
                )
            )

    def _lose(self, seed: int) -> None:
        self.crashed += 1
        if not self._repeat_crashed:
            return
        self._lost[seed] += 1
        if self._lost[seed] < _TRIES:
            self._upcoming.appendleft(seed)
        else:
            self._given_up.append(seed)

    def _count_illegal(self, b: int, steps: slice) -> int:
        chosen = self._actions[b, steps].ravel()
        avail = self._avail[b, steps].reshape(len(chosen), -1)
        return len(chosen) - int(np.count_nonzero(avail[np.arange(len(chosen)), chosen]))

    def _restart(self, mask: Bool[ndarray, " B"]) -> TeamStep:
        """Begin new episodes where `mask` is True."""
        n = int(mask.sum())
        while len(self._upcoming) < n:
            block = [next(self._seeds) for _ in range(_SEED_BLOCK)]
            self.env.prepare(np.array(block))
            self._upcoming.extend(block)
        self._seed[mask] = [self._upcoming.popleft() for _ in range(n)]
        self._current = self.env.reset(mask, self._seed)
        self._t[mask] = 0
        self._last[mask] = -1
        for part in self._memory:  # by NumPy, which takes a third of the time
            part.view(self.env.num_envs, -1).numpy()[mask] = 0.0
        return self._current

    def get_state(self) -> dict[str, Any] | None:
        """Everything needed to continue all running episodes exactly; None if the env cannot."""
        env_state = self.env.get_state()
        if env_state is None or self._current is None:
            return None
        return {
            "env": env_state,
            "current": self._current._asdict(),
            "memory": [part.numpy().copy() for part in self._memory],
            "upcoming": list(self._upcoming),
            "timestep": self.timestep,
            "arrays": {name: getattr(self, name).copy() for name in _ARRAYS},
            "finished": self.finished,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self.env.set_state(state["env"])
        self._current = TeamStep(**state["current"])
        self._memory = Memory(*(torch.from_numpy(part.copy()) for part in state["memory"]))
        self._upcoming = deque(state["upcoming"])
        self.timestep = state["timestep"]
        self.finished = list(state["finished"])
        for name in _ARRAYS:
            getattr(self, name)[...] = state["arrays"][name]


_ARRAYS = (
    "_t", "_seed", "_last", "_obs", "_states", "_avail",
    "_alive", "_deaths", "_actions", "_prob", "_rewards",
)  # fmt: skip
