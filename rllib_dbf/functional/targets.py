"""Greedy actions and bootstrapped targets."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def greedy_actions(scores: Float[Tensor, "*L A"], avail: Bool[Tensor, "*L A"]) -> Int[Tensor, "*L"]:
    """The available action of greatest score; the first of them on a tie."""
    return scores.masked_fill(~avail, -torch.inf).argmax(dim=-1)


@torch.no_grad()
def td_lambda_targets(
    reward: Float[Tensor, "B T"],
    terminated: Bool[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    values: Float[Tensor, "B T1 G K"],
    gamma: float,
    td_lambda: float,
) -> Float[Tensor, "B T G K"]:
    """TD(λ) targets, the same recursion on each group and quantile index.

        G_t = r_t + γ (1 - d_t) [(1 - λ) v_{t+1} + λ G_{t+1}],    G_L = v_L

    Sutton & Barto (2018), eq. 12.2 in recursive form. L is the number of transitions of an
    episode, so an episode cut off early bootstraps from its own last state and not from padding;
    λ = 0 is the one-step target. `mask` must be a prefix of each row. Carries no gradient.

    Returns:
        The targets, zero outside the mask.
    """
    played = mask[:, :, None, None]
    discount = gamma * (~terminated).to(values.dtype)[:, :, None, None]
    reward = reward[:, :, None, None]
    next_values = values[:, 1:]
    if td_lambda == 0.0:
        return torch.where(played, reward + discount * next_values, 0.0)
    one_step = reward + (1.0 - td_lambda) * discount * next_values
    # A padded row restarts the recursion at its own value, hence G_L = v_L at row L.
    start = torch.where(played, one_step, values[:, :-1]).unbind(dim=1)
    decay = torch.where(played, td_lambda * discount, 0.0).unbind(dim=1)
    returns, carry = [], values[:, -1]
    for start_t, decay_t in zip(reversed(start), reversed(decay), strict=True):
        carry = torch.addcmul(start_t, decay_t, carry)
        returns.append(carry)
    return torch.where(played, torch.stack(returns[::-1], dim=1), 0.0)
