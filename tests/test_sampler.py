import itertools

import numpy as np
import pytest
import torch

from rllib_dbf.envs import EpisodeLostError, make_env
from rllib_dbf.envs.stacked import StackedTeamEnv
from rllib_dbf.evaluation import play_episodes
from rllib_dbf.exploration import EpsilonSchedule, choose, draw_exploration, epsilon_greedy
from rllib_dbf.nets.utility import Memory
from rllib_dbf.sampler import Sampler
from tests.envs.tasks import Walk
from tests.pytorch_alone import pytorch_alone


class FixedPolicy:
    """Prefers action 1, then 0; counts the steps each agent has played in its memory."""

    def initial_memory(self, rows):
        return Memory(torch.zeros(rows, 1), torch.zeros(rows, 0))

    def allowed_actions(self, obs, avail):
        return None

    def exploration_probabilities(self, avail, memory):
        return None

    def scores(self, obs, last_actions, avail, memory):
        scores = -torch.arange(avail.shape[-1]).float().sub(1).abs()
        return scores.expand(avail.shape).clone(), memory._replace(hidden=memory.hidden + 1)


def sampler(env="toy/pit_corridor", envs=7, epsilon=0.3, seed=0) -> Sampler:
    rng = np.random.default_rng(seed)
    return Sampler(make_env(env, envs), FixedPolicy(), lambda _: epsilon, rng, itertools.count())


def episodes(s: Sampler, n: int):
    while len(s.finished) < n:
        s.step()
    return s.take_finished(n)


def test_episodes_are_whole_legal_and_carry_the_probability_of_their_actions():
    for e in episodes(sampler(), 40):
        assert len(e.obs) == len(e.reward) + 1 == len(e.actions) + 1
        assert e.terminated != e.truncated
        assert e.illegal_actions == 0
        legal = np.take_along_axis(e.avail[:-1], e.actions[..., None].astype(int), -1)
        assert legal.all()
        forced = e.avail[:-1].sum(-1) == 1
        assert np.allclose(e.behaviour_prob[forced], 1.0)
        assert e.deaths.sum() == (~e.alive[-1]).sum()


def test_behaviour_probabilities_are_those_of_epsilon_greedy():
    """Monte Carlo: how often the greedy action is taken matches the probability recorded."""
    first = episodes(sampler(epsilon=0.5), 3000)
    legal = first[0].avail[0, 0].sum()
    taken = np.array([e.actions[0, 0] == 1 for e in first])
    expected = 0.5 / legal + 0.5
    assert abs(taken.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / len(first))
    assert np.allclose([e.behaviour_prob[0, 0] for e, t in zip(first, taken) if t], expected)
    assert np.allclose([e.behaviour_prob[0, 0] for e, t in zip(first, taken) if not t], 0.5 / legal)


@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.37, 1.0])
@pytest.mark.parametrize("actions", [1, 2, 9])
def test_compiled_choices_are_those_of_numpy_to_the_bit(epsilon, actions):
    draw = np.random.default_rng(1)
    scores = draw.integers(-3, 3, size=(500, 3, actions)).astype(np.float32)  # with equals
    avail = draw.random(scores.shape) < 0.6
    avail[..., -1] |= ~avail.any(axis=-1)
    scores[7, 1, 0] = scores[8, 2, -1] = np.nan
    scores[9] = -np.inf
    found = choose(scores, avail, epsilon, np.random.default_rng(5))
    with pytorch_alone():
        expected = choose(scores, avail, epsilon, np.random.default_rng(5))
    for one, two in zip(found, expected, strict=True):
        assert one.dtype == two.dtype and np.array_equal(one, two)


def test_memory_and_last_action_start_afresh_with_each_episode():
    s = sampler(envs=3)
    for _ in range(50):
        s.step()
        assert np.array_equal(s._memory.hidden.view(3, -1)[:, 0].numpy(), s._t)
        assert (s._last[s._t == 0] == -1).all()


def test_the_same_seed_gives_the_same_episodes():
    one, two = (episodes(sampler(), 30) for _ in range(2))
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(one, two, strict=True))


def test_abandoned_episodes_are_dropped_and_never_played_again():
    s = sampler(envs=3)
    for _ in range(2):
        s.step()
    running = set(s._seed.tolist())
    s.abandon()
    after = [e.seed for e in episodes(s, 12)]
    assert not running & set(after)
    assert len(set(after)) == 12


def test_a_restored_sampler_continues_exactly():
    s = sampler()
    for _ in range(5):
        s.step()
    state, rng = s.get_state(), s.rng.bit_generator.state
    expected = episodes(s, 20)
    other = sampler(seed=1)
    other.set_state(state)
    other.rng.bit_generator.state = rng
    other._seeds = itertools.count(64)
    for a, b in zip(expected, episodes(other, 20), strict=True):
        assert np.array_equal(a.obs, b.obs)
        assert np.array_equal(a.actions, b.actions)
        assert a.seed == b.seed


@pytest.mark.parametrize("envs", [1, 4, 32])
def test_evaluation_plays_each_seed_once_whatever_the_batch(envs):
    env = make_env("toy/pit_corridor", envs)
    seeds = [5, 3, 1000, 7, 8, 9, 10, 11, 12]
    played = play_episodes(env, FixedPolicy(), seeds, lambda _: 0.0, np.random.default_rng(0))
    assert [e.seed for e in played] == seeds
    alone = make_env("toy/pit_corridor", 1)
    for e in played[:3]:
        (same,) = play_episodes(
            alone, FixedPolicy(), [e.seed], lambda _: 0.0, np.random.default_rng(1)
        )
        assert np.array_equal(e.obs, same.obs)
        assert np.array_equal(e.reward, same.reward)


def test_epsilon_follows_its_points():
    epsilon = EpsilonSchedule([(0, 1.0), (100, 0.2)])
    assert [epsilon(t) for t in (0.0, 50.0, 100.0, 1e9)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert EpsilonSchedule(0.1)(7.0) == pytest.approx(0.1)


def test_a_correction_overrules_greedy_actions_and_leaves_exploration_alone():
    """Three actions; the greedy 2 is not allowed, so 1, the best allowed one, stands in for it."""
    n, epsilon = 30_000, 0.6
    avail = np.ones((n, 1, 3), bool)
    exploration = draw_exploration(avail, epsilon, np.random.default_rng(0))
    proposed, corrected = np.full((n, 1), 2), np.full((n, 1), 1)
    executed, prob = epsilon_greedy(corrected, avail, exploration, epsilon)
    for action, expected in ((0, 0.2), (1, 0.6), (2, 0.2)):
        assert np.mean(executed == action) == pytest.approx(expected, abs=0.01)
        assert np.allclose(prob[executed == action], expected)
    wanted, _ = epsilon_greedy(proposed, avail, exploration, epsilon)
    assert (wanted == executed)[exploration[0]].all()
    assert draw_exploration(avail, 0.0, np.random.default_rng(0)) is None


class Fragile(Walk):
    """Loses the first episode of every even seed after two steps."""

    lost: set[int] = set()  # noqa: RUF012

    def step(self, actions):
        shown = super().step(np.zeros_like(actions))
        if self._time == 2 and self._seed % 2 == 0 and self._seed not in self.lost:
            self.lost.add(self._seed)
            raise EpisodeLostError("connection lost")
        return shown


def test_episodes_that_the_simulator_lost_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(Fragile, "lost", set())
    env = StackedTeamEnv(Fragile, 3)
    s = Sampler(env, FixedPolicy(), lambda _: 0.0, np.random.default_rng(0), itertools.count())
    played = episodes(s, 6)
    assert all(e.seed % 2 == 1 and len(e) == 5 for e in played)
    assert s.crashed == len(Fragile.lost) >= 5


def test_an_evaluation_plays_lost_episodes_again(monkeypatch):
    monkeypatch.setattr(Fragile, "lost", set())
    env = StackedTeamEnv(Fragile, 2)
    played = play_episodes(env, FixedPolicy(), [4, 5, 6], lambda _: 0.0, np.random.default_rng(0))
    assert [e.seed for e in played] == [4, 5, 6] and {4, 6} <= Fragile.lost
    assert all(len(e) == 5 for e in played)


class Cursed(Walk):
    """Loses every episode of seed 5."""

    def step(self, actions):
        shown = super().step(np.zeros_like(actions))
        if self._time == 2 and self._seed == 5:
            raise EpisodeLostError("connection lost")
        return shown


def test_a_seed_that_loses_its_episode_again_and_again_gives_way_to_another(caplog):
    env = StackedTeamEnv(Cursed, 2)
    played = play_episodes(env, FixedPolicy(), [4, 5, 6], lambda _: 0.0, np.random.default_rng(0))
    first, other, last = (e.seed for e in played)
    assert (first, last) == (4, 6) and other not in (4, 5, 6)
    assert f"seed 5 crashes its episode again and again; {other} instead" in caplog.text
    assert caplog.text.count("lost its episode") == 3


def test_exploring_agents_draw_from_what_the_policy_gives():
    avail = np.ones((4_000, 1, 4), bool)
    avail[..., 3] = False
    wanted = np.tile(np.array([0.7, 0.3, 0.0, 0.0], np.float32), (4_000, 1, 1))
    rng = np.random.default_rng(0)
    exploration = draw_exploration(avail, 0.5, rng, wanted)
    shares = np.bincount(exploration.action.ravel(), minlength=4) / 4_000
    np.testing.assert_allclose(shares, [0.7, 0.3, 0.0, 0.0], atol=0.03)
    greedy = np.ones((4_000, 1), np.int64)
    actions, prob = epsilon_greedy(greedy, avail, exploration, 0.5)
    np.testing.assert_allclose(prob[actions == 0], 0.35, rtol=1e-6)
    np.testing.assert_allclose(prob[actions == 1], 0.65, rtol=1e-6)
    assert abs((actions == 0).mean() - 0.35) < 0.03


def test_rounding_never_draws_an_impossible_action():
    # Half of the probability is missing here, where rounding loses some 1e-7.
    probabilities = np.tile(np.array([0.2, 0.2, 0.1, 0.0], np.float32), (10_000, 1, 1))
    avail = np.tile([True, True, True, False], (10_000, 1, 1))
    drawn = draw_exploration(avail, 0.5, np.random.default_rng(0), probabilities).action
    assert np.bincount(drawn.ravel(), minlength=4)[3] == 0
    assert abs((drawn == 2).mean() - 0.2) < 0.02
