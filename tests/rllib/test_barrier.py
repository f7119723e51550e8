"""The barrier's estimators inside the Algorithm: training, checkpoints, deaths."""

import numpy as np
import pytest

from rllib_dbf.barrier_estimators import BARRIER_ESTIMATORS
from tests.rllib.small import small, weights


def learner_of(algo):
    return algo.learner_group._learner


@pytest.mark.parametrize(
    ("estimator", "settings"),
    [
        ("critic", {"gradient_combination": "pcgrad", "gradient_scope": "per_layer"}),
        ("critic", {"barrier_critic_data": "replayed", "barrier_critic_target": "agents"}),
        ("gumbel", {"gradient_combination": "pcgrad_one_way", "gradient_scope": "all"}),
        ("penalty", {"barrier_penalty": 0.5}),
        ("shuffled", {"barrier_weights": "to_go", "policy_temperature": "std"}),
        ("score", {"barrier_baseline": "critic", "barrier_critic_lr": 2e-3}),
        ("score", {"gradient_combination": "pcgrad", "conflict_decay": 0.9}),
        ("shaping", {"barrier_penalty": 0.5}),
        ("constraint", {"multiplier_rate": 0.1}),
        ("prediction", {"gradient_combination": "pcgrad", "conflict_threshold": 0.1}),
        ("prediction", {"barrier_critic_data": "replayed", "barrier_critic_target": "agents"}),
        ("watch", {"exploration_temperature": 0.05, "tie_break_margin": 0.1}),
    ],
    ids=lambda given: given if isinstance(given, str) else "-".join(given),
)
def test_every_estimator_trains_and_goes_on_exactly_after_a_checkpoint(
    estimator, settings, tmp_path
):
    if BARRIER_ESTIMATORS[estimator].by_omega:
        settings = {"omega": "n/2-1", **settings}
    config = small("qbf", barrier_estimator=estimator, **settings)
    algo = config.evaluation(evaluation_interval=None).build_algo()
    algo.train()
    path = algo.save_to_path(str(tmp_path / "checkpoint"))
    before = weights(algo)
    figures = algo.train()["learners"]["default_policy"]
    after = weights(algo)
    assert np.isfinite([v for v in figures.values() if isinstance(v, float)]).all()
    critic = [k for k in before if k.startswith("barrier_critic")]
    assert bool(critic) == (config.barrier_critic is not None)
    assert all(not np.array_equal(before[k], after[k]) for k in critic)
    assert ("critic_explained_variance" in figures) == bool(critic)
    has_gradient = BARRIER_ESTIMATORS[estimator].surrogate is not None
    assert ("gradient_cosine" in figures) == has_gradient
    acting = algo.env_runner.module.state_dict()
    judges = [k for k in critic if k in acting]
    assert judges == (critic if config.exploration_temperature else [])
    assert all(np.array_equal(acting[k].numpy(), after[k]) for k in judges)
    algo.stop()

    from ray.rllib.algorithms.algorithm import Algorithm

    resumed = Algorithm.from_checkpoint(path)
    again = resumed.train()["learners"]["default_policy"]
    assert again["barrier_loss"] == figures["barrier_loss"]
    assert again["td_loss"] == figures["td_loss"]
    final = weights(resumed)
    resumed.stop()
    assert all(np.array_equal(after[k], final[k]) for k in after)


def test_an_annealed_barrier_ends():
    settings = {"omega": 0.0, "barrier_annealing_steps": 500}
    algo = small("qbf", **settings).evaluation(evaluation_interval=None).build_algo()
    figures = [algo.train()["learners"]["default_policy"] for _ in range(3)]
    algo.stop()
    acts = [f["gradient_norm_ratio"] > 0.0 for f in figures]
    assert acts == [True, True, False], "300 steps an iteration, nothing left after 500"
    assert figures[2]["barrier_loss"] > 0.0, "what violates the condition is still told"


def test_remote_runners_are_sent_what_they_explore_by():
    settings = {"barrier_estimator": "watch", "exploration_temperature": 0.05}
    config = small("qbf", **settings).evaluation(evaluation_interval=None)
    algo = config.env_runners(num_env_runners=1).build_algo()
    algo.train()
    (sent,) = algo.env_runner_group.foreach_env_runner(
        lambda runner: runner.module.state_dict(), local_env_runner=False
    )
    learnt = weights(algo)
    algo.stop()
    named = [k for k in sent if k.startswith("barrier_critic")]
    assert named and all(np.array_equal(sent[k].numpy(), learnt[k]) for k in named)


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
