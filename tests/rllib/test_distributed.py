"""Remote runners, several learners, and Tune."""

import numpy as np
import pytest
from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm

from rllib_dbf.settings import SettingError
from tests.rllib.small import small


def test_remote_runners_train_count_every_step_and_resume(tmp_path):
    config = small("dbf").env_runners(num_env_runners=2).evaluation(evaluation_num_env_runners=1)
    algo = config.build_algo()
    for _ in range(2):
        results = algo.train()
    runner = results["env_runners"]
    assert runner["num_env_steps_sampled_lifetime"] >= 600
    assert runner["num_episodes_lifetime"] == algo.replay.episodes_added
    assert results["evaluation"]["env_runners"]["num_episodes"] == 5
    epsilons = algo.env_runner_group.foreach_env_runner(
        lambda r: r.sampler.epsilon(r.sampler.timestep), local_env_runner=False
    )
    assert max(epsilons) < 1.0, "runners must follow the exploration schedule"
    local = algo.learner_group._learner.module["default_policy"].utility.head.out.weight
    remote = algo.env_runner_group.foreach_env_runner(
        lambda r: r.module.utility.head.out.weight.detach().numpy(), local_env_runner=False
    )
    for weight in remote:
        assert np.array_equal(weight, local.detach().numpy())
    path = algo.save_to_path(str(tmp_path / "checkpoint"))
    algo.stop()
    restored = Algorithm.from_checkpoint(path)
    again = restored.env_runner_group.foreach_env_runner(
        lambda r: r.sampler.epsilon(r.sampler.timestep), local_env_runner=False
    )
    assert max(again) < 1.0, "exploration must go on where it was"
    assert restored.train()["training_iteration"] == 3
    restored.stop()


def test_a_killed_runner_comes_back_and_training_goes_on():
    config = (
        small("qmix")
        .env_runners(num_env_runners=2, sample_timeout_s=20)
        .fault_tolerance(restart_failed_env_runners=True, env_runner_health_probe_timeout_s=5)
    )
    algo = config.build_algo()
    algo.train()
    before = algo.replay.episodes_added
    algo.env_runner_group.foreach_env_runner(
        lambda r: __import__("os")._exit(1),
        remote_worker_ids=[1],
        local_env_runner=False,
        timeout_seconds=10,
    )
    for _ in range(3):
        algo.train()
    assert algo.replay.episodes_added > before
    algo.stop()


@pytest.mark.parametrize(
    "parts",
    [
        {"gradient_combination": "sum", "action_correction": "cbf"},
        {"gradient_combination": "pcgrad", "barrier_estimator": "critic"},
        {"gradient_combination": "pcgrad_one_way", "barrier_estimator": "gumbel"},
        {
            "barrier_estimator": "critic",
            "barrier_critic_data": "replayed",
            "barrier_critic_target": "agents",
        },
    ],
    ids=["score_cbf", "critic", "gumbel", "critic_of_agents"],
)
def test_two_learners_take_the_step_that_one_would(parts):
    """Sharded over two learners, the combined gradient is that of the whole batch.

    So are the gradients of the networks beside the team's: barrier critics and the correction.
    """

    def after_some_updates(learners: int):
        # Plain RMSprop steps: Adam would turn rounding of tiny gradients into whole steps.
        config = small(
            "qbf", omega=0.0, optimizer_name="rmsprop", optimizer_eps=1.0, epsilon=1.0, **parts,
        )  # fmt: skip
        algo = config.learners(num_learners=learners).build_algo()
        states = [_weights(algo, learners)[0]]
        losses = [algo.train()["learners"]["default_policy"]["td_loss"] for _ in range(2)]
        states += _weights(algo, learners)
        algo.stop()
        return losses, states

    loss_alone, (start, alone) = after_some_updates(0)
    loss_together, (_, first, second) = after_some_updates(2)
    # A mean over updates and over learners of means over their shares.
    assert loss_together == pytest.approx(loss_alone, rel=0.1)
    assert all(np.array_equal(first[k], second[k]) for k in first), "learners must not drift"
    beside = [name for name in alone if name.startswith(("barrier_critic", "correction"))]
    assert beside
    for name in alone:
        if name.startswith("utility"):
            assert np.allclose(alone[name], first[name], rtol=1e-4, atol=1e-6), name
    # These have an Adam of their own: the way they went is the same, not every weight.
    ours, theirs = (
        np.concatenate([(end[name] - start[name]).ravel() for name in beside])
        for end in (alone, first)
    )
    assert np.dot(ours, theirs) > 0.99 * np.linalg.norm(ours) * np.linalg.norm(theirs) > 0.0


def test_evaluation_may_take_as_long_as_training():
    config = small("vdn").evaluation(
        evaluation_interval=1,
        evaluation_num_env_runners=1,
        evaluation_duration="auto",
        evaluation_parallel_to_training=True,
    )
    algo = config.build_algo()
    played = 0
    for _ in range(5):  # after the first evaluation RLlib asks how fast it was
        found = algo.train()["evaluation"].get("env_runners", {})
        played += found.get("num_episodes", 0)
    assert played > 0
    algo.stop()


def _weights(algo, learners: int) -> list[dict[str, np.ndarray]]:
    """The weights of every learner."""
    group = algo.learner_group
    if learners == 0:
        states = [group._learner.get_state()]
    else:
        states = [r.get() for r in group.foreach_learner(lambda x: x.get_state())]
    return [{k: x.copy() for k, x in s["rl_module"]["default_policy"].items()} for s in states]


def test_tune_sweeps_by_name_and_refuses_a_misspelt_setting():
    space = {
        **{
            k: v
            for k, v in small("dbf").to_dict().items()
            if k in ("env", "learning_starts", "batch_episodes", "num_envs_per_env_runner")
        },
        "min_sample_timesteps_per_iteration": 300,
        "evaluation_interval": None,
        "gamma_b": tune.grid_search([0.4, 0.9]),
    }
    run = tune.RunConfig(stop={"training_iteration": 1}, verbose=0)
    grid = tune.Tuner("DBF", param_space=space, run_config=run).fit()
    assert not grid.errors
    assert sorted(r.config["gamma_b"] for r in grid) == [0.4, 0.9]
    wrong = {**space, "gama_b": 0.5, "gamma_b": 0.5}
    with pytest.raises(SettingError, match="Did you mean 'gamma_b'"):
        tune.Tuner("DBF", param_space=wrong, run_config=run).fit()


def test_a_runner_in_place_of_one_that_died_plays_other_games():
    from rllib_dbf.runner import TeamEnvRunner

    config = small("qmix").env_runners(num_env_runners=1)

    def seeds(steps: int) -> list[int]:
        runner = TeamEnvRunner(config=config, worker_index=1)
        runner.set_state({"num_env_steps_sampled_lifetime": steps})
        played = [episode.seed for episode in runner.sample(num_episodes=12)]
        assert runner.sampler.timestep >= steps
        runner.set_state({"num_env_steps_sampled_lifetime": 9_000})  # goes on, and does not begin
        played += [episode.seed for episode in runner.sample(num_episodes=12)]
        assert len(set(played)) == 24
        runner.stop()
        return played

    first = seeds(0)
    assert seeds(0) == first and seeds(5_000) == seeds(5_000)
    assert not set(first) & set(seeds(5_000))
