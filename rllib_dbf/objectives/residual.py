"""ResQ and ResZ: a monotone main value, a residual that is never positive, a central value."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.loss_terms import Taus, TDSettings
from rllib_dbf.nets.joint import FeedForwardMix, JointSizes, ReturnFeedForwardMix
from rllib_dbf.nets.mixers.qatten import SignedAttention
from rllib_dbf.nets.team_network import TeamNetwork
from rllib_dbf.objectives.objective import OBJECTIVES, Objective
from rllib_dbf.objectives.reading import Reading, as_episode, greedy, read, td_error, td_targets
from rllib_dbf.packing import Grid, Packing, pack_episodes
from rllib_dbf.team import TeamBatch


class ResidualOptions(NamedTuple):
    """Options of both forms."""

    width: int = 128


class ResidualAndCentral(nn.Module):
    """Two more teams of utilities: one makes the residual, one the central value.

    Args:
        sizes: Of the task and of the row.
        head: Of the utilities.
        residual: Mixer of the residual.
        central: Mixer of the central value.
    """

    def __init__(
        self, sizes: JointSizes, head: str, residual: nn.Module, central: nn.Module
    ) -> None:
        super().__init__()
        self.residual_utility, self.residual = sizes.utility(head), residual
        self.central_utility, self.central = sizes.utility(head), central


def _of_values(sizes: JointSizes, options: ResidualOptions) -> nn.Module:
    residual, central = (FeedForwardMix(sizes.mixer(), options.width) for _ in range(2))
    return ResidualAndCentral(sizes, "expected", residual, central)


def _of_returns(sizes: JointSizes, options: ResidualOptions) -> nn.Module:
    central = ReturnFeedForwardMix(sizes.mixer(), sizes.n_quantiles, options.width)
    return ResidualAndCentral(sizes, "iqn", SignedAttention(sizes.mixer()), central)


def negative_part(residual: Float[Tensor, "*L"]) -> Float[Tensor, "*L"]:
    """-|x|: the constraint Z_r ≤ 0, for whatever a network says."""
    return -residual.abs()


def residual_loss(
    online: TeamNetwork, target: TeamNetwork, batch: TeamBatch, taus: Taus, settings: TDSettings
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Loss of ResQ and, with return quantiles, of ResZ (Shen et al., 2022), eqs 4–8.

        L = ℓ(Z_tot(u) + w_r(u) Z_r(u), y) + ℓ(Z_c(u), y),    Z_r = -|·| ≤ 0,
        w_r(u) = 0 if u is the greedy joint action of the main utilities, else 1,

    y are TD(λ) targets of the target central value Z_c at the main greedy actions. Where it
    matters, the main value is thereby exact, and elsewhere never below the central one, so that
    greedy actions of the agents are those of the central value. ℓ is the row's TD loss; the
    three values share their quantile fractions, in ascending order.
    """
    packing = pack_episodes(batch.mask)
    avail, state = packing.pack(batch.avail), packing.pack(batch.state)
    tau, target_tau = (packing.pack(x).sort(dim=-1).values for x in taus)
    main = read(online.utility, batch, packing, tau)
    best = greedy(main.scores(), avail)
    y = _central_targets(target, batch, packing, best, target_tau, settings)
    main, actions = main.starting(packing), packing.pack_steps(batch.actions)
    greedy_taken = torch.eq(actions, packing.starting(best)).all(dim=-1)
    z_tot = online.mixer(as_episode(main, actions), packing.starting(state)[None])[0]
    state = packing.starting(online.normalised(state))

    def mix(utility: nn.Module, mixer: nn.Module) -> Float[Tensor, "M 1 K"]:
        reading = read(utility, batch, packing, tau).starting(packing)  # pyright: ignore
        return mixer(as_episode(reading, actions), state[None])[0]

    joint = online.joint
    z_residual = negative_part(mix(joint.residual_utility, joint.residual))
    z_central = mix(joint.central_utility, joint.central)
    z = z_tot + torch.where(greedy_taken[:, None, None], 0.0, z_residual)
    parts = [td_error(x, y, main.tau, packing, settings) for x in (z, z_central)]
    return parts[0] + parts[1], {
        "q_taken_mean": packing.mean(z.detach()),
        "target_mean": packing.mean(y),
        "joint_td_loss": parts[1].detach(),
        "residual_mean": packing.mean(z_residual.detach()),
    }


@torch.no_grad()
def _central_targets(
    target: TeamNetwork,
    batch: TeamBatch,
    packing: Packing | Grid,
    best: Tensor,
    tau: Tensor,
    settings: TDSettings,
) -> Float[Tensor, "M 1 K"]:
    """TD(λ) targets of the central value at the main utilities' greedy actions."""
    if not settings.double_q:
        main = read(target.utility, batch, packing, tau)
        best = greedy(main.scores(), packing.pack(batch.avail))
    state = target.normalised(packing.pack(batch.state))
    central: Reading = read(target.joint.central_utility, batch, packing, tau)
    values = target.joint.central(as_episode(central, best), state[None])[0]
    return td_targets(values, batch, packing, settings)


OBJECTIVES.register("resq")(
    Objective(
        residual_loss,
        _of_values,
        ResidualOptions,
        knows_maximum=False,
        heads=("expected",),
        one_value=True,
        by_risk=False,
    )
)
OBJECTIVES.register("resz")(
    Objective(
        residual_loss,
        _of_returns,
        ResidualOptions,
        knows_maximum=False,
        paired_quantiles=True,
        one_value=True,
        by_risk=False,
    )
)
