"""Pieces of the command that need no process of their own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

RESULT = {
    "training_iteration": 3,
    "num_env_steps_sampled_lifetime": 5000,
    "time_total_s": 10.0,
    "time_this_iter_s": 2.0,
    "env_runners": {
        "num_env_steps_sampled": 4000,
        "win_rate": 0.5,
        "deaths_mean": 1.5,
        "episode_return_mean": float("nan"),
    },
    "evaluation": {"env_runners": {"win_rate": 0.75}},
    "learners": {"default_policy": {"td_loss": 0.25, "gradient_conflict_rate": 0.1}},
}


def test_readings_leave_out_what_is_absent() -> None:
    from rllib_dbf.cli.readings import readings

    found = readings(RESULT)
    assert found["win_rate"] == 0.5
    assert found["eval_win_rate"] == 0.75
    assert found["td_loss"] == 0.25
    assert not {"episode_return_mean", "barrier_loss", "epsilon"} & set(found)


def test_view_knows_speed_and_time_left() -> None:
    from rllib_dbf.cli.progress import View, plain_line

    view = View("trial 1")
    view.take(RESULT, {"num_env_steps_sampled_lifetime": 20_000})
    assert view.steps_per_second == 2000  # 1,000 are of before a resumption
    assert view.eta == pytest.approx(30.0)
    line = plain_line(view)
    assert "5,000 steps" in line
    assert "win rate 50%" in line
    assert "0:30 left" in line
    view.take(RESULT | {"num_env_steps_sampled_lifetime": 9000}, {})
    assert view.steps_per_second == 2000


def test_a_view_without_the_steps_of_its_first_iteration_shows_no_speed() -> None:
    from rllib_dbf.cli.progress import View, plain_line

    view = View("trial 1")
    view.take({name: RESULT[name] for name in RESULT if name != "env_runners"}, {})
    assert view.steps_per_second is None
    assert "/s" not in plain_line(view)


def test_panel_shows_a_trial() -> None:
    from rich.console import Console

    from rllib_dbf.cli.panels import picture
    from rllib_dbf.cli.progress import View

    view = View("trial 1")
    view.take(RESULT, {"training_iteration": 6})
    console = Console(width=80)
    with console.capture() as capture:
        console.print(picture({"a": view, "b": View("trial 2")}))
    text = capture.get()
    for words in ("trial 1", "training", "50%", "75%", "conflict rate", "trial 2", "starting"):
        assert words in text


def test_criteria_stop_and_refuse_unknown_keys() -> None:
    from rllib_dbf.cli.errors import CommandError
    from rllib_dbf.cli.stopping import Criteria, Interruption

    criteria = Criteria({"env_runners/win_rate": 0.5}, Interruption())
    assert criteria("a", RESULT)
    criteria = Criteria({"training_iteration": 4}, Interruption())
    assert not criteria("a", RESULT)
    criteria = Criteria({"traning_iteration": 4}, Interruption())
    assert criteria("a", RESULT)
    with pytest.raises(CommandError, match="Did you mean 'training_iteration'"):
        criteria.check()


def test_interruption_lets_trials_save_first() -> None:
    from rllib_dbf.cli.stopping import Criteria, Interruption

    interruption = Interruption()
    criteria = Criteria({"training_iteration": 4}, interruption)
    assert not criteria("a", RESULT)
    interruption.asked = True
    assert not criteria.stop_all()
    assert criteria("a", RESULT)
    assert not criteria.stop_all()
    criteria.ended("a")
    assert criteria.stop_all()


def test_cause_is_the_line_that_says_something() -> None:
    from rllib_dbf.cli.errors import cause_of

    text = "ray.exceptions.X: y\nTraceback\n  at\nValueError: broken\n\nRuntimeError\n"
    assert cause_of(RuntimeError(text)) == "ValueError: broken"
    text = "a.b.TaskError: first\n\nDuring handling of the above exception, x\nKeyError: later"
    assert cause_of(RuntimeError(text)) == "a.b.TaskError: first"
    assert cause_of(RuntimeError("only words")) == "only words"


def test_curve_draws_training_and_evaluation(tmp_path: Path) -> None:
    from rllib_dbf.cli.curve import draw_curves

    frame = pd.DataFrame(
        {
            "num_env_steps_sampled_lifetime": [1000, 2000],
            "env_runners/win_rate": [0.1, 0.4],
            "evaluation/env_runners/win_rate": [None, 0.6],
            "env_runners/deaths_mean": [3.0, 2.0],
        }
    )
    assert draw_curves({"trial 1": frame, "trial 2": frame}, tmp_path / "c.png", "T")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > 800
    assert not draw_curves({"trial 1": pd.DataFrame({"x": [1]})}, tmp_path / "d.png", "T")
    assert not (tmp_path / "d.png").exists()


def test_python_file_gives_config_and_stop(tmp_path: Path) -> None:
    from rllib_dbf.cli.experiment import resolve
    from rllib_dbf.cli.experiment_file import read_experiments

    file = tmp_path / "mine.py"
    file.write_text(
        "from rllib_dbf import DBFConfig\n"
        "config = DBFConfig().environment('toy/pit_corridor').training(gamma_b=0.25)\n"
        "stop = {'training_iteration': 2}\n"
    )
    (experiment,) = read_experiments(file, None, None)
    config, _, _ = resolve(experiment)
    assert config.gamma_b == 0.25
    assert experiment.stop_criteria() == {"training_iteration": 2}
    assert "gamma_b" in experiment.base_changes


@pytest.mark.parametrize(
    ("settings", "given", "cores", "runners"),
    [
        ({"num_env_runners": 2}, [], 2, 1),  # PPO's default on a small machine
        ({"num_env_runners": 2}, [], 3, None),
        ({"num_env_runners": 2, "evaluation_num_env_runners": 1}, [], 2, 0),
        ({"num_env_runners": 2}, ["num_env_runners"], 2, "refused"),
        ({"num_env_runners": 0, "evaluation_num_env_runners": 2}, [], 2, "refused"),
    ],
)
def test_a_trial_never_waits_for_cores_that_are_not_there(settings, given, cores, runners) -> None:
    from ray.rllib.algorithms.ppo import PPOConfig

    from rllib_dbf.cli.errors import CommandError
    from rllib_dbf.cli.running import fewer_runners

    config = PPOConfig().update_from_dict(settings)
    if runners == "refused":
        with pytest.raises(CommandError, match="cores"):
            fewer_runners(config, given, cores)
    else:
        assert fewer_runners(config, given, cores).get("num_env_runners") == runners


@pytest.mark.parametrize(
    ("given", "cores", "runners", "threads"),
    [
        ({}, 1, None, 1),  # nothing to spread over
        ({}, 2, 1, 1),
        ({}, 16, 1, 4),
        ({"num_env_runners": 0}, 2, None, 2),
        ({"num_cpus_for_main_process": 3}, 4, 1, None),
        # A trial that asks for more cores than there are would wait for ever.
        ({"num_cpus_for_main_process": 2}, 2, None, None),
        ({"evaluation_num_env_runners": 1}, 2, None, 1),
        ({"num_learners": 1}, 2, None, 1),
    ],
)
def test_a_lone_trial_spreads_over_idle_cores(given, cores, runners, threads) -> None:
    from rllib_dbf.cli.running import idle_core_settings
    from rllib_dbf.config import DBFConfig

    config = DBFConfig()
    config.update_from_dict(given)
    found = idle_core_settings(config, given, cores)
    assert found.get("num_env_runners") == runners
    assert found.get("num_cpus_for_main_process") == threads


def test_checkpoints_that_other_trials_go_on_from_are_kept() -> None:
    from rllib_dbf.cli.experiment import Checkpointing
    from rllib_dbf.cli.tuning import Tuning

    pbt, asha = Tuning(scheduler="PBT").copies_trials, Tuning(scheduler="asha").copies_trials
    assert (pbt, asha, Tuning().copies_trials) == (True, False, False)
    assert [Checkpointing().kept(copied) for copied in (False, True)] == [2, None]
    assert [Checkpointing(keep=5).kept(copied) for copied in (False, True)] == [5, 5]


def test_the_manual_tells_defaults_that_are_zero() -> None:
    from rllib_dbf.cli.manual import manual

    text = manual()
    row = "| `--seed` `N` | Seed that the episodes' seeds are drawn from. (default: 0) |"
    assert row in text
    assert "| `--verbose`, `-v` | More of Ray's log. |" in text
    assert "| `WHAT` | What to list: algos, envs, settings, examples or runs. |" in text
