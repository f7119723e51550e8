"""StarCraft II's battles against a stand-in that fails in the ways in which the game fails."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rllib_dbf.envs import check_team_env, env_options, list_envs, make_env
from rllib_dbf.envs.smac_maps import SMACV2_TASKS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STOP, NORTH, WEST = 1, 2, 5
FAKES = ("smac", "smacv2", "smaclite", "pysc2")


class Stub:
    """Where faults are ordered, and what happened is read."""

    def __init__(self, folder):
        self.folder = folder

    def order(self, *faults):
        for fault in faults:
            (self.folder / fault).touch()

    def events(self, event):
        log = self.folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        found = map(json.loads, lines)
        return [line for line in found if line["event"] == event]

    def max_rewards(self):
        return [line["max_reward"] for line in self.events("started")]


@pytest.fixture
def stub(tmp_path, monkeypatch):
    monkeypatch.setenv("SC2_STUB", str(tmp_path))
    monkeypatch.setenv("SC2PATH", str(tmp_path / "game"))
    (tmp_path / "game" / "Versions").mkdir(parents=True)
    for fake in FAKES:
        monkeypatch.syspath_prepend(str(HERE / f"fake_{fake}"))
    stub = Stub(tmp_path)
    yield stub
    for line in stub.events("step"):
        rows = zip(line["avail"], line["actions"], strict=True)
        assert all(legal[action] for legal, action in rows), "an illegal action was sent"


@pytest.fixture
def make(stub):
    """Makes environments that are closed at the end."""
    made = []

    def make_one(name="smac/3m", num_envs=1, **options):
        made.append(make_env(name, num_envs, **options))
        return made[-1]

    yield make_one
    for env in made:
        env.close()


def first_of(*wanted):
    """A policy: the first of these actions that is legal, else the no-op."""

    def choose(avail):
        for action in reversed(wanted):
            legal = avail[:, :, action]
            chosen = np.where(legal, action, chosen) if action != wanted[-1] else legal * action
        return chosen.astype(np.int64)

    return choose


wait, flee = first_of(STOP), first_of(WEST, STOP)


def fight(avail):
    """Everybody shoots at the first enemy."""
    targets = avail[:, :, 6:]
    shoot = 6 + targets.argmax(axis=2)
    return np.where(targets.any(axis=2), shoot, np.where(avail[:, :, STOP], STOP, 0))


def start(env, seed=0):
    everyone = np.ones(env.num_envs, np.bool_)
    return env.reset(everyone, seed + np.arange(env.num_envs))


def play(env, policy=fight, seed=0):
    """One episode in every sub-environment, with its first step."""
    shown = [start(env, seed)]
    while not (shown[-1].terminated | shown[-1].truncated).all():
        shown.append(env.step(policy(shown[-1].avail)))
        assert len(shown) < 300
    return shown


def total(shown):
    return sum(float(step.reward[0]) for step in shown)


def alive(pid):
    """Whether a process runs (and is no zombie)."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(*pids, within=10.0):
    deadline = time.monotonic() + within
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


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


def test_launches_that_fail_are_tried_again(make, stub):
    stub.order("launch.1", "launch.2")
    assert total(play(make())) == pytest.approx(20)
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


def run(code, *fakes, **kwargs):
    """A Python process of its own that finds these stand-ins."""
    path = os.pathsep.join([str(ROOT), *(str(HERE / f"fake_{fake}") for fake in fakes)])
    # Named like the command, so that the package does not register with Ray.
    code = f"import sys; sys.argv = ['rllib']\n{code}"
    env = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        **{
            "env": env,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **kwargs,
        },
    )


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


PLAY = "from rllib_dbf.envs import make_env; make_env({!r}, 1{}).close(); print('made')"


@pytest.mark.parametrize(
    ("name", "fakes", "said"),
    [
        (
            "smac/3m",
            ("other_smac", "pysc2"),
            ["ImportError", "another project", "oxwhirl/smac.git"],
        ),
        ("smac/3m", (), ["ImportError", "SMAC is not installed", "pip install --no-deps"]),
        ("smac/3m", ("smac",), ["ImportError", "needs pysc2", "absl-py"]),
        ("smacv2/zerg_5_vs_5", (), ["ImportError", "oxwhirl/smacv2.git"]),
        ("smaclite/MMM", (), ["ImportError", "uoe-agents/smaclite.git"]),
    ],
)
def test_a_missing_package_says_what_to_install(stub, name, fakes, said):
    with run(PLAY.format(name, ""), *fakes) as done:
        last = done.stderr.read().strip().splitlines()[-1]
    assert all(part in last for part in said)


def test_a_missing_game_says_where_it_was_looked_for(stub, monkeypatch):
    monkeypatch.setenv("SC2PATH", str(stub.folder / "elsewhere"))
    with pytest.raises(FileNotFoundError, match=r"not installed in .*/elsewhere.*set SC2PATH"):
        make_env("smac/3m", 1)
    assert make_env("smaclite/2s3z", 1).spec.n_agents == 5  # needs no game


def test_a_game_that_vanished_says_so(make, stub):
    env = make()
    stub.order("missing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rllib_dbf.envs.stacked._CRASHES", 1)
        with pytest.raises(RuntimeError, match="FileNotFoundError: StarCraft II is not installed"):
            start(env)


LISTED = "import google.protobuf.internal.api_implementation\n" + PLAY


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (PLAY.format("smac/3m", ", vectorisation='list'"), ""),
        (LISTED.format("smac/3m", ""), ""),
        (LISTED.format("smac/3m", ", vectorisation='list'"), "PROTOCOL_BUFFERS_PYTHON_IMPLEMENT"),
        ("import smacv2\n" + PLAY.format("smac/3m", ", vectorisation='list'"), "loaded smacv2"),
        ("import smacv2\n" + PLAY.format("smac/3m", ""), ""),
    ],
)
def test_what_does_not_go_together_in_one_process(stub, code, said):
    with run(code, *FAKES) as done:
        out, errors = done.communicate()
    if said:
        assert "RuntimeError" in errors and said in errors.splitlines()[-1]
    else:
        assert out == "made\n", errors


def test_replays_are_kept_apart(make, stub):
    play(make(num_envs=2, replay_dir=str(stub.folder / "replays")))
    assert len(list((stub.folder / "replays").glob("3m_*.SC2Replay"))) == 2


def test_episodes_follow_their_seeds_in_new_games_only(make, stub):
    stub.order("noise")

    def first_hits(env, seed):
        return play(env, wait, seed)[2].obs

    new, same = make(new_game=True), make()
    assert np.array_equal(first_hits(new, 5), first_hits(new, 5))
    assert not np.array_equal(first_hits(new, 6), first_hits(new, 5))
    assert not np.array_equal(first_hits(same, 5), first_hits(same, 5))


@pytest.mark.parametrize(
    ("name", "options"),
    [("smac/3m", {}), ("smacv2/terran_5_vs_5", {}), ("smaclite/2s3z", {})],
)
def test_battles_keep_the_contract(stub, name, options):
    report = check_team_env(name, num_envs=2, **options)
    report.raise_if_failed()
    untested = {finding.name for finding in report.findings if finding.verdict == "not tested"}
    assert untested == {"get_state and set_state continue exactly", "draws a picture"}


def test_smacv2_draws_its_published_teams(make, stub):
    env = make("smacv2/protoss_10_vs_11")
    assert (env.spec.n_agents, env.spec.n_actions, env.spec.episode_limit) == (10, 17, 200)
    config = stub.events("capabilities")[0]["config"]
    assert config["team_gen"]["unit_types"] == ["stalker", "zealot", "colossus"]
    assert config["team_gen"]["weights"] == [0.45, 0.45, 0.1]
    assert "exception_unit_types" not in config["team_gen"]
    assert config["start_positions"]["dist_type"] == "surrounded_and_reflect"
    assert config["start_positions"]["map_x"] == config["start_positions"]["map_y"] == 32
    assert stub.events("made")[0]["map"] == "10gen_protoss"


def test_smacv2_takes_other_teams_and_odd_resets(make, stub):
    mine = {"n_units": 2, "n_enemies": 1, "team_gen": {"unit_types": ["marine"], "observe": True}}
    env = make("smacv2/10gen_terran", capability_config=mine)
    stub.order("cannot")
    assert env.spec.n_agents == 2 and start(env).alive.all()
    assert "env_key" not in mine["team_gen"]


def test_smaclite_has_a_limit_and_counts_deaths(make):
    shown = play(make("smaclite/2s3z", episode_limit=4), wait)
    assert len(shown) == 5 and shown[-1].outcome == ("timeout",) and shown[-1].truncated.all()
    shown = play(make("smaclite/2s3z"), wait)
    assert shown[-1].outcome == ("loss",)
    assert sum(int(step.new_deaths[0]) for step in shown) == 5
    shown = play(make("smaclite/2s3z"))
    assert shown[-1].outcome == ("win",) and total(shown) == pytest.approx(20)


def test_names():
    names = [name for name in list_envs() if name.startswith("smac")]
    assert len(names) == 23 + 15 + 12 and len(SMACV2_TASKS) == 15
    assert {"smac/1c3s5z", "smacv2/zerg_20_vs_23", "smaclite/MMM2"} <= set(names)
    assert env_options("smac/3m")["vectorisation"].default == "processes"
    assert env_options("smac/my_own")["state_last_action"].default is False


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 3}, "seed of its first episode"),
        ({"continuing_episode": False}, "always on"),
        ({"difficulty": 7}, "must be str"),
        ({"difficulty": "8b"}, "choose from 1, 2"),
        ({"sc2_timeout": 0}, "at least 1"),
        ({"launch_attempts": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be(make, options, said):
    with pytest.raises(ValueError, match=said):
        make(**options)


def test_other_constructor_options_arrive(make, stub):
    make("smac/3m", difficulty="A", move_amount=3)
    assert stub.events("made")[0]["level"] == "A"
    with pytest.raises(RuntimeError, match="unexpected keyword argument 'move_amont'"):
        make("smac/3m", move_amont=3)


def test_a_map_that_does_not_exist(make):
    with pytest.raises(RuntimeError, match=r"SMAC has no map '3n'\. Did you mean '3m'\?"):
        make("smac/3n")
