"""The barrier's loss as the learner uses it, with what it carries from update to update."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.barrier_estimators import BARRIER_ESTIMATORS, Context
from rllib_dbf.barrier_evidence import BarrierSettings, Evidence, gather_evidence
from rllib_dbf.barrier_foresight import foresight
from rllib_dbf.functional import barrier, losses, policy
from rllib_dbf.generators import restore, state_of
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
        self.generator = generator
        self._spread = 0.0  # running std of the utilities; 0 before the first update
        self._multiplier = 0.0  # of Lagrange, the price of a death; estimator "constraint"

    @property
    def recordable(self) -> bool:
        """Whether a GPU may record an update: it asks for no number in between."""
        entry = self.estimator
        return entry.fixed and not entry.priced and self.settings.temperature != "std"

    def loss(
        self, online: TeamNetwork, batch: TeamBatch, critic: nn.Module | None = None
    ) -> tuple[Float[Tensor, ""] | None, dict[str, Tensor]]:
        """Barrier loss of on-policy episodes (DBF, eqs 4 and 5), as a surrogate with a gradient.

        B follows from the deaths alone, so eq. 5 as written has no gradient; the estimator
        supplies it. Episodes with at most ω deaths are gated out and contribute exactly nothing.

        Returns:
            The surrogate to differentiate (None if the estimator has none), and figures to log:
            `barrier_loss` is the value of eq. 5.
        """
        settings, evidence = self.settings, gather_evidence(batch, self.settings)
        stats = self._figures(evidence)
        if self.estimator.priced:
            stats["barrier_multiplier"] = torch.tensor(self._price(batch))
        if self.estimator.surrogate is None:
            return None, stats
        packing = pack_episodes(batch.mask)
        hidden = online.unroll(batch, packing)
        q = packing.unpack(online.utility.head.acting_mean(hidden))[:, :-1]
        temperature = settings.temperature
        if temperature == "std":
            temperature = self._running_std(q.detach(), batch)
            stats["policy_temperature"] = torch.tensor(temperature)
        hidden = packing.unpack(hidden)[:, :-1]
        context = Context(settings, float(temperature), self.generator, critic, hidden)
        return self.estimator.surrogate(q, evidence, context), stats

    def figures(self, batch: TeamBatch) -> dict[str, Tensor]:
        """What there is to log of episodes whose barrier has no say (any more)."""
        return self._figures(gather_evidence(batch, self.settings))

    def _figures(self, evidence: Evidence) -> dict[str, Tensor]:
        loss = barrier.barrier_loss(
            evidence.violation, evidence.batch.mask, self.settings.normaliser
        )
        return {"barrier_loss": loss, "gate_open_fraction": evidence.active.float().mean()}

    def reward(self, batch: TeamBatch, critic: nn.Module | None = None) -> Float[Tensor, "B T"]:
        """What the team learns from: its reward, or what the estimator makes of it."""
        if self.estimator.pay is None:
            return batch.reward
        return self.estimator.pay(batch, self.settings, critic, self._multiplier)

    def _price(self, batch: TeamBatch) -> float:
        """The multiplier ν of max_π min_ν E[return] - ν (E[V_B] - ω), one step of its ascent.

        Deaths cost ν each and more the longer episodes have more than ω of them (RCPO; Tessler et
        al., 2019).
        """
        deaths = barrier.deaths_total(batch.deaths, barrier.state_mask_of(batch.mask))
        excess = float(deaths.mean()) - self.settings.omega
        self._multiplier = max(0.0, self._multiplier + self.settings.multiplier_rate * excess)
        return self._multiplier

    def critic_loss(
        self, critic: Any, batch: TeamBatch, online: TeamNetwork | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Squared error of what the critic foresees, mean over the transitions of all episodes.

        A critic that reads the trunk of the `online` network gets it without gradient.

        Returns:
            The loss, and figures to log; an explained variance near 0 says that the critic does
            not know what kills, and then its gradient says nothing either.
        """
        hidden = None
        if critic.reads_trunk:
            assert online is not None
            packing = pack_episodes(batch.mask)
            with torch.no_grad():
                hidden = packing.unpack(online.unroll(batch, packing))[:, :-1]
        error, explained = foresight(critic, batch, self.settings, hidden)
        loss = losses.masked_mean(error, batch.mask)
        return loss, {"critic_loss": loss.detach(), "critic_explained_variance": explained}

    def _running_std(self, q: Tensor, batch: TeamBatch) -> float:
        """Exponential mean, over updates, of the std of q over the available actions."""
        now = float(policy.utility_std(q, batch.avail[:, :-1], batch.alive[:, :-1], batch.mask))
        self._spread = now if self._spread == 0.0 else 0.99 * self._spread + 0.01 * now
        return max(self._spread, 1e-6)

    def get_state(self) -> dict[str, Any]:
        """Generator and running figures, for a checkpoint."""
        return {
            "generator": state_of(self.generator),
            "spread": self._spread,
            "multiplier": self._multiplier,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        restore(self.generator, state["generator"])
        self._spread = float(state["spread"])
        self._multiplier = float(state.get("multiplier", 0.0))  # absent in older checkpoints
