"""The barrier's estimators inside the Algorithm: training, checkpoints, deaths."""

import numpy as np
import pytest

from tests.rllib.small import small, weights


def learner_of(algo):
    return algo.learner_group._learner


@pytest.mark.parametrize(
    ("estimator", "settings"),
    [
        ("critic", {"gradient_combination": "pcgrad", "gradient_scope": "per_layer"}),
        ("gumbel", {"gradient_combination": "pcgrad_one_way", "gradient_scope": "all"}),
        ("penalty", {"barrier_penalty": 0.5}),
        ("shuffled", {"barrier_weights": "to_go", "policy_temperature": "std"}),
    ],
)
def test_every_estimator_trains_and_goes_on_exactly_after_a_checkpoint(
    estimator, settings, tmp_path
):
    config = small("qbf", barrier_estimator=estimator, omega="n/2-1", **settings)
    algo = config.evaluation(evaluation_interval=None).build_algo()
    algo.train()
    path = algo.save_to_path(str(tmp_path / "checkpoint"))
    before = weights(algo)
    figures = algo.train()["learners"]["default_policy"]
    after = weights(algo)
    assert np.isfinite([v for v in figures.values() if isinstance(v, float)]).all()
    critic = [k for k in before if k.startswith("barrier_critic")]
    assert bool(critic) == (estimator in ("critic", "gumbel"))
    assert all(not np.array_equal(before[k], after[k]) for k in critic)
    assert ("critic_explained_variance" in figures) == bool(critic)
    assert ("gradient_cosine" in figures) == (estimator != "penalty")
    assert not any("critic" in k for k in algo.env_runner.module.state_dict())
    algo.stop()

    from ray.rllib.algorithms.algorithm import Algorithm

    resumed = Algorithm.from_checkpoint(path)
    again = resumed.train()["learners"]["default_policy"]
    assert again["barrier_loss"] == figures["barrier_loss"]
    assert again["td_loss"] == figures["td_loss"]
    final = weights(resumed)
    resumed.stop()
    assert all(np.array_equal(after[k], final[k]) for k in after)


def test_an_action_correction_learns_acts_and_goes_on_exactly_after_a_checkpoint(tmp_path):
    config = small("cbf", correction_horizon=1).evaluation(evaluation_interval=None)
    algo = config.build_algo()
    algo.train()
    path = algo.save_to_path(str(tmp_path / "checkpoint"))
    before = weights(algo)
    figures = algo.train()["learners"]["default_policy"]
    after = weights(algo)
    learnt = [k for k in before if k.startswith("correction")]
    assert learnt and all(not np.array_equal(before[k], after[k]) for k in learnt)
    assert {"correction_loss", "ruled_out_fraction"} <= set(figures)
    acting = algo.env_runner.module.state_dict()
    assert all(np.array_equal(acting[k].numpy(), after[k]) for k in learnt)
    algo.stop()

    from ray.rllib.algorithms.algorithm import Algorithm

    resumed = Algorithm.from_checkpoint(path)
    again = resumed.train()["learners"]["default_policy"]
    assert again["correction_loss"] == figures["correction_loss"]
    final = weights(resumed)
    resumed.stop()
    assert all(np.array_equal(after[k], final[k]) for k in after)


def test_any_preset_takes_an_action_correction_and_may_learn_from_the_proposal():
    for preset in ("qbf", "qplex"):
        options = {"learn_from": "proposed", "correction_in_targets": True}
        algo = small(preset, action_correction="cbf", **options).build_algo()
        assert "correction_loss" in algo.train()["learners"]["default_policy"]
        algo.stop()
