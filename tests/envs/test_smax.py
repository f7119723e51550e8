"""SMAX: equal to JaxMARL, endings and rewards told apart, compiled once, resets from the pool."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest

from rllib_dbf.compiled import library
from rllib_dbf.envs import list_envs, make_env
from tests.envs.smax_policies import attack, episodes, flee, idle, units_of, west
from tests.pytorch_alone import pytorch_alone

MAPS = ["3m", "2s3z", "8m_vs_9m", "smacv2_5_units"]


@pytest.fixture(params=["jax", "compiled"])
def simulation(request):
    """SMAX as XLA and as C code step it."""
    found = library.library()
    if request.param == "jax":
        with pytorch_alone():
            yield
    elif found.functions is None:
        pytest.skip(f"nothing to test: {found.reason}")
    else:
        yield


def returns(steps):
    return sum(step.reward for step in steps)


def begin(env, first_seed=0):
    return env.reset(np.ones(env.num_envs, np.bool_), first_seed + np.arange(env.num_envs))


def jaxmarl_episode(rules, seed):
    """JaxMARL itself: yields (obs, legal actions), is sent actions, yields (reward, over)."""
    import jax

    from rllib_dbf.envs.smax_kernels import make_simulator

    simulator = make_simulator(rules)
    key, reset_key = jax.random.split(jax.random.PRNGKey(seed))
    obs, state = simulator.reset(reset_key)
    over = False

    def shown():
        legal = simulator.get_avail_actions(state)
        return tuple(np.stack([each[a] for a in simulator.agents]) for each in (obs, legal))

    while not over:
        actions = yield shown()
        key, step_key = jax.random.split(key)
        given = {agent: actions[i] for i, agent in enumerate(simulator.agents)}
        obs, state, reward, done, _ = simulator.step_env(step_key, state, given)
        over = bool(done["__all__"])
        yield float(reward["ally_0"]), over
    yield shown()


@functools.cache
def recorded_episode(map_name, seed):
    """An episode of JaxMARL's, in which attackers play: lists of what it shows and is given."""
    with pytorch_alone():
        env = make_env(f"smax/{map_name}", 1, reward_scale=1.0)
    shown, theirs = begin(env, first_seed=seed), jaxmarl_episode(env._rules, seed)
    steps, over = [next(theirs)], False
    actions, rewards = [], []
    while not over:
        actions.append(attack(shown)[0])
        shown = env.step(actions[-1][None])
        reward, over = theirs.send(actions[-1])
        rewards.append(reward)
        steps.append(next(theirs))
    return steps, actions, rewards


@pytest.mark.parametrize("map_name", MAPS)
def test_episodes_are_jaxmarls(simulation, map_name):
    env = make_env(f"smax/{map_name}", 2, reward_scale=1.0)
    steps, recorded, rewards = recorded_episode(map_name, 6)
    shown = begin(env, first_seed=5)
    for t, (obs, legal) in enumerate(steps):
        np.testing.assert_allclose(shown.obs[1], obs, atol=1e-5)
        assert t == len(recorded) or (shown.avail[1] == legal).all()
        assert (shown.terminated[1] | shown.truncated[1]) == (t == len(recorded))
        if t < len(recorded):
            shown = env.step(np.stack([attack(shown)[0], recorded[t]]))
            assert shown.reward[1] == pytest.approx(rewards[t], abs=1e-5)


def test_random_numbers_are_jaxs():
    import jax

    from rllib_dbf.envs.jax_threefry import STRAIGHT_THREEFRY

    ours = jax.random.key(77, impl=STRAIGHT_THREEFRY)
    theirs = jax.random.key(77, impl="threefry2x32")
    for draw in (lambda key: jax.random.uniform(key, (3, 5)), lambda key: jax.random.bits(key)):
        assert (draw(ours) == draw(theirs)).all()
    for derive in (lambda key: jax.random.split(key, 7), lambda key: jax.random.fold_in(key, 9)):
        keys = jax.random.key_data(derive(ours)), jax.random.key_data(derive(theirs))
        assert (keys[0] == keys[1]).all()


@pytest.mark.parametrize("name", [name for name in list_envs() if name.startswith("smax/")])
def test_every_map_has_its_sizes(name):
    env = make_env(name, 1)
    simulator = env._task.simulator
    assert env.spec.n_agents == simulator.num_allies
    assert env.spec.n_actions == 5 + simulator.num_enemies
    assert env.spec.state_dim == 10 * (simulator.num_allies + simulator.num_enemies)
    assert env.spec.noop_action == 4 and env.spec.episode_limit == 101


def test_added_maps_have_the_right_units():
    shown = begin(make_env("smax/3s_vs_4z", 1))
    types = shown.state.reshape(7, 10)[:, 4:]
    assert types.argmax(axis=1).tolist() == [2, 2, 2, 3, 3, 3, 3]  # stalkers, zealots


def test_a_win_returns_twice_the_scale():
    for scale in (10.0, 1.0):
        env = make_env("smax/2m_vs_1z", 8, reward_scale=scale)
        steps = episodes(env, attack)
        won = np.array(steps[-1].outcome) == "win"
        assert won.all() and steps[-1].terminated.all() and not steps[-1].truncated.any()
        np.testing.assert_allclose(returns(steps), 2 * scale, rtol=1e-5)


def test_losses_and_draws_are_no_wins():
    env = make_env("smax/3m", 32)
    steps = episodes(env, attack, seed=100)
    outcome, last = np.array(steps[-1].outcome), steps[-1]
    assert {"win", "loss"} <= set(outcome) <= {"win", "loss", "draw"}
    # The enemies' health is gone in a win and in a draw, but only a win pays the bonus of 10.
    np.testing.assert_allclose(returns(steps)[outcome == "win"], 20, rtol=1e-5)
    assert (returns(steps)[outcome == "loss"] < 10).all()
    _, alive = units_of(last)
    assert (alive[:, 3:].any(axis=1) == (outcome == "loss")).all()
    assert (alive[:, :3].any(axis=1) == (outcome == "win")).all()
    deaths = sum(step.new_deaths for step in steps)
    assert (deaths == 3 - last.alive.sum(axis=1)).all()


def test_the_time_limit_truncates_at_step_101():
    steps = episodes(make_env("smax/3s_vs_3z", 4), flee)
    assert len(steps) == 1 + 101
    last, before = steps[-1], steps[-2]
    assert last.outcome == ("timeout",) * 4 and before.outcome == ("",) * 4
    assert last.truncated.all() and not last.terminated.any() and last.alive.any(axis=1).all()


def test_walls_kill_or_do_not():
    deadly = episodes(make_env("smax/3m", 2), west)
    assert deadly[-1].outcome == ("loss",) * 2
    assert returns(deadly).tolist() == [0, 0]  # nobody was shot: the wall did it
    harmless = make_env("smax/3m", 2, walls_cause_death=False)
    begin(harmless)
    steps = [harmless.step(np.full((2, 3), 3)) for _ in range(len(deadly) - 1)]
    assert all(step.new_deaths.sum() == 0 for step in steps)
    positions, _ = units_of(steps[-1])
    assert positions[:, :3, 0].min() <= 0.1  # they did reach it


def test_options_reach_the_simulator():
    blind, seeing = (
        make_env("smax/3m", 8, see_enemy_actions=see, attack_mode="random")._task.simulator
        for see in (False, True)
    )
    assert not blind.see_enemy_actions and seeing.see_enemy_actions
    assert blind.attack_mode == seeing.attack_mode == "random"


def test_the_world_state_is_normalised():
    steps = episodes(make_env("smax/2s3z", 4), attack)
    for step in steps:
        assert step.state.min() >= 0 and step.state.max() <= 1
    units = steps[0].state.reshape(4, 10, 10)
    assert (units[:, :, 0] == 1).all() and (units[:, :, 3] == 0).all()  # healthy, ready to shoot
    assert (units[:, :, 4:].argmax(-1)[0] == [2, 2, 3, 3, 3] * 2).all()
    own = steps[0].obs[:, :, -10:]
    np.testing.assert_array_equal(own, units[:, :5])


def test_everything_is_compiled_once():
    from rllib_dbf.envs import smax_kernels

    with pytorch_alone():
        first, second = make_env("smax/3m", 3), make_env("smax/3m", 3, reward_scale=1.0)
        one_block, two_blocks = make_env("smax/3m", 32), make_env("smax/3m", 33)
    for env in (first, second):
        episodes(env, idle)
        env.reset(np.array([True, False, True]), np.array([9, 0, 11]))
        env.get_state()
        episodes(env, attack)
    step = first._battles._step
    assert step is second._battles._step and step._cache_size() == 1
    assert first._task is second._task and first._task.start._cache_size() == 1
    assert one_block._battles._step is step is not two_blocks._battles._step
    assert smax_kernels.kernels(first._rules) is first._task


def test_resets_come_from_the_pool(monkeypatch):
    env = make_env("smax/3m", 4)
    calls = []
    start = env._task.start
    env._pool._task = env._task._replace(start=lambda seeds: calls.append(1) or start(seeds))
    env.prepare(np.arange(1_000, 1_300))
    begin(env, first_seed=1_000)
    for block in range(1, 32):
        env.step(np.full((4, 3), 4))
        begin(env, first_seed=1_000 + 4 * block)
    assert len(calls) == 1
    begin(env, first_seed=5)
    assert len(calls) == 2


@pytest.mark.parametrize("announced", [True, False])
def test_a_start_does_not_depend_on_the_pool(announced):
    env = make_env("smax/smacv2_5_units", 2)
    wanted = begin(env, first_seed=50)
    if announced:
        env.prepare(np.arange(40, 700))
    for first in range(100, 700, 2):  # replaces the pool several times
        shown = env.reset(np.array([True, False]), np.array([first, -1]))
        np.testing.assert_array_equal(shown.obs[1], wanted.obs[1])
    again = begin(env, first_seed=50)
    np.testing.assert_array_equal(again.obs, wanted.obs)


def test_a_pending_start_survives_a_new_pool():
    env, other = make_env("smax/3m", 2), make_env("smax/3m", 2)
    begin(other)
    expected = other.step(np.full((2, 3), 4))
    begin(env)
    env._pool.add(np.arange(500, 600)) if env._flush() is None else None
    env._pool.add(np.arange(600, 700))
    np.testing.assert_array_equal(env.step(np.full((2, 3), 4)).obs, expected.obs)


def test_more_copies_than_the_pool_computes_at_once():
    many, one = make_env("smax/3m", 300), make_env("smax/3m", 1)
    shown = begin(many)
    stepped = many.step(np.full((300, 3), 4))
    for slot in (0, 130, 299):
        np.testing.assert_array_equal(begin(one, first_seed=slot).obs[0], shown.obs[slot])
        np.testing.assert_allclose(one.step(np.full((1, 3), 4)).obs[0], stepped.obs[slot])


def test_the_picture_shows_the_battle():
    env = make_env("smax/2s3z", 1)
    before = env.draw() if begin(env) else None
    for _ in range(12):
        shown = env.step(attack(env._last))
    after = env.draw()
    assert before.shape == after.shape == (480, 480, 3) and before.dtype == np.uint8
    assert (before != after).any() and shown.alive.any()


def test_the_compile_cache_is_where_the_user_says(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from rllib_dbf.envs.jax_cache import cache_folder, use_persistent_cache

    monkeypatch.setenv("RLLIB_DBF_CACHE", str(tmp_path))
    assert cache_folder().parent == tmp_path / "jax"
    monkeypatch.delenv("RLLIB_DBF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / "rllib_dbf" / "jax"
    set_by_user = SimpleNamespace(jax_compilation_cache_dir="/elsewhere", update=None)
    use_persistent_cache(SimpleNamespace(config=set_by_user))  # would call None


def test_simulators_leave_gpus_to_learners_unless_the_user_says_otherwise(monkeypatch):
    import jax

    from rllib_dbf.envs.jax_cache import use_processor

    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    use_processor(jax)
    assert jax.config.jax_platforms == "cpu"
    monkeypatch.setenv("JAX_PLATFORMS", "")
    use_processor(None)  # would fail if it touched anything


@pytest.mark.parametrize(("given", "platforms"), [(None, "cpu"), ("", ""), ("cpu", "cpu")])
def test_a_new_process_starts_jax_where_it_should(given, platforms):
    code = (
        "from rllib_dbf.envs import make_env; make_env('smax/3m', 1); import jax;"
        "print(repr(jax.config.jax_platforms or ''), jax.devices()[0].platform)"
    )
    env = {name: x for name, x in os.environ.items() if name != "JAX_PLATFORMS"}
    env |= {} if given is None else {"JAX_PLATFORMS": given}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.split() == [repr(platforms), "cpu"], done.stderr
