"""The barrier of a trajectory: values, violations, gate (DBF paper, eqs 4, 5 and Algorithm 1)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rllib_dbf.functional import compiled
from rllib_dbf.functional.devices import is_wide
from rllib_dbf.functional.policy import (
    Normaliser,
    joint_policy,
    mean_per_step,
    score_function_loss,
)
from rllib_dbf.functional.targets import powers

__all__ = [
    "barrier_loss",
    "barrier_values",
    "control_variate_weights",
    "deaths_of_agents",
    "deaths_total",
    "discounted_to_go",
    "joint_policy",
    "omega_gate",
    "score_function_loss",
    "state_mask_of",
    "to_go",
    "violations",
]

Tail = Literal["zero", "absorbing"]


def state_mask_of(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T+1"]:
    """Which states s_0 … s_T are real, given which transitions were played."""
    return torch.cat([mask[:, :1], mask], dim=1)


def discounted_to_go(x: Float[Tensor, "B T"], discount: float) -> Float[Tensor, "B T"]:
    """Σ_{k≥t} discount^{k-t} x_k along each row."""
    if is_wide(x.device):
        return x @ powers(discount, x.shape[1], x).t()
    if compiled.fits(x) and not x.requires_grad:
        return compiled.to_go(x, discount)
    total, sums = torch.zeros_like(x[:, 0]), []
    for x_t in reversed(x.unbind(dim=1)):
        total = x_t + discount * total
        sums.append(total)
    return torch.stack(sums[::-1], dim=1)


def barrier_values(
    deaths: Float[Tensor, "B T1"],
    state_mask: Bool[Tensor, "B T1"],
    gamma_b: float,
    tail: Tail = "zero",
) -> Float[Tensor, "B T1"]:
    """Barrier value of each visited state, eq. 4: B(s_t) = c_t + γ_B B(s_{t+1}).

    Args:
        deaths: c_t, the agents that died on arrival in s_t (or, for the literal reading of the
            paper, the number dead at s_t).
        state_mask: Which states are real, a prefix of each row.
        gamma_b: Discount of the barrier, in [0, 1).
        tail: What follows the last real state: nothing ("zero"), or the same count for ever
            ("absorbing", meant for counts of the dead: B(s_L) = c_L / (1 - γ_B)).

    Returns:
        The values, zero where there is no state.
    """
    count = torch.where(state_mask, deaths, 0.0)
    if tail == "absorbing":
        after = torch.cat([state_mask[:, 1:], torch.zeros_like(state_mask[:, :1])], dim=1)
        count = torch.where(state_mask & ~after, count / (1.0 - gamma_b), count)
    return discounted_to_go(count, gamma_b)


def violations(
    barrier: Float[Tensor, "B T1"], mask: Bool[Tensor, "B T"], lambda_b: float
) -> Float[Tensor, "B T"]:
    """By how much each transition breaks the barrier condition, the element of eq. 5.

    max(B(s_{t+1}) - (1 - λ_B) B(s_t), 0), zero outside the mask.
    """
    excess = barrier[:, 1:] - (1.0 - lambda_b) * barrier[:, :-1]
    return torch.where(mask, excess, 0.0).clamp(min=0.0)


def barrier_loss(
    violation: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    normaliser: Normaliser = "transitions",
) -> Float[Tensor, ""]:
    """Eq. 5 as a number to report; violations depend on no parameter, so it has no gradient.

    Args:
        violation: From `violations`.
        mask: Which transitions were played.
        normaliser: See `mean_per_step`.
    """
    return mean_per_step(violation, mask, normaliser)


def deaths_total(
    deaths: Float[Tensor, "B T1"], state_mask: Bool[Tensor, "B T1"]
) -> Float[Tensor, " B"]:
    """V_B(τ): how many agents died in each episode."""
    return torch.where(state_mask, deaths, 0.0).sum(dim=1)


def deaths_of_agents(
    deaths: Float[Tensor, "B T1"], alive: Bool[Tensor, "B T1 N"]
) -> Float[Tensor, "B T1 N"]:
    """Who died on arrival in each state: the deaths, shared by those who left the team there.

    Exact but where some die and others arrive at their goal in the same step, which `alive` does
    not tell apart: there each of them has a part of a death.
    """
    left = torch.zeros_like(alive)
    left[:, 1:] = alive[:, :-1] & ~alive[:, 1:]
    return left * (deaths / left.sum(dim=-1).clamp(min=1)).unsqueeze(-1)


def omega_gate(total: Float[Tensor, " B"], omega: float) -> Bool[Tensor, " B"]:
    """Which episodes enter the barrier loss: those with V_B > ω (Algorithm 1)."""
    return total > omega


def to_go(
    violation: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], discount: float
) -> Float[Tensor, "B T"]:
    """Σ_{k≥t} discount^{k-t} of the violations, zero outside the mask."""
    return torch.where(mask, discounted_to_go(torch.where(mask, violation, 0.0), discount), 0.0)


def control_variate_weights(
    deaths: Float[Tensor, "B T1"], mask: Bool[Tensor, "B T"], gamma_b: float, lambda_b: float
) -> Float[Tensor, "B T"]:
    """Σ_k (δ_k - δ_k computed from the deaths up to time t alone), for each t.

    δ are the violations of eq. 5 with a zero tail. The subtracted part is known before the action
    at t is drawn, hence a control variate: with these weights the score-function estimator is
    unbiased for the gradient of E[Σ_k δ_k]. `deaths` must be new deaths, not counts of the dead.
    """
    barrier = barrier_values(deaths, state_mask_of(mask), gamma_b)
    total = violations(barrier, mask, lambda_b).sum(dim=1, keepdim=True)
    state = torch.arange(deaths.shape[1], device=deaths.device)
    gap = state[1:, None] - state  # [T, T+1]: steps from state k to t+1, the first one ignored
    # Without the deaths after t: B^t_k = B_k - γ_B^{t+1-k} B_{t+1} for k ≤ t, nothing later.
    power = torch.where(gap > 0, gamma_b ** gap.clamp(min=0).to(barrier.dtype), 0.0)
    known = barrier[:, None, :] - power * barrier[:, 1:, None]
    known = torch.where(gap > 0, known, 0.0)  # [B, T, T+1]
    excess = known[:, :, 1:] - (1.0 - lambda_b) * known[:, :, :-1]
    known_violation = torch.where(mask[:, None, :], excess, 0.0).clamp(min=0.0)
    return torch.where(mask, total - known_violation.sum(dim=-1), 0.0)
