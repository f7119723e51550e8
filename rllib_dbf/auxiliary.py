"""Networks beside the team's, each with a loss and an optimiser of its own.

Their gradients never meet those of the team: neither PCGrad nor the norm that is clipped sees
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from rllib_dbf.averaging import share_of
from rllib_dbf.barrier_terms import BarrierTerm
from rllib_dbf.config import DBFConfig
from rllib_dbf.module import TeamRLModule
from rllib_dbf.optimizers import Stepper
from rllib_dbf.team import TrainBatch

AuxiliaryLoss = Callable[[TrainBatch], tuple[Tensor, dict[str, Tensor]]]


class Auxiliary(NamedTuple):
    """One network, how it is trained, and by what.

    `loss` returns this learner's share of the loss (shares add up over the learners) and figures
    to log. A mean over living agents is shared by transitions, which is that of all learners but
    for how many live in the episodes of each.
    """

    network: nn.Module
    optimizer: Stepper
    loss: AuxiliaryLoss

    def gradients(self, batch: TrainBatch) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Gradient of every parameter, and figures to log."""
        loss, stats = self.loss(batch)
        return list(torch.autograd.grad(loss, list(self.network.parameters()))), stats

    def step(self, gradients: list[Tensor], halted: Tensor | Literal[False]) -> None:
        """Move along these gradients, unless `halted` is 1."""
        self.optimizer.step(list(self.network.parameters()), gradients, None, halted)


def auxiliary_networks(
    module: TeamRLModule,
    config: DBFConfig,
    barrier: BarrierTerm | None,
    optimizer_of: Callable[[str], Stepper],
) -> list[Auxiliary]:
    """The networks that the configured parts train beside the team's.

    Args:
        module: Holds them as attributes.
        config: Says which there are.
        barrier: The barrier term, if there is one.
        optimizer_of: The optimiser registered under an attribute's name.
    """
    found = []
    learners = max(1, config.num_learners)
    if barrier is not None and config.barrier_critic is not None:
        critic = module.barrier_critic

        def critic_loss(batch: TrainBatch) -> tuple[Tensor, dict[str, Tensor]]:
            if config.barrier_critic_data == "replayed":
                loss, stats = barrier.critic_loss(critic, batch.replay, module.online)
                return loss * share_of(batch.replay.mask, config.num_learners), stats
            # All learners see all of the latest episodes.
            loss, stats = barrier.critic_loss(critic, batch.on_policy, module.online)
            return loss / learners, stats

        found.append(Auxiliary(critic, optimizer_of("barrier_critic"), critic_loss))
    correction: Any = module.correction
    if correction is not None:

        def correction_loss(batch: TrainBatch) -> tuple[Tensor, dict[str, Tensor]]:
            loss, stats = correction.loss(batch.replay)
            return loss * share_of(batch.replay.mask, config.num_learners), stats

        found.append(Auxiliary(correction, optimizer_of("correction"), correction_loss))
    return found
