"""What an objective reads off a batch: networks see states in packed order, no padding."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from rllib_dbf.functional import targets
from rllib_dbf.loss_terms import TD_LOSSES, TDSettings
from rllib_dbf.nets.team_network import unroll
from rllib_dbf.nets.utility import RecurrentUtility
from rllib_dbf.packing import Grid, Packing
from rllib_dbf.team import TeamBatch, Utilities


class Reading(NamedTuple):
    """What one utility network says at P states, or at those from which a transition starts."""

    head: Any
    hidden: Float[Tensor, "P N H"]
    tau: Float[Tensor, "P _ K"]
    phi: Tensor | None

    def scores(self) -> Float[Tensor, "P N A"]:
        """Mean utility of every action over the fractions."""
        return self.head.mean(self.hidden, self.tau, self.phi)

    def at(self, actions: Int[Tensor, "P N"]) -> Float[Tensor, "P N K"]:
        """Quantiles of the given actions."""
        return self.head.at(self.hidden, actions, self.tau, self.phi)

    def starting(self, packing: Packing | Grid) -> Reading:
        """The same at the states from which a transition starts."""
        phi = None if self.phi is None else packing.starting(self.phi)
        return Reading(self.head, packing.starting(self.hidden), packing.starting(self.tau), phi)


def read(
    utility: RecurrentUtility,
    batch: TeamBatch,
    packing: Packing | Grid,
    tau: Float[Tensor, "P _ K"],
) -> Reading:
    """What a utility network says at all packed states."""
    hidden = unroll(utility, batch, packing)
    return Reading(utility.head, hidden, tau, utility.head.embed(tau))


def as_episode(reading: Reading, actions: Int[Tensor, "P N"]) -> Utilities:
    """Chosen utilities as mixers take them: one episode of P steps."""
    z = reading.at(actions)
    return Utilities(z[None], z.mean(dim=-1).detach()[None], actions[None], reading.hidden[None])


def greedy(scores: Float[Tensor, "P N A"], avail: Tensor) -> Int[Tensor, "P N"]:
    """Available actions of greatest score; carries no gradient."""
    return targets.greedy_actions(scores.detach(), avail)


def td_targets(
    values: Float[Tensor, "P G K"], batch: TeamBatch, packing: Packing | Grid, settings: TDSettings
) -> Float[Tensor, "M G K"]:
    """TD(λ) targets of the played transitions from the packed values of the states."""
    y = targets.td_lambda_targets(
        batch.reward,
        batch.terminated,
        batch.mask,
        packing.unpack(values),
        settings.gamma,
        settings.td_lambda,
    )
    return packing.pack_steps(y)


def td_error(
    z: Float[Tensor, "M G K"],
    y: Float[Tensor, "M G K2"],
    tau: Float[Tensor, "M _ K"],
    packing: Packing | Grid,
    settings: TDSettings,
) -> Float[Tensor, ""]:
    """The row's TD loss of played transitions."""
    return TD_LOSSES[settings.loss](z[None], y[None], tau[None], packing.played)
