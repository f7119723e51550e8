"""Toy games: values computed by hand."""

import itertools

import numpy as np
import pytest

from rllib_dbf.envs import make_env
from rllib_dbf.envs.counter_random import uniform

STAY, FORWARD, SIDESTEP = range(3)
SHORT, DETOUR = [FORWARD] * 4, [SIDESTEP, *[FORWARD] * 4, SIDESTEP]


def begin(env, first_seed=0):
    return env.reset(np.ones(env.num_envs, np.bool_), first_seed + np.arange(env.num_envs))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("second", itertools.product([0, 1], repeat=2))
def test_two_step_payoffs(first, second):
    env = make_env("toy/two_step", 1)
    start = begin(env)
    middle = env.step(np.array([[first, 1]]))
    end = env.step(np.array([second]))
    assert start.state[0].tolist() == [1, 0, 0, 0]
    assert middle.reward[0] == 0 and middle.state[0, 1 + first] == 1
    assert middle.outcome == ("",) and not middle.terminated[0]
    assert end.reward[0] == [[[7, 7], [7, 7]], [[0, 1], [1, 8]]][first][second[0]][second[1]]
    assert end.terminated[0] and end.outcome == ("end",) and not env.spec.has_win


def test_matrix_pays_its_table():
    env = make_env("toy/matrix", 9)
    begin(env)
    joint = np.array(list(itertools.product(range(3), repeat=2)))
    assert env.step(joint).reward.tolist() == [8, -12, -12, -12, 0, 0, -12, 0, 0]


def test_matrix_for_three_agents():
    payoffs = np.arange(8).reshape(2, 2, 2).tolist()
    env = make_env("toy/matrix", 2, payoffs=payoffs)
    begin(env)
    assert env.spec.n_agents == 3
    assert env.step(np.array([[1, 0, 1], [0, 1, 1]])).reward.tolist() == [5, 3]


def test_the_risky_arm_has_the_higher_mean_and_the_lower_tail():
    env = make_env("toy/risky_bandit", 20_000, n_agents=1)
    begin(env)
    safe = env.step(np.zeros((20_000, 1), np.int64)).reward
    begin(env)
    risky = np.sort(env.step(np.ones((20_000, 1), np.int64)).reward)
    assert (safe == 1).all()
    assert set(risky.tolist()) == {2.5, -8.0}
    assert risky.mean() == pytest.approx(1.45, abs=0.1)
    assert risky[:5_000].mean() == pytest.approx(-1.7, abs=0.4)


def test_bandit_rewards_add_up_over_independent_arms():
    env = make_env("toy/risky_bandit", 20_000)
    begin(env)
    both = env.step(np.ones((20_000, 2), np.int64)).reward
    assert set(both.tolist()) == {5.0, -5.5, -16.0}
    assert (both == -16).mean() == pytest.approx(0.01, abs=0.003)


def walk(env, *ways):
    """Play one list of actions per agent, then stay; returns the steps."""
    shown = [begin(env)]
    for time in range(env.spec.episode_limit):
        plan = [way[time] if time < len(way) else STAY for way in ways]
        actions = np.where(shown[-1].avail[:, :, 1], np.array([plan] * env.num_envs), STAY)
        sidesteps = shown[-1].avail[:, :, 2] & (np.array(plan) == SIDESTEP)
        actions = np.where(sidesteps, SIDESTEP, actions)
        shown.append(env.step(actions))
        if (shown[-1].terminated | shown[-1].truncated).all():
            break
    return shown


def returns(shown):
    return sum(step.reward for step in shown)


def test_corridor_detour_returns_four_per_agent_and_everyone_lives():
    shown = walk(make_env("toy/pit_corridor", 3), DETOUR, DETOUR)
    assert returns(shown).tolist() == [8, 8, 8] and len(shown) == 7
    assert shown[-1].outcome == ("win",) * 3 and shown[-1].alive.all()
    assert sum(step.new_deaths.sum() for step in shown) == 0


def test_corridor_certain_fall():
    shown = walk(make_env("toy/pit_corridor", 1, fall_probability=1.0), SHORT, DETOUR)
    assert shown[2].new_deaths.tolist() == [1] and shown[2].alive[0].tolist() == [False, True]
    assert shown[2].reward[0] == 6 - 2  # the fall, and a step of each
    assert returns(shown)[0] == (6 - 2) + (10 - 6)
    assert shown[-1].outcome == ("loss",) and shown[-1].terminated[0]
    assert sum(step.new_deaths[0] for step in shown) == 1  # the arrival is none


def test_corridor_pit_that_never_takes_anyone():
    shown = walk(make_env("toy/pit_corridor", 1, fall_probability=0.0), SHORT, SHORT)
    assert returns(shown)[0] == 2 * (10 - 4) and shown[-1].outcome == ("win",)


def test_corridor_short_way_pays_a_little_more_and_costs_lives():
    shown = walk(make_env("toy/pit_corridor", 4_000), SHORT, SHORT)
    deaths = sum(step.new_deaths for step in shown)
    assert returns(shown).mean() == pytest.approx(10, abs=0.1)
    assert deaths.mean() == pytest.approx(1, abs=0.05)
    assert ((deaths == 0) == (np.array(shown[-1].outcome) == "win")).all()


def test_corridor_time_limit_truncates():
    shown = walk(make_env("toy/pit_corridor", 1, time_limit=7), [STAY], DETOUR)
    assert len(shown) == 8 and shown[-1].outcome == ("timeout",)
    assert shown[-1].truncated[0] and not shown[-1].terminated[0]
    assert returns(shown)[0] == -7 + 4


def test_corridor_who_arrived_waits_alive():
    shown = walk(make_env("toy/pit_corridor", 1, n_agents=3), DETOUR, [STAY], [STAY])
    assert shown[6].alive[0, 0] and shown[6].avail[0, 0].tolist() == [True, False, False]
    assert shown[6].avail[0, 1].tolist() == [True, True, True]


def test_corridor_does_not_step_into_the_pit_from_beside_it_unpunished():
    env = make_env("toy/pit_corridor", 1, n_agents=1, fall_probability=1.0)
    shown = walk(env, [SIDESTEP, FORWARD, FORWARD, SIDESTEP])
    assert shown[4].new_deaths.tolist() == [1]


@pytest.mark.parametrize("name", ["toy/two_step", "toy/pit_corridor", "smax/3m"])
def test_bad_arguments_are_refused(name):
    env = make_env(name, 2)
    everyone, seeds = np.ones(2, np.bool_), np.arange(2)
    shown = env.reset(everyone, seeds)
    refused = (ValueError, TypeError)  # TypeError: jaxtyping, when its checks are on
    for mask, given in [
        (everyone[:1], seeds),
        (everyone, seeds[:1]),
        (everyone, seeds - 1),
        (everyone, seeds + 2**31),
        (everyone.astype(np.int64), seeds),
        (everyone, seeds.astype(np.float64)),
    ]:
        with pytest.raises(refused):
            env.reset(mask, given)
    good = np.full(shown.alive.shape, env.spec.noop_action)
    for actions in (good[:1], good[:, :1], good + 0.5, good + 99, good - 99):
        with pytest.raises(refused):
            env.step(actions)
    env.step(good)


def test_states_of_other_batches_are_refused():
    for name in ("toy/two_step", "smax/3m"):
        env, other = make_env(name, 2), make_env(name, 3)
        begin(env)
        with pytest.raises(ValueError, match="this state"):
            other.set_state(env.get_state())


def test_counter_random_is_uniform_and_depends_on_every_part():
    seeds, zeros = np.arange(50_000), np.zeros(50_000, np.int64)
    drawn = uniform(seeds, zeros, 3)
    assert drawn.min() >= 0 and drawn.max() < 1
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.02
    later = uniform(seeds, zeros + 1, 3)
    assert abs(np.corrcoef(drawn[:, 0], later[:, 0])[0, 1]) < 0.02
    assert (uniform(seeds[7:9], zeros[:2], 2) == drawn[7:9, :2]).all()
