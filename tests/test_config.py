"""Bad configurations are refused before anything is built, in words."""

import numpy as np
import pytest

from rllib_dbf.config import DBFConfig
from rllib_dbf.presets import PRESETS
from rllib_dbf.settings import SettingError

IMPOSSIBLE = [
    ({"preset": "qmix", "risk": "cvar"}, "risk='cvar' needs a return distribution"),
    ({"preset": "qmix", "n_quantiles": 8}, "head='expected' has one quantile"),
    ({"preset": "qmix", "head": "iqn"}, "td_loss='squared' would collapse"),
    ({"preset": "dmix", "mixer": "qmix"}, "use mixer='mean_shape\\(qmix\\)'"),
    ({"preset": "qmix", "td_loss": "quantile_huber"}, "needs head='iqn'"),
    ({"preset": "qmix", "input_layer": "hypernet"}, "feeds on return quantiles"),
    (
        {"preset": "dmix", "risk": "cvar", "risk_level": 0.0},
        "risk_level=0.0 is impossible for risk='cvar'",
    ),
    ({"preset": "dmix", "risk_level": 0.5}, "has no effect with risk='mean'"),
    ({"mixer": "mean_shape(qmx)"}, "Did you mean 'qmix'"),
    ({"preset": "drima", "head": "iqn"}, "head='iqn' does not go with objective='drima'"),
    ({"preset": "drima", "td_loss": "squared"}, "which takes 'quantile_huber'"),
    ({"preset": "drima", "mixer": "independent"}, "needs one of the team"),
    ({"preset": "dmix", "objective": "drima"}, "which takes 'iqn_pair'"),
    ({"preset": "rmix", "td_loss": "quantile_huber"}, "which takes 'squared'"),
    ({"preset": "rmix", "head": "iqn"}, "which takes 'cvar_qr' or 'qr' or 'expected'"),
    (
        {"preset": "rmix", "risk": "cvar", "risk_level": 0.3, "risk_in_targets": True},
        "'cvar_qr', wh",
    ),
    ({"preset": "riskq", "head": "cvar_qr"}, "learnt by objective='rmix' alone"),
    ({"preset": "riskq", "risk": "mean", "risk_level": 1.0}, "no effect with risk='mean'"),
    ({"preset": "qtran_base", "mixer": "qmix"}, "mixer='qmix' does not go with"),
    ({"preset": "qtran_alt", "mixer": "independent"}, "which takes 'sum'"),
    ({"preset": "resq", "mixer": "independent"}, "needs one of the team"),
    ({"preset": "resz", "mixer": "independent"}, "needs one of the team"),
    ({"preset": "dmix", "objective": "resq"}, "which takes 'expected'"),
    (
        {"preset": "resz", "risk": "cvar", "risk_level": 0.3, "risk_in_targets": True},
        "no effect with objective='resz'",
    ),
    (
        {"preset": "resq", "action_correction": "cbf", "correction_in_targets": True},
        "no effect with objective='resq'",
    ),
    ({"gradient_scope": "all"}, "gradient_scope='all' has no effect with gradient_combination"),
    ({"preset": "resq", "mixer": "qplex"}, "looks at each agent's greatest utility"),
    ({"preset": "rmix", "mixer": "mean_shape(qplex_qatten)"}, "objective='rmix' does not tell it"),
    ({"lr": -1}, "lr=-1.0 must not be negative"),
    ({"lr": [[0, 1e-3], [100, -1e-4]]}, "must not be negative"),
    ({"gamma": 1.5}, r"gamma=1.5 must lie in \[0, 1\]"),
    ({"grad_clip": -1.0}, "grad_clip=-1.0 must be greater than 0, or None"),
    ({"optimizer": {"lr": 0.5}}, "has no effect on teams; leave it out, or set optimizer_name"),
    ({"model": {"fcnet_hiddens": [8]}}, "has no effect on teams; leave it out, or set hidden_dim"),
    ({"grad_clip_by": "value"}, "has no effect on teams"),
    ({"num_epochs": 3}, "set updates_per_collection"),
    ({"minibatch_size": 8}, "set batch_episodes"),
    ({"train_batch_size_per_learner": 64}, "train_batch_size_per_learner=64 has no effect"),
    ({"barrier_estimator": "scor"}, "Did you mean 'score'"),
    ({"gradient_combination": "pc_grad"}, "Did you mean 'pcgrad'"),
    ({"gamma_b": 1.0}, "gamma_b=1.0 must be below 1"),
    ({"gamma_b": -0.1}, r"gamma_b=-0.1 must lie in \[0, 1\]"),
    ({"omega": -1.0}, "omega=-1.0 must be None"),
    ({"beta_b": -1.0}, "beta_b=-1.0 must not be negative"),
    ({"learning_starts": 3}, "learning_starts=3 is below batch_episodes"),
    ({"replay_capacity": 3}, "replay_capacity=3 is below batch_episodes"),
    ({"optimizer_name": "sgd"}, "choose from adam, rmsprop"),
    ({"epsilon": [(0, 1.0), (10, 1.5)]}, "must be a rate in \\[0, 1\\]"),
    ({"epsilon": [(10, 1.0), (0, 0.5)]}, "rising order"),
    ({"barrier_tail": "nothing"}, "choose from zero, absorbing"),
    ({"beta_q_agreeing": -0.5}, "must not be negative"),
    ({"gradient_scope": "mixer"}, "choose from shared, all, per_layer"),
    ({"barrier_estimator": "critic", "barrier_weights": "to_go"}, "choose from score, zero"),
    ({"barrier_critic_lr": 0.1}, "choose from critic, gumbel, shaping"),
    ({"barrier_critic_data": "replayed"}, "score', which has no critic; leave it out"),
    ({"barrier_estimator": "critic", "barrier_critic_data": "old"}, "choose from latest, replayed"),
    (
        {"barrier_estimator": "gumbel", "barrier_critic_target": "agents"},
        "sees the team as one; set barrier_critic_target='team' or choose from critic, predict",
    ),
    ({"barrier_penalty": 0.1}, "choose from penalty, shaping"),
    (
        {"barrier_estimator": "penalty", "gradient_combination": "pcgrad"},
        "set gradient_combination='sum'",
    ),
    ({"action_correction": "cfb"}, "Did you mean 'cbf'"),
    ({"correction_alpha": 0.5}, "has no effect with action_correction='off'"),
    ({"action_correction": "cbf", "learn_from": "both"}, "choose from executed, proposed"),
    (
        {"preset": "dbf", "action_correction": "cbf", "correction_in_targets": True},
        "use input_layer='linear'",
    ),
    ({"mixing_kernels": 0}, "mixing_kernels=0 must be greater than 0"),
    ({"agent_risk": 0.5}, "use head='iqn_pair'"),
    ({"preset": "drima", "agent_risk": 1.0}, "must lie between 0 and 1"),
    ({"omega": "n-"}, "omega='n-' is no number"),
    ({"omega": "1-n"}, "never negative"),
    ({"policy_temperature": "sd"}, "or 'std'"),
    ({"policy_temperature": 0.0}, "greater than 0"),
    ({"gradient_combination": "pcgrad", "conflict_decay": 1.0}, r"must lie in \[0, 1\)"),
    ({"conflict_decay": 0.9}, "treats conflict like agreement"),
    ({"barrier_annealing_steps": 0}, "must be greater than 0"),
    ({"barrier_estimator": "shaping", "barrier_annealing_steps": 9}, "no gradient of its own"),
    ({"barrier_estimator": "watch", "omega": 0.0}, "learns from every episode"),
    ({"exploration_temperature": 0.1}, "choose from prediction, watch"),
    ({"barrier_estimator": "off", "tie_break_margin": 0.1}, "nothing foresees them"),
    ({"barrier_baseline": "best", "barrier_weights": "to_go"}, "estimate of the violation itself"),
    ({"multiplier_rate": 0.1}, "choose from constraint"),
    ({"barrier_to_go_discount": 0.5}, "set barrier_weights='to_go'"),
    ({"max_gradient_ratio": 0.5}, "use gradient_combination='pcgrad_one_way'"),
    (
        {"barrier_weights": "control_variate", "barrier_deaths": "cumulative"},
        "is derived for barrier_deaths='new'",
    ),
]


@pytest.mark.parametrize(("settings", "message"), IMPOSSIBLE)
def test_impossible_settings_are_refused_with_a_remedy(settings, message):
    with pytest.raises(ValueError, match=message):
        DBFConfig().environment("toy/pit_corridor").training(**settings).validate()


START = [
    ({"evaluation_config": {"explor": True}}, "Did you mean 'explore'"),
    ({"evaluation_config": {"explore": "maybe"}}, "evaluation_config: env_runners.explore='maybe'"),
    ({"evaluation_config": {"env_runners.explore": True}}, "write 'explore'"),
    ({"evaluation_config": {"epsilon": 2}}, r"epsilon=2.0 must be a rate in \[0, 1\]"),
    ({"evaluation_config": {"model_config": {"a": 1}}}, "set hidden_dim"),
    (
        {"model_config": {"hidden_dmi": 3}},
        r"model_config={'hidden_dmi': 3} is not for teams.*set hidden_dim",
    ),
    ({"metrics_num_episodes_for_smoothing": 0}, "for_smoothing=0 must be greater than 0"),
    ({"seed": 2**32}, "seed=4294967296 must be None or a whole number from 0 to 4290000000"),
    ({"seed": -1}, "seed=-1 must be"),
]


@pytest.mark.parametrize(("settings", "message"), START)
def test_what_would_fail_once_everything_is_built_is_refused_before(settings, message):
    from rllib_dbf.settings import apply_settings

    config = DBFConfig().environment("toy/pit_corridor")
    with pytest.raises(ValueError, match=message):
        config.copy().update_from_dict(settings).validate()
    with pytest.raises(ValueError, match=message):
        apply_settings(config, settings).validate()


def test_settings_of_evaluations_that_exist_are_taken():
    given = {"explore": True, "env_config": {}, "num_envs_per_env_runner": 2, "seed": 4}
    config = DBFConfig().environment("toy/pit_corridor").evaluation(evaluation_config=given)
    config.validate()
    assert config.get_evaluation_config_object().seed == 4
    config.evaluation(evaluation_config=DBFConfig.overrides(_is_online=True)).validate()


@pytest.mark.parametrize("seed", ["abc", 1.5, True])
def test_seeds_that_are_no_whole_numbers_are_refused_by_every_door(seed):
    with pytest.raises(SettingError, match=f"seed={seed!r} is of type .*; allowed: int or None"):
        DBFConfig().debugging(seed=seed)
    with pytest.raises(SettingError, match=f"seed={seed!r} is of type .*; allowed: int or None"):
        DBFConfig().update_from_dict({"seed": seed})
    config = DBFConfig().environment("toy/pit_corridor")
    config.seed = "abc"
    with pytest.raises(ValueError, match="seed='abc' must be None or a whole number"):
        config.validate()


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), 3.0, 3])
def test_a_seed_becomes_an_int(seed):
    for config in (DBFConfig().debugging(seed=seed), DBFConfig().update_from_dict({"seed": seed})):
        assert type(config.seed) is int and config.seed == 3
    assert DBFConfig().debugging(log_level="ERROR").seed is None


@pytest.mark.parametrize("preset", PRESETS)
def test_every_row_is_possible(preset):
    DBFConfig(preset=preset).environment("toy/pit_corridor").validate()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gama_b": 0.5}, "Did you mean 'gamma_b'"),
        ({"lr": "abc"}, "lr='abc' is of type str; allowed: float"),
        ({"gamma_b": True}, "gamma_b=True"),
        ({"batch_episodes": 1.5}, "batch_episodes=1.5"),
    ],
)
def test_unknown_names_and_wrong_types_are_refused_by_every_door(settings, message):
    with pytest.raises(SettingError, match=message):
        DBFConfig().training(**settings)
    with pytest.raises(SettingError, match=message):
        DBFConfig().update_from_dict(settings)


def test_an_unknown_preset_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match=r"algorithm='qmxi' is unknown.*Did you mean 'qmix'"):
        DBFConfig(preset="qmxi")


def test_a_preset_in_a_dictionary_comes_before_the_parts_it_sets():
    config = DBFConfig().update_from_dict({"mixer": "sum", "preset": "qmix", "lr": 1e-4})
    got = (config.preset, config.mixer, config.head, config.lr)
    assert got == ("qmix", "sum", "expected", 1e-4)


def test_a_whole_configuration_survives_the_dictionary_and_back():
    config = DBFConfig(preset="dmix").training(gamma_b=0.9, omega=0.0, epsilon=0.2)
    again = DBFConfig().update_from_dict(config.to_dict())
    for name in ("preset", "mixer", "gamma_b", "omega", "epsilon", "head", "n_quantiles"):
        assert getattr(again, name) == getattr(config, name), name


def test_omega_follows_the_team_size_unless_it_is_set():
    assert DBFConfig().barrier_settings(5).omega == 4.0
    assert DBFConfig().training(omega=0.0).barrier_settings(5).omega == 0.0
    assert DBFConfig().training(omega="n/2").barrier_settings(5).omega == 2.5
    assert DBFConfig().training(omega=0).barrier_settings(5).omega == 0.0
    assert DBFConfig(preset="dmix").barrier_settings(5) is None
