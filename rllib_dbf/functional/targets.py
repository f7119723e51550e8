"""Greedy actions and bootstrapped targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rllib_dbf.functional import compiled
from rllib_dbf.functional.devices import is_wide


def greedy_actions(scores: Float[Tensor, "*L A"], avail: Bool[Tensor, "*L A"]) -> Int[Tensor, "*L"]:
    """The available action of greatest score; the first of them on a tie."""
    if not is_wide(scores.device) and compiled.fits(scores, avail):
        return compiled.greedy(scores, avail)
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
    wide = is_wide(values.device)
    if not wide and compiled.fits(reward, values, on_stack=values.shape[2:].numel()):
        return compiled.td_lambda(reward, terminated, mask, values, gamma, td_lambda)
    played = mask[:, :, None, None]
    discount = gamma * (~terminated).to(values.dtype)[:, :, None, None]
    reward = reward[:, :, None, None]
    next_values = values[:, 1:]
    if td_lambda == 0.0:
        return torch.where(played, reward + discount * next_values, 0.0)
    one_step = reward + (1.0 - td_lambda) * discount * next_values
    # A padded row restarts the recursion at its own value, hence G_L = v_L at row L.
    start = torch.where(played, one_step, values[:, :-1])
    if wide:
        goes_on = mask & ~terminated
        return torch.where(played, _all_at_once(start, values, goes_on, td_lambda * gamma), 0.0)
    start = start.unbind(dim=1)
    decay = torch.where(played, td_lambda * discount, 0.0).unbind(dim=1)
    returns, carry = [], values[:, -1]
    for start_t, decay_t in zip(reversed(start), reversed(decay), strict=True):
        carry = torch.addcmul(start_t, decay_t, carry)
        returns.append(carry)
    return torch.where(played, torch.stack(returns[::-1], dim=1), 0.0)


def _all_at_once(
    start: Float[Tensor, "B T G K"],
    values: Float[Tensor, "B T1 G K"],
    goes_on: Bool[Tensor, "B T"],
    decay: float,
) -> Float[Tensor, "B T G K"]:
    """The recursion as one matrix product: a GPU takes as long for it as for one of its steps.

    start_k reaches G_t with the weight decay^{k-t} unless an episode ends in between.
    """
    terms = torch.cat([start, values[:, -1:]], dim=1)  # [B, T+1, G, K]
    ends = F.pad((~goes_on).cumsum(dim=1), (1, 0))  # before each state
    joined = torch.eq(ends[:, :-1, None], ends[:, None, :])
    weights = joined * powers(decay, terms.shape[1], terms)[:-1]
    return (weights @ terms.flatten(2)).view_as(start)


def powers(base: float, n: int, like: Tensor) -> Float[Tensor, "n n"]:
    """base^{k-t} for k ≥ t, else 0: the weight of x_k in Σ_{k≥t} base^{k-t} x_k."""
    steps = torch.arange(n, device=like.device, dtype=like.dtype)
    ahead = steps - steps[:, None]
    return torch.where(ahead >= 0, base ** ahead.clamp(min=0), 0.0)
