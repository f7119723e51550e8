"""Teams out of dictionaries by agent: PettingZoo's parallel environments and RLlib's."""

import numpy as np
import pytest

from rllib_dbf.envs import check_team_env, make_env
from rllib_dbf.named_object import is_path
from rllib_dbf.registry import UnknownNameError
from tests.envs.tasks import Pets

ONE = np.ones(1, bool)
PETS = "pettingzoo/tests.envs.tasks:Pets"
OWN = "tests.envs.tasks:OwnPets"
RESCUE = "rllib/tests.envs.rescue:Rescue"
FAIL = {"a": 2, "b": 3, "c": 4}  # each agent's last action, counted from 0


def start(name, seed=3, **options):
    env = make_env(name, 1, **options)
    return env, env.reset(ONE, np.array([seed]))


def play(env, *actions):
    return env.step(np.array([actions]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"masks": "info"},
        {"masks": "observation"},
        {"state": "observations", "team_reward": "mean"},
        {"deaths": "all"},
        {"deaths": "none"},
        {"agents": ["c", "a"]},
        {"episode_limit": 3},
        {"remake": True},
        {"vectorisation": "processes", "deaths": "tests.envs.test_agents:b_never_dies"},
    ],
    ids=str,
)
def test_parallel_environments_keep_the_contract(options):
    check_team_env(PETS, num_envs=2, **options).raise_if_failed()


@pytest.mark.parametrize("name", [RESCUE, "tests.envs.rescue:Rescue"])
def test_multi_agent_environments_keep_the_contract(name):
    check_team_env(name, num_envs=2, episode_limit=4).raise_if_failed()


def test_a_class_is_recognised_by_its_base():
    check_team_env(OWN, num_envs=2).raise_if_failed()


def test_unequal_spaces_are_padded_and_masked():
    env, step = start(PETS)
    assert (env.spec.obs_dim, env.spec.n_actions, env.spec.unit_dim) == (3, 5, 3)
    assert step.obs[0].tolist() == [[3, 0, 0], [3, 3, 0], [3, 3, 3]]
    assert step.avail[0].sum(axis=1).tolist() == [3, 4, 5]
    assert step.state[0].tolist() == step.obs[0].ravel().tolist()


@pytest.mark.parametrize("masks", ["info", "observation"])
def test_masks_come_from_infos_or_observations(masks):
    _, step = start(PETS, masks=masks)
    assert step.avail[0].astype(int).tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 1]]


def test_a_mask_of_a_wrong_length_is_an_error(monkeypatch):
    monkeypatch.setattr("tests.envs.tasks.Pets._mask", lambda self, agent: np.ones(9))
    with pytest.raises(ValueError, match="9 entries for 3 actions"):
        start(PETS, masks="info")


def test_masks_that_allow_nothing_are_an_error_while_the_episode_goes_on(monkeypatch):
    monkeypatch.setattr(
        "tests.envs.tasks.Pets._mask", lambda self, agent: np.zeros(3 + "abc".index(agent))
    )
    with pytest.raises(ValueError, match=r"agents \['a', 'b', 'c'\] allow nothing although"):
        start(PETS, masks="info")


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        (0, np.zeros(1), "agent 'b' was shown 1 numbers, and its observation space has 2"),
        (1, None, "the reward of agent 'b' is None, and no number"),
    ],
)
def test_observations_and_rewards_that_do_not_fit_name_the_agent(part, value, said, monkeypatch):
    usual = Pets.step

    def step(self, actions):
        found = usual(self, actions)
        found[part]["b"] = value
        return found

    monkeypatch.setattr(Pets, "step", step)
    env, _ = start(PETS)
    with pytest.raises(ValueError, match=said):
        play(env, 0, 0, 0)


def test_a_team_has_each_agent_once():
    with pytest.raises(ValueError, match="names an agent twice"):
        start(PETS, agents=["a", "a"])


def test_actions_are_counted_from_where_the_space_starts_and_rewards_added_up():
    env, _ = start(PETS)
    assert play(env, 0, 1, 2).reward.tolist() == [1 + 2 + 3]
    env, _ = start(PETS, team_reward="mean", reward_scale=2.0)
    assert play(env, 0, 1, 2).reward.tolist() == [4.0]


def test_who_terminates_while_others_go_on_died():
    env, _ = start(PETS)
    step = play(env, FAIL["a"], 0, 0)
    assert step.new_deaths.tolist() == [1] and step.alive[0].tolist() == [False, True, True]
    step = play(env, 0, 0, FAIL["c"])  # the game ends for everybody
    assert step.new_deaths.tolist() == [0] and step.alive[0].tolist() == [False, True, True]
    assert step.outcome == ("end",) and step.terminated.all()


@pytest.mark.parametrize(
    ("deaths", "expected"), [("all", 3), ("none", 0), ("tests.envs.test_agents:b_never_dies", 2)]
)
def test_other_rules_of_death(deaths, expected):
    env, _ = start(PETS, deaths=deaths)
    assert env.spec.reports_deaths == (deaths != "none")
    assert play(env, 0, 0, FAIL["c"]).new_deaths.tolist() == [expected]


def b_never_dies(agent, info, game_over, env):
    return agent != "b"


def test_the_time_limit_kills_nobody():
    env, _ = start(PETS)
    for _ in range(4):
        step = play(env, 0, 0, 0)
    assert step.outcome == ("timeout",) and step.truncated.all() and step.alive.all()
    assert not step.new_deaths.any() and step.obs.any(axis=-1).all()
    env, _ = start(PETS, episode_limit=2)
    play(env, 0, 0, 0)
    assert play(env, 0, 0, 0).outcome == ("timeout",)


def test_a_death_at_the_time_limit_is_a_death_and_the_episode_is_cut():
    env, _ = start(PETS)
    for _ in range(3):
        play(env, 0, 0, 0)
    step = play(env, FAIL["a"], 0, 0)
    assert step.outcome == ("timeout",) and step.truncated.all()


def test_the_own_state_is_used_where_there_is_one():
    env, step = start(PETS, has_state=True)
    assert (env.spec.state_dim, env.spec.unit_dim) == (2, 0)
    assert step.state[0].tolist() == [0, 3]


def test_part_of_the_agents_play_the_rest_is_played():
    env, _ = start(PETS, agents=["c", "a"], others="tests.envs.test_agents:always_two")
    assert env.spec.n_agents == 2
    step = play(env, 0, 3)
    assert step.reward.tolist() == [1 + 4] and seen_by_others == {"b"}
    with pytest.raises(ValueError, match=r"\['z'\] do not exist; choose from \['a', 'b', 'c'\]"):
        start(PETS, agents=["z"])


seen_by_others: set = set()


def always_two(agent, observation, env, rng):
    seen_by_others.add(agent)
    return 2


def test_agents_that_come_back_are_refused():
    env, _ = start(PETS, respawn=True)
    play(env, FAIL["a"], 0, 0)
    with pytest.raises(ValueError, match=r"\['a'\] came back"):
        play(env, 0, 0, 0)


def test_turns_are_refused():
    with pytest.raises(ValueError, match=r"\['y'\] got no observation.*turns"):
        start(RESCUE, turns=True, episode_limit=4)


def test_all_in_rllibs_dictionaries_means_everybody():
    env, step = start(RESCUE, episode_limit=4)
    assert step.state[0].tolist() == [0, 2, 3]
    step = play(env, 1, 0)
    assert step.new_deaths.tolist() == [1] and step.alive[0].tolist() == [False, True]
    assert play(env, 0, 0).state[0].tolist() == [2, 1, 3]
    play(env, 0, 0)
    step = play(env, 0, 0)
    assert step.outcome == ("timeout",) and step.alive[0].tolist() == [False, True]


def test_a_death_at_rllibs_time_limit_is_a_death():
    env, _ = start(RESCUE, episode_limit=4, deaths="all")
    for _ in range(3):
        play(env, 0, 0)
    step = play(env, 1, 0)
    assert step.outcome == ("timeout",) and step.new_deaths.tolist() == [1]
    assert step.alive[0].tolist() == [False, True]


def test_a_time_limit_has_to_be_known():
    with pytest.raises(ValueError, match="set the option episode_limit"):
        start(RESCUE)


def test_names_that_ray_knows_are_found():
    from ray import tune

    from tests.envs.rescue import Rescue

    tune.register_env("tests/rescue", Rescue)
    _, step = start("tests/rescue", episode_limit=4)
    assert step.obs.shape == (1, 2, 2)
    _, step = start("rllib/tests/rescue", episode_limit=4)
    assert step.obs.shape == (1, 2, 2)


def test_what_is_no_environment_is_refused_by_name():
    with pytest.raises(UnknownNameError):
        make_env("pettingzoo/kazz", 1)
    with pytest.raises(ValueError, match="cannot be imported"):
        make_env("pettingzoo/nowhere.at.all:env", 1)
    with pytest.raises(ValueError, match="no environment of a team"):
        make_env("tests.envs.test_agents:PETS", 1)
    with pytest.raises(ValueError, match="Pets does not take 'colour'; it takes masks, has_state"):
        make_env(PETS, 1, colour="red")


def test_paths_are_told_from_names():
    assert is_path("a.b:c") and not is_path("a/b:c") and not is_path("smax/3m")


class Box:
    """An environment whose actions are no numbers."""

    possible_agents = ["a"]  # noqa: RUF012
    max_cycles = 3

    def observation_space(self, agent):
        from gymnasium import spaces

        return spaces.Box(0, 1, (1,))

    action_space = observation_space


def test_continuous_actions_are_refused_with_advice():
    with pytest.raises(ValueError, match="Discrete one"):
        make_env("pettingzoo/tests.envs.test_agents:Box", 1)
