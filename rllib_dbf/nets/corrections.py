"""Action corrections: what may overrule the action an agent proposes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rllib_dbf.functional import cbf
from rllib_dbf.functional.barrier import deaths_of_agents
from rllib_dbf.nets.team_network import NetworkShape
from rllib_dbf.registry import Registry
from rllib_dbf.team import TeamBatch

ACTION_CORRECTIONS: Registry = Registry("action_correction")


@ACTION_CORRECTIONS.register("cbf")
class BarrierCorrection(nn.Module):
    """Barrier h(o_i) and its one-step prediction d(o_i, u_i), shared by the agents.

    Both are read off one network with two hidden layers on the agent's own observation, so the
    correction is as decentralised as the policy. At first h = d = 1 and every action is safe.

    Args:
        shape: Sizes of the task.
        hidden_dim: Width of the hidden layers.
        alpha: α in [0, 1], the share of its safety that an agent may lose in a step.
        horizon: K, steps before a death that count as danger.
    """

    def __init__(self, shape: NetworkShape, hidden_dim: int, alpha: float, horizon: int) -> None:
        super().__init__()
        self.alpha, self.horizon = alpha, horizon
        self.body = nn.Sequential(
            nn.Linear(shape.obs_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
        )
        self.out = nn.Linear(hidden_dim, 1 + shape.n_actions)
        nn.init.zeros_(self.out.weight)
        nn.init.ones_(self.out.bias)

    def forward(self, obs: Float[Tensor, "*L O"]) -> tuple[Tensor, Tensor]:
        """h, [*L], and d of every action, [*L, A]."""
        out = self.out(self.body(obs))
        return out[..., 0], out[..., 1:]

    @torch.no_grad()
    def allowed(
        self, obs: Float[Tensor, "*L O"], avail: Bool[Tensor, "*L A"]
    ) -> Bool[Tensor, "*L A"]:
        """The available actions that need no correction; at least one in every row."""
        h, d = self(obs)
        return cbf.safe_actions(h, d, avail, self.alpha)

    def loss(self, batch: TeamBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss on episodes of any policy, and figures to log."""
        h, d = self(batch.obs)
        taken = d[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        best = d.masked_fill(~batch.avail, -torch.inf).amax(dim=-1)[:, :-1]
        died = deaths_of_agents(batch.deaths, batch.alive) > 0
        settings = self.alpha, self.horizon
        loss = cbf.cbf_loss(h, taken, best, batch.alive, died, batch.mask, *settings)
        counted = batch.alive[:, :-1] & batch.mask[:, :, None]
        with torch.no_grad():
            safe = cbf.safe_actions(h[:, :-1], d[:, :-1], batch.avail[:, :-1], self.alpha)
            available = batch.avail[:, :-1] & counted.unsqueeze(-1)
            share = (available & ~safe).sum() / available.sum().clamp(min=1)
        return loss, {"correction_loss": loss.detach(), "ruled_out_fraction": share}
