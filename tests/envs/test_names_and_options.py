"""Environments by name: listing, options, and what is said about wrong ones."""

import importlib
import subprocess
import sys

import pytest

from rllib_dbf.envs import Option, env_options, list_envs, make_env, register_team_env
from rllib_dbf.envs.smax_maps import ADDED_MAPS, JAXMARL_MAPS, MAPS
from rllib_dbf.envs.team_env import ENVS
from rllib_dbf.registry import UnknownNameError


def test_listing_imports_no_simulator():
    code = (
        # Named like the command, because the package otherwise registers with Ray, which
        # imports JAX where it finds it.
        "import sys; sys.argv = ['rllib']; from rllib_dbf.envs import list_envs, env_options;"
        "[env_options(name) for name in list_envs()];"
        "heavy = {'jax', 'jaxmarl', 'ray', 'torch', 'PIL'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_making_smax_prints_nothing_and_leaves_redirections_alone():
    code = (
        "import io, sys; sys.argv = ['rllib']; sys.stdout = mine = io.StringIO();"
        "import rllib_dbf.envs.smax_kernels;"
        "sys.exit('changed' if sys.stdout is not mine or mine.getvalue() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout == b""


def test_the_static_list_of_maps_is_what_jaxmarl_has():
    smax_env = importlib.import_module("jaxmarl.environments.smax.smax_env")
    assert set(JAXMARL_MAPS) == set(smax_env.MAP_NAME_TO_SCENARIO)
    assert not set(ADDED_MAPS) & set(JAXMARL_MAPS)
    assert {f"smax/{name}" for name in MAPS} <= set(list_envs())


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"'smax/3n' is unknown.*Did you mean 'smax/3m'\?"):
        make_env("smax/3n", 2)
    with pytest.raises(UnknownNameError, match="smax/3s_vs_5z"):
        env_options("nothing like it")


def test_a_misspelt_option_gets_a_suggestion():
    with pytest.raises(ValueError, match=r"no option 'reward_scal'.*Did you mean 'reward_scale'\?"):
        make_env("smax/3m", 2, reward_scal=1.0)
    with pytest.raises(ValueError, match="it takes none"):
        make_env("toy/two_step", 2, n_agents=3)


@pytest.mark.parametrize(
    ("name", "option", "value", "said"),
    [
        ("smax/3m", "walls_cause_death", "yes", "must be bool"),
        ("smax/3m", "walls_cause_death", 1, "must be bool"),
        ("smax/3m", "reward_scale", "10", "must be float"),
        ("smax/3m", "reward_scale", float("nan"), "must be float"),
        ("smax/3m", "reward_scale", True, "must be float"),
        ("smax/3m", "attack_mode", "nearest", "choose from closest, random"),
        ("smax/3m", "attack_mode", "randon", "Did you mean 'random'"),
        ("toy/pit_corridor", "n_agents", 2.0, "must be int"),
        ("toy/pit_corridor", "n_agents", 0, r"must lie in \[1, 5\]"),
        ("toy/pit_corridor", "fall_probability", 1.5, r"must lie in \[0, 1\]"),
        ("toy/pit_corridor", "time_limit", 5, "at least 6"),
        ("toy/risky_bandit", "n_agents", 0, "at least 1"),
        ("toy/risky_bandit", "loss_probability", -0.1, r"must lie in \[0, 1\]"),
        ("toy/matrix", "payoffs", "8", "must be tuple"),
        ("toy/matrix", "payoffs", [["a"]], "nested lists of numbers"),
        ("toy/matrix", "payoffs", [[1, 2]], "as many entries on every nesting level"),
        ("toy/matrix", "payoffs", [[1, 2], [3]], "nested lists of numbers"),
        ("toy/matrix", "payoffs", [], "as many entries"),
        ("toy/matrix", "payoffs", [[float("inf")]], "finite"),
    ],
)
def test_wrong_option_values_are_refused(name, option, value, said):
    with pytest.raises(ValueError, match=said):
        make_env(name, 2, **{option: value})


@pytest.mark.parametrize("num_envs", [0, -1, 1.0, True, "4", None])
def test_wrong_batch_sizes_are_refused(num_envs):
    with pytest.raises((ValueError, TypeError), match="num_envs"):  # TypeError: from jaxtyping
        make_env("toy/two_step", num_envs)


def test_options_show_defaults_and_meaning():
    options = env_options("smax/2s3z")
    assert {name: option.default for name, option in options.items()} == {
        "walls_cause_death": True,
        "see_enemy_actions": True,
        "attack_mode": "closest",
        "reward_scale": 10.0,
    }
    for name in list_envs():
        assert all(isinstance(o, Option) and o.doc for o in env_options(name).values())


def test_the_smax_defaults_are_jaxmarls():
    import inspect

    from jaxmarl.environments.smax import SMAX, HeuristicEnemySMAX

    defaults = {
        name: parameter.default
        for owner in (SMAX, HeuristicEnemySMAX)
        for name, parameter in inspect.signature(owner).parameters.items()
    }
    for name in ("walls_cause_death", "see_enemy_actions", "attack_mode"):
        assert env_options("smax/3m")[name].default == defaults[name]


def test_a_missing_simulator_names_the_extra(monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "jaxmarl"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "jaxmarl", None)
    monkeypatch.delitem(sys.modules, "rllib_dbf.envs.smax_kernels", raising=False)
    with pytest.raises(ImportError, match=r'pip install "rllib-dbf\[smax\]"'):
        make_env("smax/3m", 2)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("metadrive/roundabout", "metadrive", "metadrive"),
        ("pettingzoo/kaz", "pettingzoo", "pettingzoo"),
        ("pettingzoo/kaz", "pygame", "kaz"),
        ("pettingzoo/simple_spread", "mpe2", "mpe"),
    ],
)
def test_missing_packages_name_their_extra(name, module, extra, tmp_path, monkeypatch):
    """A module of this name that cannot be imported stands before the real one."""
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})")
    monkeypatch.syspath_prepend(tmp_path)
    for loaded in [
        key for key in sys.modules if key.split(".")[0] in (module, "mpe2", "pettingzoo")
    ]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(ImportError, match=rf'pip install "rllib-dbf\[{extra}\]"') as error:
        make_env(name, 1)
    assert "\n" not in str(error.value)


def test_users_register_their_own():
    def rescue(num_envs, brave=True, **others):
        return make_env("toy/two_step", num_envs)

    try:
        register_team_env("mine/rescue", rescue)
        register_team_env("mine/rescue", rescue)
        assert "mine/rescue" in list_envs()
        assert env_options("mine/rescue")["brave"].default is True
        assert make_env("mine/rescue", 3, brave=False, anything=1).num_envs == 3
        with pytest.raises(ValueError, match="must be bool"):
            make_env("mine/rescue", 3, brave=2)
        with pytest.raises(ValueError, match="already registered"):
            register_team_env("mine/rescue", lambda num_envs: None)
    finally:
        ENVS._parts.pop("mine/rescue", None)
