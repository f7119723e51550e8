"""Settings are read off the fluent methods; values are checked against their types."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig

from rllib_dbf.annotations import describe
from rllib_dbf.config import DBFConfig
from rllib_dbf.settings import SettingError, apply_settings, check_setting, settings_of


def test_settings_know_section_type_default_and_meaning() -> None:
    setting = settings_of(PPOConfig)["lambda_"]
    assert (setting.section, setting.default) == ("training", 1.0)
    assert setting.doc.startswith("The lambda parameter")
    assert settings_of(PPOConfig)["num_env_runners"].section == "env_runners"


def test_the_last_setting_of_a_docstring_does_not_take_in_what_follows_it() -> None:
    known = settings_of(DBFConfig)
    assert known["checkpoint_replay"].doc.endswith("(needed to resume exactly).")
    assert known["learn_from"].doc.endswith("that was overruled.")
    assert [name for name, setting in known.items() if "**kwargs" in setting.doc] == []


def test_deprecated_and_internal_keywords_are_no_settings() -> None:
    names = settings_of(PPOConfig)
    assert not {"num_workers", "num_sgd_iter", "vf_share_layers", "key", "config_dict"} & set(names)


def test_an_instance_shows_its_own_values() -> None:
    assert settings_of(PPOConfig().training(lr=0.5))["lr"].default == 0.5


@pytest.mark.parametrize(
    ("key", "given", "wanted"),
    [
        ("lr", 1, 1.0),
        ("lr", "1e-3", 0.001),
        ("training.lr", 0.1, 0.1),
        ("lr", [[0, 0.1], [1000, 0.01]], [[0, 0.1], [1000, 0.01]]),
        ("train_batch_size", 4e3, 4000),
        ("use_kl_loss", False, False),
        ("num_env_runners", None, None),
        ("framework", "torch", "torch"),
        ("lr", {"grid_search": [1, "1e-2"]}, {"grid_search": [1.0, 0.01]}),
    ],
)
def test_value_is_normalised(key: str, given: Any, wanted: Any) -> None:
    found = check_setting(PPOConfig, key, given)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("key", "given", "words"),
    [
        ("gama", 0.9, ["'gama'", "Did you mean 'gamma'?"]),
        ("evaluation.lr", 0.1, ["'training'"]),
        ("lr", "abc", ["'abc'", "float"]),
        ("lr", True, ["bool", "float"]),
        ("train_batch_size", True, ["bool", "int"]),
        ("train_batch_size", 4.5, ["4.5", "int"]),
        ("use_kl_loss", 1, ["1", "bool"]),
        ("lr", {"grid_search": [0.1, "x"]}, ["'x'"]),
        ("lr", {"grid_search": 0.1}, ["no list"]),
    ],
)
def test_value_is_refused(key: str, given: Any, words: list[str]) -> None:
    with pytest.raises(SettingError) as caught:
        check_setting(PPOConfig, key, given)
    for word in words:
        assert word in str(caught.value)


def test_search_spaces_pass() -> None:
    space = tune.uniform(0.0, 1.0)
    assert check_setting(PPOConfig, "lr", space) is space


def test_apply_goes_through_the_fluent_methods() -> None:
    config = apply_settings(PPOConfig(), {"lr": "1e-3", "environment.env": "CartPole-v1"})
    assert (config.lr, config.env) == (0.001, "CartPole-v1")


def test_apply_changes_nothing_if_one_value_is_wrong() -> None:
    config = PPOConfig()
    with pytest.raises(SettingError):
        apply_settings(config, {"gamma": 0.5, "lr": "abc"})
    assert config.gamma == PPOConfig().gamma


def test_types_in_words() -> None:
    assert describe(float | None) == "float or None"
    assert describe(Literal["a", "b"]) == "'a' or 'b'"
    assert describe(list[int]) == "list[int]"
