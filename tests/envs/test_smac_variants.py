"""What SMAC, SMACv2 and SMAClite have in common and of their own; names, options, installation."""

import numpy as np
import pytest

from rllib_dbf.envs import check_team_env, env_options, list_envs, make_env
from rllib_dbf.envs.smac_maps import SMACV2_TASKS
from tests.envs.sc2_play import FAKES, play, run, start, total, wait


@pytest.mark.parametrize(
    ("name", "options"),
    [("smac/3m", {}), ("smacv2/terran_5_vs_5", {}), ("smaclite/2s3z", {})],
)
def test_battles_keep_the_contract(stub, name, options):
    report = check_team_env(name, num_envs=2, **options)
    report.raise_if_failed()
    untested = {finding.name for finding in report.findings if finding.verdict == "not tested"}
    assert untested == {"get_state and set_state continue exactly", "draws a picture"}


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
    assert [line["config"] for line in stub.events("capabilities")] == [mine, mine]


def test_smaclite_has_a_limit_and_counts_deaths(make):
    shown = play(make("smaclite/2s3z", episode_limit=4), wait)
    assert len(shown) == 5 and shown[-1].outcome == ("timeout",) and shown[-1].truncated.all()
    shown = play(make("smaclite/2s3z"), wait)
    assert shown[-1].outcome == ("loss",)
    assert sum(int(step.new_deaths[0]) for step in shown) == 5
    shown = play(make("smaclite/2s3z"))
    assert shown[-1].outcome == ("win",) and total(shown) == pytest.approx(20)


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
    with pytest.raises(ValueError, match=r"SMAC has no map '3n'\. Did you mean '3m'\?"):
        make("smac/3n")
