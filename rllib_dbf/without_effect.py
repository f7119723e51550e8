"""RLlib's settings that a team does not follow: refused, and not ignored."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils import force_list

_INSTEAD = {
    "model": "hidden_dim and the other sizes",
    "optimizer": "optimizer_name and optimizer_eps",
    "grad_clip_by": "grad_clip, which bounds the norm of the whole gradient",
    "num_epochs": "updates_per_collection",
    "minibatch_size": "batch_episodes",
    "train_batch_size": "batch_episodes",
    "_train_batch_size_per_learner": "batch_episodes",
    "rollout_fragment_length": "episodes_per_update: whole episodes are played",
    "batch_mode": "episodes_per_update: whole episodes are played",
    "clip_rewards": "rewards of the environment's own (SMAX: reward_scale)",
    "observation_filter": "observations of the environment's own",
    "preprocessor_pref": "observations of the environment's own",
    "_env_to_module_connector": "observations of the environment's own",
    "_module_to_env_connector": "action_correction, or actions of the environment's own",
    "_learner_connector": "an objective of your own (docs/extending.md)",
    "exploration_config": "epsilon",
    "count_steps_by": "",
    "shuffle_batch_per_epoch": "",
    "episode_lookback_horizon": "",
    "compress_observations": "",
    "torch_compile_learner": "record_updates, which is for GPUs",
    "torch_compile_worker": "",
    "torch_skip_nan_gradients": "",
    "num_aggregator_actors_per_learner": "",
}
_NEVER_CALLED = ("on_episode_created", "on_episode_start", "on_episode_step")
_BARE = AlgorithmConfig()


def refuse_without_effect(config: Any) -> None:
    """Refuse settings of RLlib that say something else than its defaults and change nothing here.

    Raises:
        ValueError: With what to set instead.
    """
    if config._model_config != _BARE._model_config:
        raise ValueError(
            f"model_config={config._model_config!r} is not for teams, whose networks' sizes are "
            "settings of their own; leave it out, or set hidden_dim and the other sizes"
        )
    if config.in_evaluation:
        return  # RLlib sets some itself
    for name, instead in _INSTEAD.items():
        value = getattr(config, name, None)
        if value == getattr(_BARE, name, None):
            continue
        shown = name.removeprefix("_")
        remedy = f", or set {instead}" if instead else ""
        raise ValueError(f"{shown}={value!r} has no effect on teams; leave it out{remedy}")
    for name in _NEVER_CALLED:
        overrides = (getattr(x, name) is not getattr(RLlibCallback, name) for x in _classes(config))
        if getattr(config, f"callbacks_{name}") or any(overrides):
            raise ValueError(
                f"callbacks: {name} is never called, since all games are stepped as one; use "
                "on_episode_end, whose `episode` has every step, or on_sample_end"
            )
    if set(config.policies) != set(_BARE.policies):
        raise ValueError(
            f"policies={sorted(map(str, config.policies))} is not possible: a team is one policy, "
            "which all its agents share; leave multi_agent(…) out"
        )


def _classes(config: Any) -> list[type]:
    return list(force_list(config.callbacks_class))
