"""Control barrier functions for discrete actions and unknown dynamics.

Our adaptation of decentralised barrier certificates (Qin et al., 2021), which know the dynamics
and correct continuous actions by gradient steps: h says how safe an agent is, d predicts h one
step on, and an action is corrected by choosing another.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

DANGER_WEIGHT = 2.0  # of dangerous states against safe ones, as in the original
MARGIN = 1.0  # fixes the scale of h, which the conditions leave open


def danger_labels(died: Bool[Tensor, "B T1 N"], horizon: int) -> Bool[Tensor, "B T1 N"]:
    """Which agents are in danger: dead on arrival in s_t, or within `horizon` steps of it.

    Args:
        died: Who died on arrival in each state. Who leaves at a goal does not.
        horizon: K, at least 1; deaths after the last real state are not known.
    """
    dead = died.cummax(dim=1).values  # also after the last state
    ahead = torch.cat([dead, dead[:, -1:].expand(-1, horizon, -1)], dim=1)
    return ahead[:, horizon:]  # the dead stay dead: dead K steps on is dead by then


def cbf_loss(
    h: Float[Tensor, "B T1 N"],
    d: Float[Tensor, "B T N"],
    best: Float[Tensor, "B T N"],
    alive: Bool[Tensor, "B T1 N"],
    died: Bool[Tensor, "B T1 N"],
    mask: Bool[Tensor, "B T"],
    alpha: float,
    horizon: int,
) -> Float[Tensor, ""]:
    """Loss of the barrier networks, over what living agents see and what becomes of them.

        mean_w [1 ± h(o)]₊ + mean_w [(1 - α) h(o) - sg max_u d(o, u)]₊
        + mean (d(o, u) - sg min(h(o'), 1))²

    h < 0 where an agent is about to die (sign +), h ≥ 0 where it is not (sign -), and from every
    state some action leads to h' ≥ (1 - α) h; d is regressed on h of the next observation. w is 2
    in danger, else 1. An agent counts up to and including the state in which it arrives dead. One
    that leaves alive, at its goal, sees nothing there: d is regressed on 1, than which nothing is
    safer.

    The second mean asks what a control barrier function promises: that there *is* an action. The
    original asks it of the action taken, whose controller it trains along with h. Asked of actions
    that nobody trains to be safe, it would level h between a safe state and the danger the team
    walks into. The first mean is over all states, where the original has one each for dangerous
    and safe ones. That is the same for labels that follow from the state; ours are outcomes, and h
    would be negative wherever death is but half as likely as on average. Like this it is negative
    where death is likelier than one in three.

    Args:
        h: Of every agent in every state.
        d: Of the action each agent took.
        best: Greatest d of the actions it had.
        alive: Living agents, of whom those are no more who have left.
        died: Who died on arrival in each state.
        mask: Played transitions.
        alpha: α in [0, 1]: the share of its safety that an agent may lose in a step.
        horizon: See `danger_labels`.
    """
    danger = danger_labels(died, horizon)
    before = alive[:, :-1] & mask[:, :, None]  # transitions of agents that live
    left = before & ~alive[:, 1:] & ~died[:, 1:]
    start = alive[:, :1] & mask[:, :1, None]
    seen = torch.cat([start, before & ~left], dim=1)  # with the arrival
    weight = torch.where(danger, DANGER_WEIGHT, 1.0)
    value = _mean(weight * (MARGIN + torch.where(danger, h, -h)).clamp(min=0.0), seen)
    shortfall = ((1.0 - alpha) * h[:, :-1] - best.detach()).clamp(min=0.0)
    invariance = _mean(weight[:, :-1] * shortfall, before)
    comes = capped(h)[:, 1:].detach().masked_fill(left, MARGIN)
    prediction = _mean((d - comes).square(), before)
    return value + invariance + prediction


def capped(h: Float[Tensor, "*L"]) -> Float[Tensor, "*L"]:
    """min(h, 1): above the margin nothing is safer, and no action is to be ruled out for it."""
    return h.clamp(max=MARGIN)


def _mean(x: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, x, 0.0).sum() / where.sum().clamp(min=1)


def safe_actions(
    h: Float[Tensor, "*L"],
    d: Float[Tensor, "*L A"],
    avail: Bool[Tensor, "*L A"],
    alpha: float,
) -> Bool[Tensor, "*L A"]:
    """Actions an agent may take: available, and d(o, u) ≥ (1 - α) min(h(o), 1).

    Where there is none, the available action of greatest d; every row has at least one.
    """
    safe = avail & (d >= (1.0 - alpha) * capped(h).unsqueeze(-1))
    best = d.masked_fill(~avail, -torch.inf).argmax(dim=-1, keepdim=True)
    least_bad = torch.zeros_like(safe).scatter(-1, best, True)
    return torch.where(safe.any(dim=-1, keepdim=True), safe, least_bad)
