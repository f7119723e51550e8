"""The softmax policy behind the utilities, and the score-function gradient of a number.

Eq. 5 of the DBF paper is a function of trajectories and reaches the parameters only through the
probability of the actions that produced them.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Baseline = Literal["none", "mean"]


def _log_policy(q: Tensor, avail: Tensor, temperature: float | Tensor) -> Tensor:
    # The lowest finite number, not -inf: a probability of exactly 0 without NaN gradients.
    scores = (q / temperature).masked_fill(~avail, torch.finfo(q.dtype).min)
    return scores.log_softmax(dim=-1)


def joint_policy(
    q: Float[Tensor, "B T N A"],
    avail: Bool[Tensor, "B T N A"],
    temperature: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, "B T N A"]:
    """π_i(u | h_i) = softmax over the available actions of q_i / temperature, agent by agent."""
    return _log_policy(q, avail, temperature).exp()


def score_function_loss(
    q: Float[Tensor, "B T N A"],
    avail: Bool[Tensor, "B T N A"],
    actions: Int[Tensor, "B T N"],
    alive: Bool[Tensor, "B T N"],
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    behaviour_prob: Float[Tensor, "B T N"] | None,
    temperature: float | Float[Tensor, ""] = 1.0,
    baseline: Baseline = "none",
    clip: float = 1.0,
    standardise: bool = False,
    active: Bool[Tensor, " B"] | None = None,
) -> Float[Tensor, ""]:
    """Surrogate whose gradient is the score-function estimate of that of the weights' mean.

        L_A = Σ_t m_t (w_t - b) Σ_i ρ_{i,t} log π_i(u_{i,t} | h_{i,t}) / Σ_t m_t
        ρ_{i,t} = min(π_i / μ_i, clip)

    Williams (1992), with the per-agent truncated importance ratios of V-trace (Espeholt et al.,
    2018). Sum over living agents, masked sum over transitions, divided by all played transitions,
    those of inactive episodes included. Weights, baseline and ratios are detached: only log π has
    a gradient, and minimising lowers the probability of actions with positive weight.

    Args:
        q: Expected utilities of every action.
        avail: Available actions.
        actions: Taken actions.
        alive: Agents that acted; the others do not count.
        weights: w_t, for example the violations of eq. 5.
        mask: Played transitions.
        behaviour_prob: μ_i, probability with which each action was taken; None for ρ = 1.
        temperature: Of the softmax.
        baseline: "none", or "mean": b is the mean weight over the transitions that count.
        clip: Greatest importance ratio.
        standardise: Divide w - b by the standard deviation of the weights, at least 1e-4.
        active: Episodes whose gate is open; the others contribute exactly nothing, also through
            the baseline. None for all.
    """
    log_prob = _log_policy(q, avail, temperature).gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    counted = mask if active is None else mask & active[:, None]
    # Selected before it is multiplied: a padded action may be unavailable, its log -3e38.
    acted = alive & counted[:, :, None]
    log_prob = torch.where(acted, log_prob, 0.0)  # [B, T, N]
    if behaviour_prob is not None:
        # The guard is for padding, where no action was taken with any probability.
        ratio = log_prob.detach().exp() / behaviour_prob.clamp(min=1e-8)
        log_prob = ratio.clamp(max=clip) * log_prob
    weights = _centred(weights.detach(), counted, baseline, standardise)
    return (weights * log_prob.sum(dim=-1)).sum() / mask.sum().clamp(min=1)


def _centred(weights: Tensor, counted: Tensor, baseline: Baseline, standardise: bool) -> Tensor:
    """Weights less their baseline, zero where nothing counts."""
    count = counted.sum().clamp(min=1)
    average = torch.where(counted, weights, 0.0).sum() / count
    centred = weights - average
    result = centred if baseline == "mean" else weights
    if standardise:
        variance = torch.where(counted, centred.square(), 0.0).sum() / count
        result = result / variance.sqrt().clamp(min=1e-4)
    return torch.where(counted, result, 0.0)
