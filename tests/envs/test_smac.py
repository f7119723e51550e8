"""StarCraft II's battles against a stand-in that fails in the ways in which the game fails."""

import signal
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.envs.sc2_play import (
    FAKES,
    NORTH,
    STOP,
    alive,
    fight,
    flee,
    gone,
    play,
    run,
    start,
    total,
    wait,
)


def test_a_win_pays_20(make, stub):
    shown = play(make())
    assert shown[-1].outcome == ("win",) and shown[-1].terminated.all()
    assert total(shown) == pytest.approx(20)
    assert stub.events("made")[-1]["continuing"] is True
    assert shown[0].obs.shape == (1, 3, 30) and shown[0].state.shape == (1, 21)


def test_deaths_are_those_that_the_game_counts(make, stub):
    shown = play(make(), wait)
    assert shown[-1].outcome == ("loss",) and shown[-1].terminated.all()
    counted = np.cumsum([step.new_deaths[0] for step in shown[1:]])
    assert counted.tolist() == [line["dead"] for line in stub.events("judged")]
    assert counted.tolist() == [line["said"] for line in stub.events("judged")]
    assert counted[-1] == 3 and len(set(counted)) == 4
    assert counted.tolist() == [3 - int(step.alive.sum()) for step in shown[1:]]


def test_a_time_limit_truncates(make):
    last = play(make(), flee)
    assert len(last) == 61
    assert last[-1].outcome == ("timeout",) and last[-1].truncated.all()
    assert not last[-1].terminated.any() and last[-1].alive.all()


def test_nobody_left_is_a_draw(make, stub):
    stub.order("draw@0.1")
    last = play(make())[-1]
    assert last.outcome == ("draw",) and last.terminated.all() and last.new_deaths.tolist() == [3]


def test_a_medivac_alone_has_lost(make):
    shown = play(make("smac/MMM"), wait)
    assert shown[-1].outcome == ("loss",)
    assert sum(int(step.new_deaths[0]) for step in shown) == 9
    assert shown[-1].alive.sum() == 1


def test_who_comes_back_stays_dead(make, stub):
    stub.order("revive@0.7")
    shown = play(make(), wait)
    assert not (stub.folder / "revive@0.7").exists()
    for before, after in pairwise(shown):
        assert not (after.alive & ~before.alive).any()
    assert shown[-1].outcome == ("loss",)
    tracked = [line["dead"] for line in stub.events("judged")]
    assert tracked == [3 - int(step.alive.sum()) for step in shown[1:]]


def test_a_crash_in_the_middle_costs_its_episode_only(make, stub):
    stub.order("crash@1.2")
    env = make()
    play(env)
    lost = play(env)
    assert len(lost) == 4 and lost[-1].outcome == ("crash",)
    assert lost[-1].truncated.all() and not lost[-1].terminated.any() and not lost[-1].reward.any()
    assert total(play(env)) == pytest.approx(20)
    assert stub.max_rewards() == [365] * 3
    assert len(stub.events("made")) == 2  # one for the sizes, one that was played


def test_a_crash_in_the_first_episode_does_not_shrink_rewards(make, stub):
    stub.order("crash@0.1")
    env = make()
    assert play(env)[-1].outcome == ("crash",)
    assert total(play(env)) == pytest.approx(20)
    assert stub.max_rewards() == [365, 365]
    games = [line["game"] for line in stub.events("launched")]
    assert len(games) == 3 and gone(*games[:2])  # the one that died, the one started in its place


@pytest.mark.parametrize("fault", ["late", "reset@0"])
def test_a_battle_that_starts_badly_is_made_again(make, stub, fault):
    stub.order(fault)
    env = make()
    assert total(play(env)) == pytest.approx(20)
    assert stub.max_rewards()[-1] == 365
    assert len(stub.events("made")) == 3


def test_a_game_that_dies_between_episodes_is_not_played_on(make, stub):
    stub.order("reset@1")
    env = make()
    play(env)
    shown = play(env, seed=7)
    assert shown[0].alive.all() and total(shown) == pytest.approx(20)
    assert stub.events("made")[-1]["seed"] == 7


def test_a_game_that_is_silent_is_given_up_after_sc2_timeout(make, stub):
    stub.order("silent@0.1")
    env = make(sc2_timeout=1)
    assert play(env)[-1].outcome == ("crash",)
    assert {line["timeout"] for line in stub.events("launched")} == {1}
    assert total(play(env)) == pytest.approx(20)
    assert len({line["pid"] for line in stub.events("made")}) == 1


@pytest.mark.parametrize("fault", ["hang@0.1", "die@0.1"])
def test_a_process_that_hangs_or_dies_is_replaced(make, stub, fault):
    stub.order(fault)
    env = make(step_timeout=4)
    begun = time.monotonic()
    assert play(env)[-1].outcome == ("crash",)
    assert time.monotonic() - begun < 15
    old = stub.events("launched")[-1]
    assert gone(old["pid"], old["game"])
    assert total(play(env)) == pytest.approx(20)
    assert stub.events("launched")[-1]["pid"] != old["pid"]


def test_launches_that_fail_are_tried_again(make, stub, caplog):
    stub.order("launch.1", "launch.2")
    assert total(play(make())) == pytest.approx(20)
    assert not caplog.records  # within one reset: no crash is noted
    assert len(stub.events("made")) == 4 and len({line["pid"] for line in stub.events("made")}) == 1


def test_a_game_that_never_starts_is_an_error(make, stub):
    stub.order("never")
    with pytest.raises(RuntimeError, match=r"2 attempts; lastly: ConnectError.*Failed to connect"):
        start(make(launch_attempts=2))
    assert len(stub.events("made")) == 1 + 5 * 2  # five crashes in a row, as with any simulator


def test_illegal_actions_are_refused_and_never_sent(make, stub):
    env = make()
    start(env)
    for action in (NORTH, 0, -1, 9):
        with pytest.raises(ValueError, match=f"action {action} of agent 1 in sub-environment 0"):
            env.step(np.array([[STOP, action, STOP]]))
    assert stub.events("step") == []
    env.step(np.array([[STOP, STOP, STOP]]))
    assert len(stub.events("step")) == 1


def test_two_at_once(make, stub):
    env = make(num_envs=2)
    steps = [start(env, seed=30)]
    while not (steps[-1].terminated | steps[-1].truncated).all():
        both = [fight(steps[-1].avail)[:1], wait(steps[-1].avail)[1:]]
        steps.append(env.step(np.concatenate(both)))
    assert steps[-1].outcome == ("win", "loss")
    made = stub.events("made")
    assert len({line["pid"] for line in made}) == 2
    assert sorted(line["seed"] for line in made) == [0, 0, 30, 31]


def test_closing_leaves_no_process(make, stub):
    env = make(num_envs=2)
    start(env)
    pids = [line[key] for line in stub.events("launched") for key in ("pid", "game")]
    assert len(pids) == 4 and all(map(alive, pids))
    env.close()
    env.close()
    assert gone(*pids, within=1) and len(stub.events("closed")) == 2


def test_a_killed_parent_takes_the_game_along(stub):
    code = """
import numpy as np, time
from rllib_dbf.envs import make_env
env = make_env("smac/3m", 1)
env.reset(np.array([True]), np.array([0]))
print("playing", flush=True)
time.sleep(60)
"""
    with run(code, *FAKES) as parent:
        assert parent.stdout.readline() == "playing\n"
        line = stub.events("launched")[0]
        assert alive(line["pid"]) and alive(line["game"])
        parent.send_signal(signal.SIGKILL)
    assert gone(line["pid"], line["game"]), [
        Path(f"/proc/{pid}/status").read_text() for pid in (line["pid"], line["game"])
    ]
