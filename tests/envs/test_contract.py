"""Every environment keeps the contract, and the check notices when one does not."""

import numpy as np
import pytest

from rllib_dbf.envs import TeamSpec, TeamStep, check_team_env, list_envs, make_env
from rllib_dbf.envs.toy import ToyEnv
from rllib_dbf.envs.toy_corridor import PitCorridor

SMAX = ["smax/3m", "smax/2s3z", "smax/8m_vs_9m", "smax/smacv2_5_units"]
TOYS = [name for name in list_envs() if name.startswith("toy/")]


@pytest.mark.parametrize("name", TOYS)
def test_toys_keep_the_contract(name):
    check_team_env(name).raise_if_failed()


@pytest.mark.parametrize("name", SMAX)
def test_smax_keeps_the_contract(name):
    report = check_team_env(name, num_envs=2)
    report.raise_if_failed()
    assert not [finding for finding in report.findings if finding.verdict == "not tested"]


def corridor(num_envs):
    return make_env("toy/pit_corridor", num_envs, n_agents=3)


def failures(env, **settings):
    report = check_team_env(env, **settings)
    with pytest.raises(AssertionError) as error:
        report.raise_if_failed()
    assert str(error.value) == str(report)
    return {finding.name for finding in report.findings if finding.verdict == "failed"}


class Broken(ToyEnv):
    """A corridor with one flaw, written into every step it shows."""

    def __init__(self, num_envs, **flaw):
        super().__init__(corridor(1)._game, num_envs)
        self.flaw, self.made = flaw, num_envs

    def _show(self):
        step = super()._show()
        return step._replace(**{key: change(step) for key, change in self.flaw.items()})


FLAWS = {
    "shapes and dtypes": {"reward": lambda step: step.reward.astype(np.float64)},
    "numbers are finite": {"state": lambda step: step.state / np.float32(0)},
    "alive only falls": {
        "alive": lambda step: step.alive & (np.round(step.state[:, -1:] * 12) % 2 == 0)
    },
    "new_deaths fits alive": {"new_deaths": lambda step: np.ones_like(step.new_deaths)},
    "the dead see zeros and may only no-op": {"obs": lambda step: step.obs + np.float32(1)},
    "everybody has a legal action": {"avail": lambda step: np.zeros_like(step.avail)},
    "terminated excludes truncated": {
        "terminated": lambda step: step.terminated | step.truncated,
        "truncated": lambda step: step.terminated | step.truncated,
    },
    "outcome at the end and only there": {"outcome": lambda step: ("win",) * len(step.outcome)},
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_in_a_step_is_noticed(name):
    assert name in failures(lambda num_envs: Broken(num_envs, **FLAWS[name]))


def test_episodes_that_depend_on_the_number_of_copies_are_noticed():
    shifted = {"obs": lambda step: step.obs + np.float32(len(step.outcome)) * step.alive[..., None]}
    assert failures(lambda num_envs: Broken(num_envs, **shifted)) == {
        "whatever the number of copies and the slot"
    }


def test_episodes_that_depend_on_chance_are_noticed():
    chance = np.random.default_rng(0)
    noise = {"state": lambda step: chance.random(step.state.shape, np.float32)}
    assert "same seed and actions, same episode" in failures(lambda size: Broken(size, **noise))


def test_accepted_illegal_actions_are_noticed(monkeypatch):
    monkeypatch.setattr("rllib_dbf.envs.toy.require_legal", lambda *arguments: None)
    assert "illegal actions raise ValueError" in failures(corridor)


def test_results_that_change_later_are_noticed():
    class Reusing(ToyEnv):
        """Shows the same arrays in every step."""

        def _show(self):
            step = super()._show()
            self.memory = getattr(self, "memory", step)
            for old, new in zip(self.memory[:-1], step[:-1], strict=True):
                old[...] = new
            return self.memory._replace(outcome=step.outcome)

    game = corridor(1)._game
    assert "shown arrays stay as they were" in failures(lambda size: Reusing(game, size))


def test_an_episode_limit_that_is_too_small_is_noticed():
    class Long(PitCorridor):
        """Says that it ends two steps earlier than it does."""

        def start(self, seeds):
            self.spec = self.spec._replace(episode_limit=2)
            return super().start(seeds)

        def play(self, world, actions):
            self.spec = self.spec._replace(episode_limit=12)
            return super().play(world, actions)

    game = Long(2, 0.5, 6.0, 10.0, 1.0, 12)
    env = ToyEnv(game, 4)
    assert env.spec.episode_limit == 12  # taken before the first start
    env.spec = env.spec._replace(episode_limit=2)
    assert "episodes end in time" in failures(env)


def test_an_instance_is_checked_as_far_as_one_instance_goes():
    report = check_team_env(corridor(3))
    report.raise_if_failed()
    untested = {finding.name for finding in report.findings if finding.verdict == "not tested"}
    assert "whatever the number of copies and the slot" in untested
    assert "toy" in str(report).lower()


def test_an_environment_that_cannot_be_played_is_reported():
    def unable(num_envs):
        env = corridor(num_envs)
        env.step = lambda actions: 1 / 0
        return env

    report = check_team_env(unable)
    assert not report.ok and "ZeroDivisionError" in str(report)


def test_the_types_are_exported():
    assert TeamSpec._fields[0] == "n_agents" and TeamStep._fields[0] == "obs"
