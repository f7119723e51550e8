"""RLlib's callbacks: those that can be called are, the others are refused."""

import pytest
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_dbf.episode import TeamEpisode
from tests.rllib.small import small


class Noting(RLlibCallback):
    """Tells metrics what it was called with."""

    def on_environment_created(self, *, env_runner, metrics_logger, env, env_context, **kwargs):
        assert env is env_runner.env and env_context == {}
        env_runner.noted = []

    def on_episode_end(
        self, *, episode, env_runner, metrics_logger, env, env_index, rl_module, **kwargs
    ):
        assert isinstance(episode, TeamEpisode) and rl_module is env_runner.module
        assert env is env_runner.env and env_index == -1
        env_runner.noted.append(episode)
        metrics_logger.log_value("noted_return", float(episode.reward.sum()), window=100)

    def on_sample_end(self, *, env_runner, metrics_logger, samples, **kwargs):
        assert samples == env_runner.noted[len(env_runner.noted) - len(samples) :]
        metrics_logger.log_value("noted_episodes", len(samples), reduce="sum")


@pytest.mark.parametrize("runners", [0, 1])
def test_every_episode_is_told_once(runners):
    config = small("qmix").env_runners(num_env_runners=runners).callbacks(Noting)
    algo = config.build_algo()
    for _ in range(2):
        results = algo.train()
    found = results["env_runners"]
    assert -100.0 < found["noted_return"] < 100.0
    assert found["noted_episodes"] == found["num_episodes"]
    assert results["evaluation"]["env_runners"]["noted_episodes"] == 5
    if not runners:
        assert len(algo.env_runner.noted) == found["num_episodes_lifetime"]
    algo.stop()


def test_functions_are_called_as_well():
    told = []
    algo = small("qmix").callbacks(on_sample_end=lambda samples, **_: told.append(samples))
    algo = algo.build_algo()
    algo.train()
    assert sum(map(len, told)) == algo.replay.episodes_added
    algo.stop()


def test_the_documented_callback_is_called(root):
    text = (root / "docs" / "extending.md").read_text(encoding="utf-8").split("## Callbacks")[1]
    scope = {}
    exec(text.split("```python\n")[1].split("```")[0], scope)
    algo = small("qmix").callbacks(scope["FirstDeath"]).build_algo()
    assert algo.train()["env_runners"]["first_death_step"] >= 1.0
    algo.stop()


class Stepping(RLlibCallback):
    def on_episode_step(self, **kwargs):
        """Of no use."""


@pytest.mark.parametrize(
    "given",
    [
        {"callbacks_class": Stepping},
        {"callbacks_class": [RLlibCallback, Stepping]},
        {"on_episode_start": print},
    ],
)
def test_those_that_would_never_be_called_are_refused(given):
    with pytest.raises(ValueError, match=r"is never called.*use on_episode_end"):
        small("qmix").callbacks(**given).validate()
