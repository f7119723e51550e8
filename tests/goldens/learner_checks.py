"""Checker of whole training steps: loss and parameter gradients on a given batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rllib_dbf import loss_terms
from rllib_dbf.nets.mixers import make_mixer, mixer_penalty
from rllib_dbf.nets.mixers.sizes import MixerSizes
from rllib_dbf.nets.team_network import TeamNetwork
from rllib_dbf.objectives import make_options
from rllib_dbf.objectives.qtran import qtran_base_loss
from rllib_dbf.team import TeamBatch

from . import name_maps
from .cases import Case
from .joint_checks import joint_critic
from .network_checks import check_parameter_gradients, make_loaded_mixer, make_utility


class Parts(NamedTuple):
    """What a reference learner consists of, in our words."""

    head: str
    mixer: str
    loss: str
    factor: float = 1.0  # reference loss = factor x ours


LEARNERS = {
    "learner_iql": Parts("expected", "independent", "squared"),
    "learner_vdn": Parts("expected", "sum", "squared"),
    "learner_qmix": Parts("expected", "qmix", "squared"),
    "learner_pymarl2_qmix": Parts("expected", "qmix", "squared", factor=0.5),
    "learner_qplex": Parts("expected", "qplex", "squared"),
    "learner_qplex_qatten": Parts("expected", "qplex_qatten", "squared"),
    "learner_pymarl2_qplex": Parts("expected", "qplex", "squared", factor=0.5),
    "learner_pymarl2_qatten": Parts("expected", "qatten", "squared", factor=0.5),
    "learner_dplex": Parts("iqn", "mean_shape(qplex_qatten)", "quantile_huber"),
    "learner_diql": Parts("iqn", "independent", "quantile_huber"),
    "learner_ddn": Parts("iqn", "mean_shape(sum)", "quantile_huber"),
    "learner_dmix": Parts("iqn", "mean_shape(qmix)", "quantile_huber"),
    "learner_dmix_doubleq": Parts("iqn", "mean_shape(qmix)", "quantile_huber"),
}


def team_batch(case: Case) -> TeamBatch:
    """The reference's replay batch as ours."""
    filled = case.get("filled")[:, :-1, 0] > 0
    terminated = case.get("terminated")[:, :-1, 0] > 0
    mask = filled.clone()
    mask[:, 1:] &= ~terminated[:, :-1]
    avail = case.get("avail_actions") > 0
    avail[..., 0] |= ~avail.any(dim=-1)  # padding has one legal action
    actions = case.get("actions")[:, :-1, :, 0]
    obs = case.get("obs")
    return TeamBatch(
        obs=obs,
        state=case.get("state"),
        avail=avail,
        alive=torch.ones(avail.shape[:3], dtype=torch.bool),
        deaths=obs.new_zeros(obs.shape[:2]),
        actions=actions,
        behaviour_prob=obs.new_ones(actions.shape),
        reward=case.get("reward")[:, :-1, 0],
        terminated=terminated,
        mask=mask,
    )


def _network(case: Case, parts: Parts, batch: TeamBatch, prefix: str) -> TeamNetwork:
    agents = batch.actions.shape[2]
    utility = make_utility(case, batch.obs.shape[-1], parts.head, n_agents=agents)
    name_maps.load(utility, case.weights(f"{prefix}agent"), name_maps.AGENT)
    if parts.mixer == "sum":  # QTRAN keeps the joint critic in the mixer's place
        return TeamNetwork(utility, make_mixer("sum", agents, 1, 1, 1))
    mixer = make_loaded_mixer(
        case, parts.mixer, agents, batch.state.shape[-1], batch.avail.shape[-1]
    )
    if case.weights(f"{prefix}mixer"):
        weights = case.weights(f"{prefix}mixer")
        name_maps.load(mixer, weights, name_maps.MIXER_MAPS[parts.mixer])
    return TeamNetwork(utility, mixer)


def _tau(case: Case, name: str, batch: TeamBatch) -> Tensor:
    """Fractions as [B, T+1, 1 or N, K]; of no account for expected values."""
    episodes, steps = batch.state.shape[:2]
    if f"in/{name}" not in case.arrays:
        return batch.obs.new_full((episodes, steps, 1, 1), 0.5)
    tau = case.get(name)  # [T+1, rows, K], rows b or b*n + i
    return tau.transpose(0, 1).reshape(episodes, -1, steps, tau.shape[-1]).transpose(1, 2)


def _settings(case: Case, loss: str, **options: float) -> loss_terms.TDSettings:
    return loss_terms.TDSettings(
        loss=loss,
        gamma=case.hyper["gamma"],
        td_lambda=case.hyper.get("td_lambda", 0.0),
        double_q=case.hyper.get("double_q", True),
        options=make_options("qtran_base", options) if options else (),
    )


def _taus(case: Case, batch: TeamBatch) -> loss_terms.Taus:
    return loss_terms.Taus(_tau(case, "tau_online", batch), _tau(case, "tau_target", batch))


def _check_norm(case: Case, online: TeamNetwork, factor: float = 1.0) -> None:
    gradients = [p.grad for network in online for p in network.parameters()]
    norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients if g is not None]))
    case.check("out/grad_norm", factor * norm)


def check_learner(case: Case, parts: Parts) -> None:
    """One training step up to the unclipped gradients of all online parameters."""
    batch = team_batch(case)
    online, target = (_network(case, parts, batch, prefix) for prefix in ("", "target_"))
    settings = _settings(case, parts.loss)
    loss, _ = loss_terms.td_loss(online, target, batch, _taus(case, batch), settings)
    # The references penalise attention to padding as well; ours sees none of it.
    every = mixer_penalty(online.mixer, batch.state[:, :-1])
    if every is not None:
        loss = loss + every.mean() - every[batch.mask].mean()
    loss.backward()
    case.check("out/loss_td" if "out/loss_td" in case.arrays else "out/loss", parts.factor * loss)
    check_parameter_gradients(case, online.utility, "agent", name_maps.AGENT, parts.factor)
    rules = name_maps.MIXER_MAPS.get(parts.mixer, ())
    check_parameter_gradients(case, online.mixer, "mixer", rules, parts.factor)
    _check_norm(case, online, parts.factor)


def check_qtran(case: Case) -> None:
    """One training step of QTRAN-base, and its three losses."""
    batch = team_batch(case)
    agents, n_actions = batch.avail.shape[2:]
    sizes = MixerSizes(agents, n_actions, batch.state.shape[-1], case.hyper["rnn_hidden_dim"])

    def network(prefix: str) -> TeamNetwork:
        plain = _network(case, Parts("expected", "sum", "squared"), batch, prefix)
        critic = joint_critic(case, sizes, case.weights(f"{prefix}mixer"))
        return plain._replace(joint=critic)

    weights = {"opt_weight": float(case.hyper["opt_loss"])}
    weights["nopt_weight"] = case.hyper["nopt_min_loss"]
    settings = _settings(case, "squared", **weights)
    online, target = network(""), network("target_")
    loss, stats = qtran_base_loss(online, target, batch, _taus(case, batch), settings)
    loss.backward()
    case.check("out/loss", loss)
    for theirs, ours in (("td", "joint_td"), ("opt", "opt"), ("nopt", "nopt")):
        case.check(f"out/{theirs}_loss", stats[f"{ours}_loss"])
    check_parameter_gradients(case, online.utility, "agent", name_maps.AGENT)
    check_parameter_gradients(case, online.joint, "mixer", name_maps.QTRAN)
    _check_norm(case, online)
