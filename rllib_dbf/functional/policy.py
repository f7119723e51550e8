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
Normaliser = Literal["transitions", "trajectories", "states", "episodes"]


def mean_per_step(
    x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], normaliser: Normaliser = "transitions"
) -> Float[Tensor, ""]:
    """The mean over 1/|S| of eq. 5 of the DBF paper, in its three readings, or none of them.

    Args:
        x: Zero outside the mask.
        mask: Which transitions were played.
        normaliser: "transitions" pools all of the batch, "trajectories" is the mean over episodes
            of each one's mean over transitions, "states" divides each by its visited states
            instead (one more than its transitions). "episodes" (ours) is the mean over episodes
            of each one's sum: a mean per step could also be lowered by playing for longer.
    """
    if normaliser == "episodes":
        return x.sum(dim=1).mean()
    played = mask.sum(dim=1)
    if normaliser == "transitions":
        return x.sum() / played.sum().clamp(min=1)
    visited = played + 1 if normaliser == "states" else played.clamp(min=1)
    return (x.sum(dim=1) / visited).mean()


def _log_policy(q: Tensor, avail: Tensor, temperature: float | Tensor) -> Tensor:
    # The lowest finite number, not -inf: a probability of exactly 0 without NaN gradients.
    scores = (q / temperature).masked_fill(~avail, torch.finfo(q.dtype).min)
    return scores.log_softmax(dim=-1)


def joint_policy(
    q: Float[Tensor, "*L A"],
    avail: Bool[Tensor, "*L A"],
    temperature: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, "*L A"]:
    """π_i(u | h_i) = softmax over the available actions of q_i / temperature, agent by agent."""
    return _log_policy(q, avail, temperature).exp()


def safest_first(
    scores: Float[Tensor, "*L A"],
    danger: Float[Tensor, "*L A"],
    avail: Bool[Tensor, "*L A"],
    margin: float,
) -> Float[Tensor, "*L A"]:
    """Scores in which the least dangerous of the nearly best actions leads.

    Nearly best are available actions that lack at most the share `margin` of what lies between the
    best and the worst one. They get the best score plus the share of danger that they avoid, in
    [0, 1]: the safest leads by its share. The others keep their scores.
    """
    best = scores.masked_fill(~avail, -torch.inf).amax(dim=-1, keepdim=True)
    poorest = scores.masked_fill(~avail, torch.inf).amin(dim=-1, keepdim=True)
    near = avail & (scores >= best - margin * (best - poorest))
    worst = danger.masked_fill(~near, -torch.inf).amax(dim=-1, keepdim=True)
    least = danger.masked_fill(~near, torch.inf).amin(dim=-1, keepdim=True)
    avoided = (worst - danger) / (worst - least).clamp(min=torch.finfo(danger.dtype).tiny)
    return torch.where(near, best + avoided, scores)


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
    normaliser: Normaliser = "transitions",
    agent_baseline: Float[Tensor, "B T N"] | None = None,
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
        normaliser: The mean over transitions, see `mean_per_step`.
        agent_baseline: b_{t,i}, a baseline of each agent's own, which may depend on the state and
            on what the others do (COMA; Foerster et al., 2018); as far as it depends on the
            agent's own action the estimate is biased. Takes the place of `baseline`; not with
            `standardise`.
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
    if agent_baseline is None:
        blame = _centred(weights.detach(), counted, baseline, standardise).unsqueeze(-1)
    else:
        blame = weights.detach().unsqueeze(-1) - agent_baseline.detach()
        blame = torch.where(counted.unsqueeze(-1), blame, 0.0)
    return mean_per_step((blame * log_prob).sum(dim=-1), mask, normaliser)


def counterfactual_loss(
    q: Float[Tensor, "B T N A"],
    avail: Bool[Tensor, "B T N A"],
    alive: Bool[Tensor, "B T N"],
    cost: Float[Tensor, "B T N A"],
    mask: Bool[Tensor, "B T"],
    temperature: float | Float[Tensor, ""] = 1.0,
    active: Bool[Tensor, " B"] | None = None,
    normaliser: Normaliser = "transitions",
) -> Float[Tensor, ""]:
    """Expected cost of each agent's own action while the others do what they did.

        mean_t Σ_i Σ_{u available} π_i(u | h_i) cost_i(u)

    The exact gradient of a sum over own actions, where `score_function_loss` has a sample: low
    variance, and as good as `cost`, which is detached. COMA (Foerster et al., 2018) has the same
    counterfactual.

    Args:
        q: Expected utilities of every action.
        avail: Available actions.
        alive: Agents that act; the others do not count.
        cost: What agent i's action u would have cost the team.
        mask: Played transitions.
        temperature: Of the softmax.
        active: Episodes whose gate is open; the others contribute exactly nothing. None for all.
        normaliser: The mean over transitions, see `mean_per_step`.
    """
    expected = (joint_policy(q, avail, temperature) * cost.detach()).sum(dim=-1)  # [B, T, N]
    counted = mask if active is None else mask & active[:, None]
    return mean_per_step(
        torch.where(alive & counted[:, :, None], expected, 0.0).sum(dim=-1), mask, normaliser
    )


def gumbel_actions(
    q: Float[Tensor, "B T N A"],
    avail: Bool[Tensor, "B T N A"],
    temperature: float | Float[Tensor, ""],
    generator: torch.Generator,
) -> Float[Tensor, "B T N A"]:
    """One-hot actions drawn from the softmax policy, with the gradient of a relaxed draw.

        onehot(argmax_u y_u) + y - sg[y],    y = softmax(log π(u) + g_u),  g_u ~ Gumbel(0, 1)

    Straight-through Gumbel-softmax (Jang et al., 2017) with relaxation 1. Only available actions
    are drawn. The gradient is biased: it is that of the relaxed draw.
    """
    uniform = torch.rand(q.shape, generator=generator, device=q.device, dtype=q.dtype)
    tiny = torch.finfo(q.dtype).tiny
    noise = -(-uniform.clamp(min=tiny).log()).clamp(min=tiny).log()
    relaxed = _log_policy(_log_policy(q, avail, temperature) + noise, avail, 1.0).exp()
    drawn = torch.zeros_like(relaxed).scatter(-1, relaxed.argmax(dim=-1, keepdim=True), 1.0)
    return drawn + relaxed - relaxed.detach()


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


def utility_std(
    q: Float[Tensor, "B T N A"],
    avail: Bool[Tensor, "B T N A"],
    alive: Bool[Tensor, "B T N"],
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Standard deviation of the utilities over an agent's available actions.

    Root mean, over the living agents that have a choice, of the variance; 0 if nobody has one.
    Divided by it, utilities have a spread that does not depend on the scale of the return.
    """
    count = avail.sum(dim=-1)
    mean = torch.where(avail, q, 0.0).sum(dim=-1) / count.clamp(min=1)
    square = torch.where(avail, (q - mean.unsqueeze(-1)).square(), 0.0).sum(dim=-1)
    variance = square / count.clamp(min=1)
    counted = alive & mask[:, :, None] & (count > 1)
    return (torch.where(counted, variance, 0.0).sum() / counted.sum().clamp(min=1)).sqrt()
