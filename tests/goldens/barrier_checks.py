"""Checkers of the barrier: values and violations, estimators, exact enumeration."""

from __future__ import annotations

import itertools
import re

import torch
from torch import Tensor

from rllib_dbf.functional import barrier, policy

from .cases import Case

NORMALISERS = {"pooled": "transitions", "per_traj": "trajectories", "per_traj_states": "states"}


def check_eq4_eq5(case: Case) -> None:
    """Barrier values, violations, loss and gate in every variant of the index."""
    state_mask = case.get("valid_state") > 0
    mask = state_mask[:, 1:]
    case.check("out/transition_mask", mask)
    deaths = {"new": case.get("new_deaths"), "cumulative": case.get("dead_cumulative")}
    for row in case.entry["cases"]:
        key = row["key"].removeprefix("out/L_").removesuffix(f"_{row['norm']}")
        values = barrier.barrier_values(
            deaths[row["dead"]], state_mask, row["gamma_B"], row["tail"]
        )
        violation = barrier.violations(values, mask, row["lambda_B"])
        case.check("out/B_" + key.rsplit("_", 1)[0], values)
        case.check("out/viol_" + key, violation)
        case.check(row["key"], barrier.barrier_loss(violation, mask, NORMALISERS[row["norm"]]))
    total = barrier.deaths_total(deaths["new"], state_mask)
    case.check("out/V_B_episode", total)
    for key in [k for k in case.arrays if k.startswith("out/gate_omega_")]:
        case.check(key, barrier.omega_gate(total, float(key.rsplit("_", 1)[1])))


def check_estimators(case: Case) -> None:
    """Score-function surrogates and their gradients; the expectation under the policy."""
    avail, actions = case.get("avail") > 0, case.get("actions")
    alive, mask, delta = case.get("alive") > 0, case.get("mask") > 0, case.get("delta")
    temperature = case.hyper["temp"]
    togo = barrier.to_go(delta, mask, case.hyper["gamma_B"])
    pi = barrier.joint_policy(case.get("q"), avail, temperature)
    log_prob = pi.gather(-1, actions.unsqueeze(-1)).squeeze(-1).log()
    case.check("out/policy", pi)
    case.check("out/joint_logp", torch.where(alive, log_prob, 0.0).sum(dim=-1))
    case.check("out/delta_to_go", togo)
    for weights, name in ((delta, "myopic"), (togo, "togo")):
        for baseline in ("none", "mean"):
            q = case.leaf("q")
            loss = barrier.score_function_loss(
                q, avail, actions, alive, weights, mask, None, temperature, baseline
            )
            loss.backward()
            case.check(f"out/surrogate_{name}_{baseline}", loss)
            case.check_gradient(f"q_{name}_{baseline}", q)
    q = case.leaf("q")
    loss = policy.counterfactual_loss(q, avail, alive, case.get("b_head"), mask, temperature)
    loss.backward()
    case.check("out/surrogate_expected", loss)
    case.check_gradient("q_expected", q)


class _Paths:
    """Every trajectory of the small decision process, as one batch of episodes."""

    def __init__(self, case: Case) -> None:
        transition, start = case.get("P"), case.get("p0")
        steps, states = case.entry["dims"]["T"], start.shape[0]
        self.steps = steps
        joint = itertools.product(range(states), repeat=steps + 1)
        moves = list(itertools.product(range(transition.shape[1]), repeat=2 * steps))
        paths = [(s, u) for s in joint for u in moves]
        self.states = torch.tensor([s for s, _ in paths])  # [P, T+1]
        self.actions = torch.tensor([u for _, u in paths]).view(-1, steps, 2)
        step = transition[
            self.states[:, :-1], self.actions[..., 0], self.actions[..., 1], self.states[:, 1:]
        ]
        self.chance = start[self.states[:, 0]] * step.prod(dim=1)
        self.mask = torch.ones(len(paths), steps, dtype=torch.bool)


def check_enumeration(case: Case) -> None:
    """Exact gradients by enumeration, and the exact expectation of every estimator."""
    paths = _Paths(case)
    gamma_b, lambda_b = case.hyper["gamma_B"], case.hyper["lambda_B"]
    mask, deaths = paths.mask, case.get("c")[paths.states]
    state_mask = barrier.state_mask_of(mask)
    values = barrier.barrier_values(deaths, state_mask, gamma_b)
    delta = barrier.violations(values, mask, lambda_b)
    frozen = barrier.violations(case.get("B_frozen")[paths.states], mask, lambda_b)
    q = torch.stack([case.get("q0"), case.get("q1")]).requires_grad_()  # [N, S, A]
    q_path = q[:, paths.states[:, :-1]].permute(1, 2, 0, 3)  # [P, T, N, A]
    policy = barrier.joint_policy(q_path, torch.ones_like(q_path).bool(), case.hyper["temp"])
    taken = policy.gather(-1, paths.actions.unsqueeze(-1)).squeeze(-1)
    probability = paths.chance * taken.prod(dim=2).prod(dim=1)
    case.check("out/total_prob", probability.sum())
    for name, cost in (
        ("full_sum", delta.sum(dim=1)),
        ("full_mean", delta.mean(dim=1)),
        ("frozen_sum", frozen.sum(dim=1)),
    ):
        objective = (probability * cost).sum()
        case.check(f"out/J_{name}", objective)
        (exact,) = torch.autograd.grad(objective, q, retain_graph=True)
        for agent in (0, 1):
            case.check(f"grad/q{agent}_J_{name}", exact[agent])
    weights = {
        "myopic": delta,
        "togo_sum": barrier.to_go(delta, mask, 1.0),
        "control_variate": barrier.control_variate_weights(deaths, mask, gamma_b, lambda_b),
        "all_sum": delta.sum(dim=1, keepdim=True).expand_as(delta),
        "frozen_myopic": frozen,
        "frozen_togo": barrier.to_go(frozen, mask, 1.0),
    }
    for name in {re.sub(r"out/E_(\w+)_q\d", r"\1", k) for k in case.arrays if "out/E_" in k}:
        estimate = _expected_estimate(case, paths, weights[name], probability.detach(), q, q_path)
        for agent in (0, 1):
            case.check(f"out/E_{name}_q{agent}", estimate[agent])


def _expected_estimate(
    case: Case, paths: _Paths, weights: Tensor, probability: Tensor, q: Tensor, q_path: Tensor
) -> Tensor:
    """Gradient of the surrogate with each path weighted by its probability."""
    alive = torch.ones_like(paths.actions, dtype=torch.bool)
    loss = barrier.score_function_loss(
        q_path,
        torch.ones_like(q_path).bool(),
        paths.actions,
        alive,
        weights * probability[:, None],
        paths.mask,
        None,
        case.hyper["temp"],
    )
    # The surrogate divides by the number of transitions; the expectation does not.
    (gradient,) = torch.autograd.grad(loss * paths.mask.sum(), q, retain_graph=True)
    return gradient
