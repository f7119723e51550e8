"""The simulators that others make keep the contract behind their doors."""

import numpy as np
import pytest

from rllib_dbf.envs import check_team_env, make_env
from rllib_dbf.envs.agents_task import Ending
from rllib_dbf.envs.metadrive import CLASSES, Driving

METADRIVE = [f"metadrive/{name}" for name in CLASSES]
EXACT = 2e-3  # of MetaDrive's physics; later a ray of its lidar may hit what it missed before


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pettingzoo/kaz", {"max_cycles": 60}),
        ("pettingzoo/kaz", {"max_cycles": 60, "obs_method": "vector", "state": "observations"}),
        ("pettingzoo/simple_spread", {}),
        ("pettingzoo/simple_spread", {"vectorisation": "processes", "team_reward": "mean"}),
        ("pettingzoo/simple_reference", {}),
        ("pettingzoo/simple_speaker_listener", {}),
        ("pettingzoo/simple_tag", {}),
        ("pettingzoo/mpe2.simple_adversary_v3:parallel_env", {"deaths": "none"}),
    ],
)
def test_pettingzoo_keeps_the_contract(name, options):
    check_team_env(name, num_envs=2, max_steps=100, **options).raise_if_failed()


def test_a_misspelt_setting_of_kaz_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"max_cycles, obs_method\. Did you mean 'spawn_delay'\?"):
        make_env("pettingzoo/kaz", 1, spawn_rate=8)


def test_kaz_tells_deaths_from_the_end_of_the_game():
    """In this episode zombies kill three; the fourth sees one of them cross the line."""
    env = make_env("pettingzoo/kaz", 8, max_cycles=900)
    step = env.reset(np.ones(8, bool), np.arange(8))
    rng, deaths = np.random.default_rng(0), np.zeros(8, int)
    while not (step.terminated | step.truncated).all():
        step = env.step(np.where(step.alive, rng.integers(6, size=step.alive.shape), 0))
        deaths += step.new_deaths
    assert deaths.sum() > 0 and (deaths == (~step.alive).sum(axis=1)).all()
    assert step.alive[step.terminated].any(), "zombies that cross the line kill nobody"
    env.close()


def test_metadrive_keeps_the_contract():
    check_team_env(
        "metadrive/roundabout", num_envs=2, max_steps=30, horizon=6, tolerance=EXACT
    ).raise_if_failed()


@pytest.mark.parametrize("name", METADRIVE[1:])
def test_the_other_maps_are_played_by_the_rules(name):
    env = make_env(name, 2, horizon=6)
    report = check_team_env(env, max_steps=30, tolerance=EXACT)
    pids = [lane._process.pid for lane in env._lanes]
    env.close()
    report.raise_if_failed()
    assert len(set(pids)) == 2


@pytest.mark.parametrize("ends_when", ["all_done", "half_dead", "any_death"])
def test_full_throttle_ends_as_asked_for(ends_when):
    env = make_env("metadrive/roundabout", 1, ends_when=ends_when, delay_done=0)
    step, deaths = env.reset(np.ones(1, bool), np.array([5])), 0
    while not step.outcome[0]:
        step = env.step(np.where(step.alive, 22, 0))
        deaths += int(step.new_deaths[0])
    env.close()
    assert step.outcome == ("loss",) and step.terminated.all()
    left = int(step.alive.sum())
    limits = {"all_done": (0, 0), "half_dead": (1, 4), "any_death": (1, 9)}
    low, high = limits[ends_when]
    assert low <= left <= high and deaths <= 10 - left


@pytest.mark.parametrize(
    ("deaths", "arrivals", "over", "outcome"),
    [(0, 10, True, "win"), (1, 9, True, "loss"), (0, 9, False, ""), (3, 2, False, "")],
)
def test_all_have_to_arrive_for_a_win(deaths, arrivals, over, outcome):
    rules = Driving("all_done")
    alive = np.ones(10, bool)
    assert rules.outcome(Ending(None, {}, alive, deaths, arrivals, over)) == outcome
    assert not rules.died("agent0", {"arrive_dest": True, "crash_vehicle": True}, True, None)
    assert rules.died("agent0", {"crash_vehicle": True}, False, None)
