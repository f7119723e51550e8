"""The barrier's loss as the learner uses it, with what it carries from update to update."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.barrier_estimators import (
    BARRIER_ESTIMATORS,
    BarrierSettings,
    Context,
    gather_evidence,
)
from rllib_dbf.functional import barrier, losses, policy
from rllib_dbf.nets.team_network import TeamNetwork
from rllib_dbf.packing import pack_episodes
from rllib_dbf.team import TeamBatch


class BarrierTerm:
    """The barrier loss with what it carries from update to update.

    Args:
        settings: Which loss.
        generator: Source of everything drawn; all learners must draw alike.
    """

    def __init__(self, settings: BarrierSettings, generator: torch.Generator) -> None:
        self.settings = settings
        self.estimator = BARRIER_ESTIMATORS[settings.estimator]
        self._generator = generator
        self._spread = 0.0  # running std of the utilities; 0 before the first update

    def loss(
        self, online: TeamNetwork, batch: TeamBatch, critic: nn.Module | None = None
    ) -> tuple[Float[Tensor, ""] | None, dict[str, Tensor]]:
        """Barrier loss of on-policy episodes (DBF, eqs 4 and 5), as a surrogate with a gradient.

        B follows from the deaths alone, so eq. 5 as written has no gradient; the estimator
        supplies it. Episodes with at most ω deaths are gated out and contribute exactly nothing.

        Returns:
            The surrogate to differentiate (None if the estimator changes the reward), and
            figures to log: `barrier_loss` is the value of eq. 5.
        """
        settings, evidence = self.settings, gather_evidence(batch, self.settings)
        stats = {
            "barrier_loss": barrier.barrier_loss(
                evidence.violation, batch.mask, settings.normaliser
            ),
            "gate_open_fraction": evidence.active.float().mean(),
        }
        if self.estimator.surrogate is None:
            return None, stats
        q = policy_utilities(online, batch)
        temperature = settings.temperature
        if temperature == "std":
            temperature = self._running_std(q.detach(), batch)
            stats["policy_temperature"] = torch.tensor(temperature)
        context = Context(settings, float(temperature), self._generator, critic)
        return self.estimator.surrogate(q, evidence, context), stats

    def reward(self, batch: TeamBatch) -> Float[Tensor, "B T"]:
        """What the team is paid for: r - η δ if the estimator changes the reward, else r."""
        if self.estimator.surrogate is not None:
            return batch.reward
        return (
            batch.reward - self.settings.penalty * gather_evidence(batch, self.settings).violation
        )

    def critic_loss(
        self, critic: nn.Module, batch: TeamBatch
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Squared error of the critic's B(s_{t+1}), mean over the transitions of all episodes.

        Returns:
            The loss, and figures to log; an explained variance near 0 says that the critic does
            not know what kills, and then its gradient says nothing either.
        """
        target = gather_evidence(batch, self.settings).values[:, 1:]
        predicted = critic(batch)
        loss = losses.masked_mean((predicted - target).square(), batch.mask)
        with torch.no_grad():
            error, known = (target - predicted)[batch.mask], target[batch.mask]
            spread = known.var(unbiased=False)
            explained = 1.0 - error.var(unbiased=False) / spread.clamp(min=1e-8)
            explained = torch.where(spread > 1e-8, explained, 0.0)
        return loss, {"critic_loss": loss.detach(), "critic_explained_variance": explained}

    def _running_std(self, q: Tensor, batch: TeamBatch) -> float:
        """Exponential mean, over updates, of the std of q over the available actions."""
        now = float(policy.utility_std(q, batch.avail[:, :-1], batch.alive[:, :-1], batch.mask))
        self._spread = now if self._spread == 0.0 else 0.99 * self._spread + 0.01 * now
        return max(self._spread, 1e-6)

    def get_state(self) -> dict[str, Any]:
        """Generator and running figures, for a checkpoint."""
        return {"generator": self._generator.get_state().numpy(), "spread": self._spread}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        self._generator.set_state(torch.from_numpy(state["generator"].copy()))
        self._spread = float(state["spread"])


def policy_utilities(online: TeamNetwork, batch: TeamBatch) -> Float[Tensor, "B T N A"]:
    """Expected utilities of every action wherever a transition starts; zeros in padding."""
    packing = pack_episodes(batch.mask)
    q = packing.unpack(online.utility.head.acting_mean(online.unroll(batch, packing)))
    return q[:, :-1]
