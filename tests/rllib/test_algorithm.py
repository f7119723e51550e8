"""The Algorithm as a whole, on real environments and real Ray."""

from unittest.mock import MagicMock

import numpy as np
import pytest

from rllib_dbf.learner import NonFiniteUpdateError
from rllib_dbf.metrics import EPISODE_METRICS, LEARNER_METRICS
from rllib_dbf.presets import PRESETS
from tests.rllib.small import small, weights

TOYS = ["toy/two_step", "toy/pit_corridor"]


def finite(results: dict) -> bool:
    numbers = results["learners"]["default_policy"]
    return all(np.isfinite(v) for v in numbers.values() if isinstance(v, float))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_two_iterations_and_reports_its_metrics(preset):
    algo = small(preset).build_algo()
    before = weights(algo)
    for _ in range(2):
        results = algo.train()
    after = weights(algo)
    assert any(not np.array_equal(before[k], after[k]) for k in before if k.startswith("utility"))
    assert finite(results)
    runner, evaluation = results["env_runners"], results["evaluation"]["env_runners"]
    barrier = PRESETS[preset].barrier_estimator != "off"
    optional = {"win_rate", "deaths_in_wins_mean"}
    assert set(EPISODE_METRICS) - optional <= set(runner)
    assert set(EPISODE_METRICS) - optional - {"epsilon", "crashed_episodes"} <= set(evaluation)
    expected = [
        m for m in LEARNER_METRICS if barrier or not m.startswith(("barr", "gate", "gradient_"))
    ]
    assert set(expected) <= set(results["learners"]["default_policy"])
    assert runner["illegal_actions"] == evaluation["illegal_actions"] == 0
    assert evaluation["num_episodes"] == 5
    algo.stop()


@pytest.mark.parametrize("layer", ["hypernet", "hypernet_factored"])
def test_the_hypernetwork_input_layers_train(layer):
    algo = small("dbf", input_layer=layer).build_algo()
    before = weights(algo)
    results = algo.train()
    after = weights(algo)
    moved = [k for k in before if "input_layer" in k and not np.array_equal(before[k], after[k])]
    assert any(k.startswith("utility") for k in moved)
    assert finite(results)
    algo.stop()


def test_the_same_seed_gives_identical_results_and_another_seed_does_not():
    def run(seed):
        algo = small("dbf", seed=seed).build_algo()
        results = [algo.train() for _ in range(3)]
        figures = [
            (r["env_runners"]["episode_return_mean"], r["learners"]["default_policy"]["td_loss"])
            for r in results
        ]
        final = weights(algo)
        algo.stop()
        return figures, final

    (figures, final), (again, final_again), (other, _) = run(3), run(3), run(4)
    assert figures == again
    assert all(np.array_equal(final[k], final_again[k]) for k in final)
    assert figures != other


def test_the_barrier_off_control_equals_a_zero_gradient_up_to_beta():
    """With β_Q = 1 the zero-gradient control takes exactly the steps of no barrier at all."""
    plain = small("dmix").build_algo()
    control = small(
        "dmix", barrier_estimator="zero", gradient_combination="pcgrad", beta_q=1.0
    ).build_algo()
    for _ in range(2):
        plain.train(), control.train()
    a, b = weights(plain), weights(control)
    assert all(np.allclose(a[k], b[k], rtol=0, atol=1e-6) for k in a)
    plain.stop(), control.stop()


def test_the_control_halves_the_gradient_and_changes_nothing_else():
    """Halved before it is clipped: the same, to the bit, as a clip and an ε of Adam's doubled."""
    control = small("dbf", barrier_estimator="zero").build_algo()
    plain = small("dbf", barrier_estimator="off", grad_clip=20.0, optimizer_eps=2e-5).build_algo()
    for _ in range(2):
        control.train(), plain.train()
    a, b = weights(control), weights(plain)
    assert all(np.array_equal(a[k], b[k]) for k in a)
    control.stop(), plain.stop()


@pytest.mark.parametrize(
    ("reward", "remedy"), [(np.inf, "given NaN or infinity as reward"), (3e38, "Lower lr")]
)
def test_an_infinite_loss_stops_training_says_where_and_keeps_the_weights(reward, remedy):
    algo = small("qmix").build_algo()
    algo.train()
    before = weights(algo)
    algo.replay._records["reward"][:] = reward
    message = rf"update \d+: the gradient norm is (nan|inf).*{remedy}"
    with pytest.raises(NonFiniteUpdateError, match=message):
        algo.train()
    after = weights(algo)
    assert all(np.array_equal(before[k], after[k]) for k in before)
    algo.stop()


def test_a_barrier_on_an_environment_without_deaths_is_refused():
    with pytest.raises(ValueError, match=r"toy/two_step.*reports none.*barrier_estimator='off'"):
        small("dbf", env="toy/two_step").build_algo()


def test_targets_are_copied_every_so_many_collected_episodes():
    algo = small("qmix", target_update_interval=10_000).build_algo()
    algo.train()
    w = weights(algo)
    assert not np.array_equal(w["utility.head.out.weight"], w["target_utility.head.out.weight"])
    algo.stop()
    algo = small("qmix", target_update_interval=1).build_algo()
    algo.train()
    w = weights(algo)
    assert np.array_equal(w["utility.head.out.weight"], w["target_utility.head.out.weight"])
    algo.stop()


def test_updates_are_paid_for_by_episodes():
    algo = small("qmix", episodes_per_update=4, learning_starts=12).build_algo()
    algo.train()
    episodes = algo.replay.episodes_added
    assert algo._updates_made == (episodes - 12) // 4 + 1
    algo.stop()


def test_episodes_that_do_not_fill_an_update_still_leave_its_metrics():
    """Three runners share eight episodes out as three times three."""
    algo = small("qmix").build_algo()
    algo.learner_group.update = spy = MagicMock(wraps=algo.learner_group.update)
    algo._learn_from(algo.env_runner.collect(8), last=False)
    algo._learn_from(algo.env_runner.collect(17), last=True)
    asked = [call.kwargs["reduce_metrics"] for call in spy.call_args_list]
    assert asked == [False, False, True]
    algo.stop()


def test_the_learning_rate_follows_its_schedule():
    algo = small("qmix", lr=[[0, 1e-3], [1_000, 0.0]]).build_algo()
    rates = []
    for _ in range(4):
        results = algo.train()
        rates.append(results["learners"]["default_policy"]["default_optimizer_learning_rate"])
    assert 1e-3 > rates[0] > rates[1] > rates[-1] == 0.0
    algo.stop()


def test_the_module_acts_by_itself_as_rllib_expects():
    """forward_inference on an exported module gives legal greedy joint actions and new state."""
    import torch

    algo = small("dbf").build_algo()
    module, env = algo.get_module(), algo.env_runner.env
    step = env.reset(np.ones(8, bool), np.arange(8))
    state = {k: v.expand(8, *v.shape) for k, v in module.get_initial_state().items()}
    obs = {"obs": torch.from_numpy(step.obs.copy()), "avail": torch.from_numpy(step.avail.copy())}
    out = module.forward_inference({"obs": obs, "state_in": state})
    actions = out["actions"].numpy()
    assert np.take_along_axis(step.avail, actions[..., None], -1).all()
    assert out["state_out"]["hidden"].shape == (8, env.spec.n_agents, 64)
    algo.stop()


@pytest.mark.parametrize("overlap", [False, True])
def test_exploration_follows_all_steps_that_have_been_played(overlap):
    """Also those of episodes that the learner is about to learn from."""
    algo = small("qmix", overlap_sampling=overlap).build_algo()
    prepare, played, told = algo._collector.prepare, [], []

    def noted(wanted, env_steps):
        told.append((env_steps, sum(played)))
        play = prepare(wanted, env_steps)

        def play_and_count():
            episodes = play()
            played.append(sum(episodes.steps))
            return episodes

        return play_and_count

    algo._collector.prepare = noted
    for _ in range(3):
        algo.train()
    assert len(told) > 4 and all(steps == before for steps, before in told), told
    algo.stop()
