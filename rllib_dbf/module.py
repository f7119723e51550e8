"""The team as one RLModule: utilities, mixer, target copies, and acting."""

from __future__ import annotations

from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.annotations import override
from torch import Tensor

from rllib_dbf.blocks import fetched
from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.functional import policy
from rllib_dbf.functional.risk import RISKS
from rllib_dbf.nets.acting import Actor
from rllib_dbf.nets.barrier_critics import BARRIER_CRITICS
from rllib_dbf.nets.corrections import ACTION_CORRECTIONS
from rllib_dbf.nets.joint import JointSizes
from rllib_dbf.nets.team_network import NetworkShape, TeamNetwork, build_mixer, build_utility
from rllib_dbf.nets.utility import Memory
from rllib_dbf.objectives import build_joint


def team_spaces(spec: TeamSpec) -> tuple[gym.spaces.Dict, gym.spaces.MultiDiscrete]:
    """Observation and action space of the team, from which a module reads its sizes.

    "units" is the leading part of "state", feature by feature of each agent; nobody sends it.
    """
    inf = np.inf
    observation = gym.spaces.Dict(
        {
            "obs": gym.spaces.Box(-inf, inf, (spec.n_agents, spec.obs_dim), np.float32),
            "state": gym.spaces.Box(-inf, inf, (spec.state_dim,), np.float32),
            "avail": gym.spaces.MultiBinary((spec.n_agents, spec.n_actions)),
            "units": gym.spaces.Box(-inf, inf, (spec.n_agents, spec.unit_dim), np.float32),
        }
    )
    return observation, gym.spaces.MultiDiscrete([spec.n_actions] * spec.n_agents)


def network_shape(observation: gym.spaces.Dict) -> NetworkShape:
    """The sizes in a space made by `team_spaces`."""
    sizes = {name: cast(gym.spaces.Box, space).shape for name, space in observation.items()}
    n_agents, obs_dim = sizes["obs"]
    return NetworkShape(
        n_agents, sizes["avail"][-1], obs_dim, sizes["state"][0], sizes.get("units", (0,))[-1]
    )


class TeamRLModule(TorchRLModule, InferenceOnlyAPI):
    """All agents of a team in one module.

    `model_config` holds the row's parts: `head`, `mixer`, `objective`, `input_layer`, `risk`,
    `risk_level` and the layer sizes (see `DBFConfig.training`). Runners get the utility alone.
    """

    def setup(self) -> None:
        """Build the networks from the spaces and `model_config`."""
        # RLlib's seeding switches deterministic algorithms on, with which PyTorch writes NaN into
        # all new memory, to help debugging. It costs a tenth of an update.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore
        config = self.model_config
        shape = network_shape(self.observation_space)
        self.n_agents, self.risk = shape.n_agents, config["risk"]
        self.risk_level = config["risk_level"]
        self.utility = build_utility(
            shape,
            hidden_dim=config["hidden_dim"],
            head=config["head"],
            input_layer=config["input_layer"],
            hypernet_dim=config["input_hypernet_dim"],
            n_quantiles=config["n_quantiles"],
            agent_risk=config["agent_risk"],
        )
        self.actor = Actor(self.utility)
        self.mixer = build_mixer(
            shape,
            config["mixer"],
            config["hidden_dim"],
            embed_dim=config["mixing_embed_dim"],
            hypernet_dim=config["mixing_hypernet_dim"],
            n_kernels=config["mixing_kernels"],
            kernel_layers=config["mixing_kernel_layers"],
            weighted_heads=config["mixing_weighted_heads"],
        )
        joint_sizes = JointSizes(
            *shape[:4],
            unit_dim=shape.unit_dim,
            hidden_dim=config["hidden_dim"],
            embed_dim=config["mixing_embed_dim"],
            hypernet_dim=config["mixing_hypernet_dim"],
            n_quantiles=config["n_quantiles"],
        )
        self.joint = build_joint(config["objective"], joint_sizes, config["objective_options"])
        critic = config.get("barrier_critic")
        self.exploration_temperature = config.get("exploration_temperature")
        self.tie_break_margin = config.get("tie_break_margin")
        if critic is not None and (self.acts_on_danger or not self.inference_only):
            self.barrier_critic = BARRIER_CRITICS[critic](shape, config["hidden_dim"])
        self.correction: Any = None
        if config.get("action_correction", "off") != "off":
            self.correction = ACTION_CORRECTIONS[config["action_correction"]](
                shape,
                config["hidden_dim"],
                config["correction_alpha"],
                config["correction_horizon"],
            )
        if not self.inference_only:
            target = self.online.detached_copy()
            self.target_utility, self.target_mixer, self.target_joint = target

    @property
    def acts_on_danger(self) -> bool:
        """Whether actions depend on the deaths that the barrier critic foresees."""
        return self.exploration_temperature is not None or self.tie_break_margin is not None

    @override(TorchRLModule)
    def get_state(self, *args: Any, inference_only: bool = False, **kwargs: Any) -> dict[str, Any]:
        """As RLlib's, with one copy from a GPU instead of one for each parameter."""
        state = self.state_dict()
        if inference_only and not self.inference_only:
            absent = tuple(f"{name}." for name in self.get_non_inference_attributes())
            state = {name: x for name, x in state.items() if not name.startswith(absent)}
        return fetched(state)

    def get_non_inference_attributes(self) -> list[str]:
        """Acting needs neither mixer nor joint networks nor targets; seldom a barrier critic."""
        targets = ["target_utility", "target_mixer", "target_joint"]
        return ["mixer", "joint", *targets, *([] if self.acts_on_danger else ["barrier_critic"])]

    @property
    def acting_parts(self) -> list[Any]:
        """The networks that decide on actions."""
        parts = [self.utility, self.correction]
        return [p for p in [*parts, self.acts_on_danger and self.barrier_critic] if p]

    @property
    def online(self) -> TeamNetwork:
        """The networks being trained."""
        return TeamNetwork(self.utility, self.mixer, self.joint)

    @property
    def target(self) -> TeamNetwork:
        """The networks that make targets."""
        return TeamNetwork(self.target_utility, self.target_mixer, self.target_joint)

    @torch.no_grad()
    def copy_weights_from(self, other: TeamRLModule) -> None:
        """Take over the weights that acting needs (a fast `set_state` within one process)."""
        mine, theirs = (
            [p for part in m.acting_parts for p in part.parameters()] for m in (self, other)
        )
        if theirs[0].device != mine[0].device:  # a GPU is waited for once, not for each of them
            found = fetched({str(i): p for i, p in enumerate(theirs)})
            theirs = [torch.from_numpy(found[str(i)]) for i in range(len(theirs))]
        torch._foreach_copy_(mine, theirs)

    def initial_memory(self, rows: int) -> Memory:
        """Memory of `rows` = B * N agents before their first step."""
        return self.utility.initial_memory(rows)

    def scores(
        self,
        obs: Float[Tensor, "B N O"],
        last_actions: Int[Tensor, "B N"],
        avail: Bool[Tensor, "B N A"],
        memory: Memory,
    ) -> tuple[Float[Tensor, "B N A"], Memory]:
        """What each action is worth under the row's risk measure, and the next memory.

        With a margin for ties, the least dangerous of the actions within it is worth most.
        """
        seen = obs, last_actions, avail, memory
        if self.risk == "mean":
            hidden, memory, scores = self.actor.step_and_mean(*seen)
        else:
            hidden, memory = self.actor.step(*seen)
            z = self.utility.head.all(hidden, self.utility.memory_tau)
            scores = RISKS[self.risk](z, self.risk_level)
        if self.tie_break_margin is None:
            return scores, memory
        danger = self.barrier_critic.danger(hidden)
        return policy.safest_first(scores, danger, avail, self.tie_break_margin), memory

    def exploration_probabilities(
        self, avail: Bool[Tensor, "B N A"], memory: Memory
    ) -> Float[Tensor, "B N A"] | None:
        """What exploring agents draw from, given the memory after `scores`; None for uniform."""
        if self.exploration_temperature is None:
            return None
        danger = self.barrier_critic.danger(memory.hidden).view(avail.shape)
        return policy.joint_policy(-danger, avail, self.exploration_temperature)

    def allowed_actions(
        self, obs: Float[Tensor, "B N O"], avail: Bool[Tensor, "B N A"]
    ) -> Bool[Tensor, "B N A"] | None:
        """Actions that stand uncorrected, at least one per agent; None for all available ones."""
        return None if self.correction is None else self.correction.allowed(obs, avail)

    def get_initial_state(self) -> dict[str, Tensor]:
        """Recurrent state of one team (no batch axis)."""
        return dict(zip(Memory._fields, self.initial_memory(self.n_agents), strict=True))

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Greedy joint actions, for use outside of the team runner.

        Expects `obs` with "obs" [B, N, O] and "avail" [B, N, A], optionally "last_actions" [B, N],
        and `state_in` as `get_initial_state` with a leading batch axis.
        """
        obs = batch[Columns.OBS]
        rows = len(obs["obs"])
        last = obs.get("last_actions", torch.full((rows, self.n_agents), -1))
        memory = Memory(*(batch[Columns.STATE_IN][name].flatten(0, 1) for name in Memory._fields))
        scores, memory = self.scores(obs["obs"], last, obs["avail"].bool(), memory)
        allowed = self.allowed_actions(obs["obs"], obs["avail"].bool())
        allowed = obs["avail"].bool() if allowed is None else allowed
        actions = scores.masked_fill(~allowed, -torch.inf).argmax(dim=-1)
        state = {
            name: part.view(rows, self.n_agents, part.shape[-1])
            for name, part in zip(Memory._fields, memory, strict=True)
        }
        return {Columns.ACTIONS: actions, Columns.STATE_OUT: state}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Not used: the learner calls the loss terms on `online` and `target` directly."""
        return self._forward(batch, **kwargs)
