"""Checkers of pure functions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from rllib_dbf.functional import gradients, losses, risk, targets

from .cases import Case


def check_td_lambda_targets(case: Case) -> None:
    """TD(λ) targets of expected values and of quantiles."""
    reward, mask = case.get("reward")[..., 0], case.get("mask")[..., 0] > 0
    terminated = case.get("terminated")[..., 0] > 0
    # In an episode cut off before the end of the batch the reference bootstraps from padding;
    # ours does not, see tests/functional/test_targets.py. Such rows are left out.
    whole = (terminated & mask).any(dim=1) | mask.all(dim=1)
    assert whole.any()
    for values, key in (
        (case.get("target_q").unsqueeze(-1), "out/targets"),
        (case.get("target_z"), "out/targets_dist"),
    ):
        ours = targets.td_lambda_targets(
            reward, terminated, mask, values, case.hyper["gamma"], case.hyper["td_lambda"]
        )
        case.check(key, torch.where(whole[:, None, None], ours.flatten(2), _flat(case, key)))


def _flat(case: Case, key: str) -> torch.Tensor:
    stored = case.arrays[key]
    return stored.reshape(*stored.shape[:2], -1)


def check_quantile_huber(case: Case) -> None:
    """Quantile Huber loss per step, its masked mean and its gradient."""
    theta, target = case.leaf("theta"), case.get("target")
    tau, mask = case.get("tau"), case.get("mask")[..., 0] > 0
    case.check("out/loss_per_step", losses.quantile_huber_elements(theta, target, tau))
    loss = losses.quantile_huber(theta, target, tau, mask)
    case.check("out/loss", loss)
    loss.backward()
    case.check_gradient("theta", theta)


def check_cvar_levels(case: Case) -> None:
    """CVaR at every level, against the textbook's definition."""
    atoms = case.get("atoms")
    levels = [round(float(level), 6) for level in case.get("levels")]
    ours = torch.stack([risk.cvar(atoms, level) for level in levels], dim=-1)
    case.check("out/cvar_textbook", ours)


def risk_parts(case: Case) -> list[str]:
    """The measures of a case, and the distortion functions if it has them."""
    keys = [row["key"].removeprefix("out/") for row in case.entry["cases"]]
    return keys + (["distortion"] if any("distortion" in key for key in case.arrays) else [])


DENSITIES = {"wang": risk.wang_density, "cpw": risk.cpw_density}


def check_risk_measure(case: Case, part: str) -> str | None:
    """One measure; returns why it cannot be compared, or None if it was."""
    if part == "distortion":
        return _check_densities(case)
    row = next(r for r in case.entry["cases"] if r["key"] == f"out/{part}")
    name = {"neutral": "mean"}.get(row["risk_type"], row["risk_type"])
    z, level, uneven = case.get("z"), row["risk_param"], row["p"] == "random"
    shares = case.get(f"p_{row['p']}")
    shares = (shares / shares.sum(dim=-1, keepdim=True))[..., None, :]
    middle = (shares.cumsum(dim=-1) - shares / 2)[:, :, 0, 0]
    case.check(f"out/tau_hat_{row['p']}", middle)
    if name == "cvar" and (uneven or not math.isclose(level * z.shape[-1] % 1, 0.0)):
        return "left out: the reference's CVaR rounds the level to whole quantiles, ours is exact"
    if name == "var" and uneven:
        return "left out: the reference picks a quantile by its rank whatever the probabilities"
    ours = risk.RISKS[name](z, level, shares if uneven else None)
    if name in DENSITIES:  # the reference's weights do not sum to 1
        density = DENSITIES[name](shares.cumsum(dim=-1) - shares / 2, level)
        if (density > 5).any():
            return "left out: the reference clamps weights above 5, ours does not"
        ours = ours * (density * shares).sum(dim=-1)
    case.check(row["key"], ours, rtol=1e-6, atol=1e-6)
    return None


def _check_densities(case: Case) -> None:
    tau, compared = case.get("tau_grid"), 0
    for key in [k for k in case.arrays if k.startswith("out/distortion_deriv_")]:
        name, level = key.removeprefix("out/distortion_deriv_").rsplit("_", 1)
        if name in DENSITIES:
            stored = case.arrays[key]
            ours = DENSITIES[name](tau, float(level.replace("p", ".").replace("m", "-")))
            unclamped = stored < 5
            case.check(key, torch.where(unclamped, ours, stored), rtol=1e-5, atol=1e-5)
            compared += int(unclamped.sum())
    assert compared > 20


def check_pcgrad_vectors(case: Case) -> None:
    """Two task gradients in every position to each other."""
    names = sorted(k.removeprefix("in/").removesuffix("_g1") for k in case.arrays if "_g1" in k)
    assert names
    for name in names:
        g_1, g_2 = case.get(f"{name}_g1"), case.get(f"{name}_g2")
        has_1, has_2 = case.get(f"{name}_has1") > 0, case.get(f"{name}_has2") > 0
        merged = gradients.pcgrad_over_masks(g_1, g_2, has_1, has_2)
        case.check(f"out/{name}_merged_mean", merged)
        merged = gradients.pcgrad_over_masks(g_1, g_2, has_1, has_2, reduction="sum")
        # This reference adds 1e-7 to the squared norm it divides by.
        case.check(f"out/{name}_merged_sum_official", merged, rtol=1e-6, atol=1e-6)
        ours = gradients.pcgrad(g_1, g_2, 0.5, 0.5)
        case.check(f"out/{name}_eq7_half", ours.gradient)


def check_pcgrad_network(case: Case) -> None:
    """Two conflicting losses of one small network, the head touched by the second only."""
    net, head = case.weights("net"), case.weights("head")
    parameters = [net[f"{k}.{p}"] for k in (0, 2) for p in ("weight", "bias")]
    parameters += [head["weight"], head["bias"]]
    parameters = [p.clone().requires_grad_() for p in parameters]
    w_0, b_0, w_2, b_2, w_head, b_head = parameters
    x, y, c = case.get("x"), case.get("y"), case.get("c")
    z = F.linear(F.relu(F.linear(x, w_0, b_0)), w_2, b_2)
    first = (z - y).square().mean()
    second = (F.linear(z, w_head, b_head) - c).square().mean() - 0.7 * first
    flat, has = [], []
    for loss in (first, second):
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        pairs = list(zip(found, parameters, strict=True))
        flat.append(
            torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])
        )
        has.append(torch.cat([torch.full((p.numel(),), g is not None) for g, p in pairs]))
    case.check("out/loss1", first)
    case.check("out/loss2", second)
    case.check("out/g1", flat[0])
    case.check("out/g2", flat[1])
    case.check("out/merged_mean", gradients.pcgrad_over_masks(*flat, *has))
