"""Configurations small enough for tests; every setting they shrink is listed here."""

from rllib_dbf.config import DBFConfig


def small(preset: str, env: str = "toy/pit_corridor", seed: int = 3, **training) -> DBFConfig:
    """A run that updates after 8 episodes and reports every 300 steps."""
    settings = {
        "learning_starts": 8,
        "batch_episodes": 8,
        "episodes_per_update": 8,
        "target_update_interval": 40,
        "epsilon": [(0, 1.0), (2_000, 0.05)],
        "replay_capacity": 200,
        **training,
    }
    return (
        DBFConfig(preset=preset)
        .environment(env)
        .env_runners(num_envs_per_env_runner=8)
        .training(**settings)
        .evaluation(evaluation_interval=2, evaluation_duration=5)
        .reporting(min_sample_timesteps_per_iteration=300)
        .debugging(seed=seed, log_level="ERROR")
    )


def weights(algo) -> dict:
    """Every weight of the learner's module, targets included, wherever it is, as NumPy arrays."""
    module = algo.learner_group._learner.module["default_policy"]
    return {name: x.cpu().numpy().copy() for name, x in module.state_dict().items()}
