"""Metric names and what they mean; the table in `docs/metrics.md` is made from this file."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_dbf.episode import TeamEpisode

EPISODE_METRICS = {
    "episode_return_mean": "team return per episode",
    "episode_len_mean": "steps per episode",
    "win_rate": "fraction of episodes won (absent where nothing can be won)",
    "timeout_rate": "fraction of episodes cut by the time limit",
    "deaths_mean": "agents that died per episode",
    "deaths_in_wins_mean": "agents that died per won episode (absent without a win)",
    "survivors_mean": "agents alive at the end of an episode",
    "illegal_actions": "actions outside the mask that were sent; always 0",
    "crashed_episodes": "episodes that the simulator lost so far; they are dropped (training only)",
    "epsilon": "exploration rate now (training only)",
}
LEARNER_METRICS = {
    "td_loss": "temporal-difference loss of the replayed episodes",
    "q_taken_mean": "mean team value of the actions taken",
    "target_mean": "mean TD target",
    "gradient_norm": "norm of the combined gradient before clipping",
    "barrier_loss": "eq. 5 on the latest K episodes, gated-out episodes counting 0",
    "gate_open_fraction": "fraction of the latest K episodes with more than ω deaths",
    "gradient_cosine": "cosine between TD and barrier gradient on the shared parameters",
    "gradient_conflict_rate": "fraction of updates (or layers) in which that cosine was negative",
    "gradient_norm_ratio": "norm of the barrier gradient over that of the TD gradient",
}
PART_METRICS = {
    "policy_temperature": 'T of the policy (with `policy_temperature="std"`)',
    "critic_loss": "squared error of the barrier critic, with the estimators that have one",
    "critic_explained_variance": "share of its target's variance that the barrier critic explains",
    "barrier_multiplier": 'price of a death (estimator "constraint")',
    "correction_loss": 'loss of the action correction (with `action_correction="cbf"`)',
    "ruled_out_fraction": "fraction of the available actions that the correction would overrule",
    "joint_td_loss": "temporal-difference loss of the joint critic (QTRAN, ResQ, ResZ, DRIMA)",
    "opt_loss": "misfit of the factorised value at greedy joint actions (QTRAN, DRIMA)",
    "nopt_loss": "misfit of the factorised value at other joint actions (QTRAN)",
    "residual_mean": "mean residual value, never positive (ResQ, ResZ)",
    "quantile_loss": "quantile loss of the agents' own returns (RMIX)",
}

POLICY_LAG_UPDATES = "policy_lag_updates"


def log_episodes(logger: Any, episodes: list[TeamEpisode], *, has_win: bool) -> None:
    """Log the means of `EPISODE_METRICS` over the given episodes to an RLlib MetricsLogger."""
    if not episodes:
        return
    wins = [e.outcome == "win" for e in episodes]
    deaths = [int(e.deaths.sum()) for e in episodes]
    values: dict[str, list] = {
        "episode_return_mean": [float(e.reward.sum(dtype=np.float64)) for e in episodes],
        "episode_len_mean": [len(e) for e in episodes],
        "timeout_rate": [e.truncated for e in episodes],
        "deaths_mean": deaths,
        "survivors_mean": [int(e.alive[-1].sum()) for e in episodes],
    }
    if has_win:
        values["win_rate"] = wins
        values["deaths_in_wins_mean"] = [d for d, won in zip(deaths, wins, strict=True) if won]
    for name, per_episode in values.items():
        if per_episode:
            logger.log_value(name, float(np.mean(per_episode)), window=1)
    logger.log_value("illegal_actions", sum(e.illegal_actions for e in episodes), reduce="sum")
