"""Toy problems with known answers that tell algorithms apart; a few seconds each."""

import numpy as np
import pytest

from rllib_dbf.evaluation import play_episodes
from tests.rllib.small import small

pytestmark = pytest.mark.learning


def trained(preset: str, env: str, steps: int, **settings) -> tuple[float, float]:
    """Mean return and deaths over 200 greedy episodes after training for `steps` team steps."""
    config = small(preset, env, seed=0, **settings).evaluation(evaluation_interval=None)
    algo = config.reporting(min_sample_timesteps_per_iteration=2_000).build_algo()
    while algo.train()["env_runners"]["num_env_steps_sampled_lifetime"] < steps:
        pass
    runner = algo.env_runner
    played = play_episodes(
        runner.env, runner.module, list(range(200)), lambda _: 0.0, np.random.default_rng(0)
    )
    algo.stop()
    returns = np.mean([e.reward.sum() for e in played])
    return float(returns), float(np.mean([e.deaths.sum() for e in played]))


@pytest.mark.parametrize(
    ("preset", "best"),
    [("qmix", 8.0), ("dmix", 8.0), ("resq", 8.0), ("vdn", 7.0), ("ddn", 7.0)],
)
def test_only_monotonic_mixing_solves_the_two_step_game(preset, best):
    """Rashid et al. (2018), section 5: QMIX reaches 8, a sum of utilities settles for 7."""
    returns, _ = trained(preset, "toy/two_step", 8_000, epsilon=1.0, td_lambda=0.0, lr=3e-3)
    assert returns == pytest.approx(best)


RISKY_BANDIT = [
    ("mean", 1.0, True),
    ("cvar", 0.25, False),
    ("cvar", -0.25, True),
    ("var", 0.04, False),
    ("var", 0.5, True),
    ("wang", 0.75, False),
    ("wang", -0.75, True),
    ("power", 2.0, False),
    ("power", -2.0, True),
    ("mean_variance", 0.2, False),
    ("mean_variance", -0.2, True),
]


def test_every_risk_measure_takes_its_arm_of_the_risky_bandit():
    """The risky arm pays 1.45 on average with a loss of 8 one time in ten; the safe arm pays 1.

    One learnt return distribution serves all: risk is a choice at the time of acting.
    """
    config = small("diql", "toy/risky_bandit", seed=0, epsilon=1.0, lr=3e-3)
    config.environment(env_config={"n_agents": 1}).evaluation(evaluation_interval=None)
    algo = config.reporting(min_sample_timesteps_per_iteration=8_000).build_algo()
    algo.train()
    module, env = algo.env_runner.module, algo.env_runner.env
    for risk, level, gambles in RISKY_BANDIT:
        module.risk, module.risk_level = risk, level
        (played,) = play_episodes(env, module, [0], lambda _: 0.0, np.random.default_rng(0))
        assert (played.actions == int(gambles)).all(), (risk, level)
    algo.stop()


def test_a_heavy_barrier_keeps_the_team_out_of_the_pit_and_a_zero_gradient_does_not():
    """The barrier acts on the policy through its gradient and nothing else.

    At this weight the team would rather stall than walk, so the return falls: eq. 5 knows no task.
    """
    learn = {
        "epsilon": [(0, 1.0), (6_000, 0.1)],
        "lr": 2e-3,
        "omega": 0.0,
        "on_policy_episodes": 32,
        "beta_b": 150.0,
    }
    _, with_barrier = trained("qbf", "toy/pit_corridor", 12_000, **learn)
    returns, with_zero = trained(
        "qbf", "toy/pit_corridor", 12_000, barrier_estimator="zero", **learn
    )
    assert with_barrier == 0.0
    assert with_zero > 0.8, "value learning alone takes the short way through the pit"
    assert returns > 9.0


def test_an_action_correction_crosses_the_corridor_without_falling_into_the_pit():
    """A death costs no reward here: the base learner takes the short way and dies half the time."""
    learn = {"epsilon": [(0, 1.0), (6_000, 0.1)], "lr": 2e-3}
    returns, deaths = trained("cbf", "toy/pit_corridor", 12_000, **learn)
    assert deaths < 0.1
    assert returns > 7.0, "two agents on the detour earn 4 each; who stands still loses 24"


HEAVY = {"on_policy_episodes": 32, "beta_b": 150.0}


@pytest.mark.parametrize(
    ("preset", "settings", "careful"),
    [
        ("qbf", {**HEAVY, "barrier_weights": "to_go"}, True),
        ("qbf", {**HEAVY, "barrier_weights": "control_variate"}, True),
        ("qbf", {**HEAVY, "barrier_estimator": "critic"}, True),
        (
            "qbf",
            {**HEAVY, "barrier_estimator": "gumbel", "beta_b": 1500.0, "barrier_critic_lr": 0.01},
            True,
        ),
        ("qbf", {"barrier_estimator": "penalty", "barrier_penalty": 20.0}, True),
        ("qbf", {**HEAVY, "barrier_estimator": "shuffled"}, False),
    ],
    ids=["to_go", "control_variate", "critic", "gumbel", "penalty", "shuffled"],
)
def test_every_estimator_keeps_the_team_out_of_the_pit_and_shuffled_blame_does_not(
    preset, settings, careful
):
    """Careful is not wise: most of these weights make the team stall, eq. 5 knows no task."""
    learn = {"epsilon": [(0, 1.0), (6_000, 0.1)], "lr": 2e-3, "omega": 0.0}
    _, deaths = trained(preset, "toy/pit_corridor", 12_000, **learn, **settings)
    assert deaths < 0.2 if careful else deaths > 0.8
