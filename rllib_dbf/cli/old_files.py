"""Experiment files of Ray ≤ 2.40: what has a new name, and what has none any more."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rllib_dbf.cli.errors import CommandError

RENAMED_LIMITS = {
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "num_env_steps_sampled": "num_env_steps_sampled_lifetime",
    "agent_timesteps_total": "num_agent_steps_sampled_lifetime",
    "episode_reward_mean": "env_runners/episode_return_mean",
    "env_runners/episode_reward_mean": "env_runners/episode_return_mean",
    "sampler_results/episode_reward_mean": "env_runners/episode_return_mean",
    "episode_len_mean": "env_runners/episode_len_mean",
    "evaluation/episode_reward_mean": "evaluation/env_runners/episode_return_mean",
}
"""Stop criteria that mean the same under a new key."""

RENAMED_SETTINGS = {
    "num_workers": "num_env_runners",
    "num_rollout_workers": "num_env_runners",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
    "num_gpus_per_worker": "num_gpus_per_env_runner",
    "num_cpus_for_driver": "num_cpus_for_main_process",
    "num_cpus_for_local_worker": "num_cpus_for_main_process",
    "evaluation_num_workers": "evaluation_num_env_runners",
    "sgd_minibatch_size": "minibatch_size",
    "num_sgd_iter": "num_epochs",
    "lambda": "lambda_",
    "recreate_failed_workers": "restart_failed_env_runners",
    "recreate_failed_env_runners": "restart_failed_env_runners",
    "ignore_worker_failures": "ignore_env_runner_failures",
    "num_learner_workers": "num_learners",
    "num_gpus_per_learner_worker": "num_gpus_per_learner",
    "num_cpus_per_learner_worker": "num_cpus_per_learner",
}
"""Settings that live on under another name."""

REMOVED_SETTINGS = {
    "env_task_fn": "callbacks with on_episode_start",
    "num_gpus": "num_gpus_per_learner",
    "model": "model_config or rl_module_spec; for teams, settings such as hidden_dim",
    "multiagent": "policies and policy_mapping_fn",
    "buffer_size": "replay_capacity for teams, else replay_buffer_config",
    "prioritized_replay": "replay_buffer_config",
    "timesteps_per_iteration": "min_sample_timesteps_per_iteration",
    "min_time_s_per_reporting": "min_time_s_per_iteration",
    "min_iter_time_s": "min_time_s_per_iteration",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "collect_metrics_timeout": "metrics_episode_collection_timeout_s",
    "evaluation_num_episodes": "evaluation_duration",
    "horizon": "a time limit of the environment (env_config)",
    "soft_horizon": "a time limit of the environment (env_config)",
    "no_done_at_end": "truncated=True of the environment",
    "simple_optimizer": "nothing: it concerned the old API stack",
    "_disable_preprocessor_api": "nothing: it concerned the old API stack",
    "_fake_gpus": "nothing: it concerned the old API stack",
    "monitor": "rllib evaluate --render FILE",
    "record_env": "rllib evaluate --render FILE",
    "use_pytorch": "nothing: Torch is the only framework",
    "eager": "nothing: Torch is the only framework",
}
"""Settings that are gone. Some still have a keyword in RLlib, which the new API stack ignores."""

_IGNORED = {"num_gpus", "model", "_fake_gpus"}

KEYS_REMOVED = {
    "local_dir": "storage_path",
    "upload_dir": "storage_path",
    "resources_per_trial": "num_cpus_for_main_process or num_env_runners under config",
    "trial_resources": "num_cpus_for_main_process or num_env_runners under config",
    "sync_config": "a storage_path that all nodes can write to",
    "export_formats": "`rllib train` keeps RLlib checkpoints; leave it out",
    "max_failures": "restart_failed_env_runners under config, or `rllib resume --errored`",
    "scheduler": "--scheduler on the command line",
    "repeat": "num_samples",
}
"""Keys of an experiment that are refused, with what to write instead."""


def renewed_stop(stop: Mapping[str, Any]) -> dict[str, Any]:
    """Stop criteria with old keys replaced by those that results have now."""
    return {RENAMED_LIMITS.get(key, key): value for key, value in stop.items()}


def refuse_old_setting(key: str, value: Any, origin: str, known: Collection[str]) -> None:
    """Refuse a setting that no longer exists or no longer acts, naming what replaces it.

    Args:
        key: The setting, with or without its section.
        value: What was written.
        origin: Where, for the message.
        known: Settings of today: an old name may have a new meaning.

    Raises:
        CommandError: If it is one.
    """
    name = key.rpartition(".")[2]
    if name == "framework" and value not in ("torch", None):
        raise CommandError(
            f"framework {value!r} is gone, Torch is the only one (given in {origin})"
        )
    replacement = RENAMED_SETTINGS.get(name, REMOVED_SETTINGS.get(name))
    harmless = name in known and name not in _IGNORED
    if replacement is None or harmless or (name == "num_gpus" and not value):
        return
    verb = "is now called" if name in RENAMED_SETTINGS else "no longer exists; use"
    raise CommandError(f"setting {key!r} {verb} {replacement} (given in {origin})")
