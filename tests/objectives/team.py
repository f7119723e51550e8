"""A row of the preset table as networks and a loss, trained on a fixed batch without Ray."""

from __future__ import annotations

import torch

from rllib_dbf import loss_terms
from rllib_dbf.config import DBFConfig
from rllib_dbf.envs.team_env import TeamSpec
from rllib_dbf.module import TeamRLModule, team_spaces
from rllib_dbf.objectives import OBJECTIVES, td_settings
from rllib_dbf.team import TeamBatch


class Team:
    """The networks of a preset, and its loss."""

    def __init__(self, preset: str, spec: TeamSpec, seed: int = 0, **training) -> None:
        torch.manual_seed(seed)
        self.config = config = DBFConfig(preset=preset).training(**training)
        config.validate()
        observation, action = team_spaces(spec)
        self.module = TeamRLModule(
            observation_space=observation,
            action_space=action,
            model_config=config._model_config_auto_includes,
        )
        self.settings = td_settings(config)
        self.generator = torch.Generator().manual_seed(seed)
        self.parameters = [p for part in self.module.online for p in part.parameters()]

    def taus(self, batch: TeamBatch) -> loss_terms.Taus:
        config = self.config
        counts = config.n_quantiles, config.n_target_quantiles
        head = self.module.utility.head
        kind = head.fixed_fractions, head.fractions
        return loss_terms.draw_taus(batch, *counts, config.share_taus, self.generator, *kind)

    def loss(self, batch: TeamBatch, taus: loss_terms.Taus | None = None):
        objective = OBJECTIVES[self.config.objective].loss
        networks = self.module.online, self.module.target
        return objective(*networks, batch, taus or self.taus(batch), self.settings)

    def train(self, batch: TeamBatch, steps: int, lr: float, every: int = 20) -> float:
        """Steps of Adam, with new targets every so often; returns the last loss."""
        optimiser = torch.optim.Adam(self.parameters, lr, fused=True)
        loss = torch.zeros(())
        for step in range(steps):
            if step % every == 0:
                self.module.target.copy_from(self.module.online)
            loss, _ = self.loss(batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss.item()

    @torch.no_grad()
    def greedy(self, batch: TeamBatch) -> list[list[int]]:
        """Greedy joint actions at the first state of each episode."""
        obs, avail = batch.obs[:, 0], batch.avail[:, 0]
        last = torch.full(avail.shape[:2], -1)
        memory = self.module.initial_memory(avail.shape[0] * avail.shape[1])
        scores, _ = self.module.scores(obs, last, avail, memory)
        return scores.masked_fill(~avail, -torch.inf).argmax(dim=-1).tolist()


def one_step_batch(actions: torch.Tensor, reward: torch.Tensor, n_actions: int) -> TeamBatch:
    """Episodes of one step without anything to see."""
    rows, agents = actions.shape
    return TeamBatch(
        obs=torch.ones(rows, 2, agents, 1),
        state=torch.ones(rows, 2, 1),
        avail=torch.ones(rows, 2, agents, n_actions, dtype=torch.bool),
        alive=torch.ones(rows, 2, agents, dtype=torch.bool),
        deaths=torch.zeros(rows, 2),
        actions=actions[:, None],
        behaviour_prob=torch.full((rows, 1, agents), 1.0 / n_actions),
        reward=reward[:, None],
        terminated=torch.ones(rows, 1, dtype=torch.bool),
        mask=torch.ones(rows, 1, dtype=torch.bool),
    )
