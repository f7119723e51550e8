"""Batches of tasks that know nothing of batches, in this process and in others."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from rllib_dbf.envs import check_team_env, env_options, make_env, register_team_env
from rllib_dbf.envs.stacked import StackedTeamEnv
from rllib_dbf.envs.team_env import ENVS
from tests.envs.tasks import DIE, HANG, KILL, LOSE, RAISE, WAIT, Walk

EVERYBODY = np.ones(2, bool)
SEEDS = np.array([11, 12])


def stack(vectorisation, timeout=60.0, make=Walk):
    return StackedTeamEnv(make, 2, vectorisation, timeout)


def children(env):
    return [lane._process.pid for lane in env._lanes]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone_soon(pid):
    for _ in range(100):
        if not alive(pid):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("vectorisation", ["list", "processes"])
def test_stacks_keep_the_contract(vectorisation):
    make = partial(Walk, safe=True)
    report = check_team_env(lambda num_envs: StackedTeamEnv(make, num_envs, vectorisation), 2)
    report.raise_if_failed()


def test_what_the_dead_see_and_may_do_is_put_right():
    env = StackedTeamEnv(lambda: Walk(dead_sees=8.0), 2)
    env.reset(EVERYBODY, SEEDS)
    step = env.step(np.array([[DIE, WAIT], [WAIT, WAIT]]))
    assert step.new_deaths.tolist() == [1, 0]
    assert not step.obs[0, 0].any() and step.obs[0, 1].any()
    assert step.avail[0, 0].tolist() == [True] + 5 * [False]
    np.testing.assert_array_equal(step.state[0], step.obs[0].ravel())


@pytest.mark.parametrize(
    ("action", "vectorisation", "said"),
    [
        (LOSE, "list", "connection to the game lost"),
        (LOSE, "processes", "connection to the game lost"),
        (RAISE, "processes", "ZeroDivisionError: a defect of the simulator"),
        (KILL, "processes", "signal SIGKILL"),
        (HANG, "processes", "no answer within 2 s"),
    ],
)
def test_a_failure_costs_its_episode_and_nothing_else(action, vectorisation, said, caplog):
    env = stack(vectorisation, timeout=2.0)
    env.reset(EVERYBODY, SEEDS)
    before = env.step(np.full((2, 2), WAIT))
    step = env.step(np.array([[action, WAIT], [WAIT, WAIT]]))
    assert step.outcome == ("crash", "") and step.truncated.tolist() == [True, False]
    assert step.reward.tolist() == [0.0, 2.0] and not step.new_deaths.any()
    np.testing.assert_array_equal(step.obs[0], before.obs[0])
    assert said in caplog.text
    fresh = env.reset(np.array([True, False]), np.array([13, 0]))
    assert fresh.outcome == ("", "") and fresh.obs[0, 0].tolist() == [13.0, 0.0, 1.0]
    assert env.step(np.full((2, 2), WAIT)).obs[:, 0, 1].tolist() == [1.0, 3.0]
    env.close()


def test_defects_in_the_own_process_are_shown_as_they_are():
    env = stack("list")
    env.reset(EVERYBODY, SEEDS)
    with pytest.raises(ZeroDivisionError):
        env.step(np.array([[RAISE, WAIT], [WAIT, WAIT]]))


def test_crash_after_crash_is_an_error():
    env = stack("list")
    with pytest.raises(RuntimeError, match=r"5 times in a row; .*connection to the game lost"):
        for _ in range(6):
            env.reset(EVERYBODY, SEEDS)
            env.step(np.array([[LOSE, WAIT], [WAIT, WAIT]]))


def test_where_all_crash_twice_nothing_is_started_again():
    env, everybody, made = StackedTeamEnv(Walk, 3, "processes"), np.ones(3, bool), set()
    with pytest.raises(RuntimeError, match=r"(?s)every .* 2 times in a row; .*a defect of the"):
        for _ in range(3):
            env.reset(everybody, np.arange(3))
            made |= set(children(env))
            env.step(np.array([[RAISE, WAIT]] * 3))
    assert len(made) == 6
    env.close()


def test_one_that_goes_on_lets_the_others_crash_again():
    env, everybody = StackedTeamEnv(Walk, 3), np.ones(3, bool)
    for _ in range(4):
        env.reset(everybody, np.arange(3))
        env.step(np.array([[LOSE, WAIT], [LOSE, WAIT], [WAIT, WAIT]]))
    with pytest.raises(RuntimeError, match="sub-environment 0 crashed 5 times in a row"):
        env.reset(everybody, np.arange(3))
        env.step(np.array([[LOSE, WAIT], [LOSE, WAIT], [WAIT, WAIT]]))


def test_a_task_that_cannot_be_made_says_why():
    def unable():
        raise ZeroDivisionError("a defect")

    with pytest.raises(RuntimeError, match=r"(?s)could not start: Traceback.*a defect"):
        stack("processes", make=unable)


@pytest.mark.parametrize("sort", [ImportError, FileNotFoundError, ValueError])
def test_what_a_maker_says_to_the_user_is_one_line(sort):
    def unable():
        raise sort("get the game first")

    with pytest.raises(sort) as error:
        stack("processes", make=unable)
    assert str(error.value) == "get the game first"


def test_closing_leaves_no_process():
    env = stack("processes")
    pids = children(env)
    assert len(set(pids)) == 2 and all(map(alive, pids))
    env.close()
    env.close()
    assert not any(map(alive, pids))


PARENT = """
import sys, time
sys.argv[0] = "rllib"  # so that the package does not import Ray
from rllib_dbf.envs.stacked import StackedTeamEnv
from tests.envs.tasks import HANG, WAIT, Walk
import numpy as np
if __name__ == "__main__":
    env = StackedTeamEnv(Walk, 1, "processes")
    env.reset(np.ones(1, bool), np.zeros(1, int))
    print(env._lanes[0]._process.pid, flush=True)
    if sys.argv[1] == "hanging":
        env._lanes[0].begin_step(np.array([HANG, WAIT]))
    time.sleep(1_000)
"""


@pytest.mark.parametrize("state", ["waiting", "hanging"])
def test_a_process_dies_with_its_parent(state):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, state], stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    assert alive(child)
    time.sleep(0.3)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone_soon(child)


def test_a_task_class_is_registered_with_its_options():
    try:
        register_team_env("mine/walk", Walk)
        register_team_env("mine/walk", Walk)
        options = env_options("mine/walk")
        assert options["length"].default == 5 and "vectorisation" in options
        env = make_env("mine/walk", 3, length=2)
        assert (env.num_envs, env.spec.episode_limit) == (3, 2)
        with pytest.raises(ValueError, match="must be int"):
            make_env("mine/walk", 1, length="long")
    finally:
        ENVS._parts.pop("mine/walk", None)


def test_arrays_of_a_wrong_shape_are_named():
    class Short(Walk):
        """Shows two numbers where its spec says three."""

        def _show(self, reward):
            step = super()._show(reward)
            return step._replace(obs=step.obs[:, :2])

    with pytest.raises(ValueError, match=r"obs .* \(2, 2\); its spec says \(2, 3\)"):
        stack("list", make=Short).reset(EVERYBODY, SEEDS)
