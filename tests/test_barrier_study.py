"""The barrier study: which runs there are, what is measured, and that none is played twice."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from tune_experiments import barrier_report, barrier_study
from tune_experiments.barrier_verdict import verdict, verdict_lines

STUDY = {
    "base": {"preset": "qbf", "hidden_dim": 8},
    "controls": ["base", "zero"],
    "environments": {
        "a": {"env": "toy/pit_corridor", "steps": 600, "seeds": [0, 1], "evaluations": 2,
              "episodes": 6, "config": {"learning_starts": 32}},
        "b": {"env": "toy/pit_corridor", "steps": 600, "seeds": [1], "evaluations": 2,
              "episodes": 6, "forms": ["late"]},
    },
    "forms": {
        "base": {"label": "none", "source": "control", "config": {"barrier_estimator": "off"}},
        "zero": {"label": "no gradient", "source": "control",
                 "config": {"barrier_estimator": "zero"}},
        "late": {"label": "something", "source": "ours", "config": {"omega": 0}},
    },
}  # fmt: skip


def test_every_form_meets_every_seed_and_the_controls_are_never_left_out():
    runs = [(r.environment, r.form, r.seed) for r in barrier_study.runs_of(STUDY)]
    assert runs == [
        *[("a", f, 0) for f in ("base", "zero", "late")],
        *[("a", f, 1) for f in ("base", "zero", "late")],
        *[("b", f, 1) for f in ("base", "zero", "late")],
    ]
    run = next(iter(barrier_study.runs_of(STUDY)))
    assert run.settings == {
        "preset": "qbf", "hidden_dim": 8, "learning_starts": 32, "barrier_estimator": "off"
    }  # fmt: skip


def test_more_seeds_are_for_the_leading_forms():
    tasks = {"a": STUDY["environments"]["b"] | {"more_seeds": [4], "forms": ["late", "zero"]}}
    some = STUDY | {"environments": tasks, "controls": ["base"], "leading": ["late"]}
    runs = [(r.form, r.seed) for r in barrier_study.runs_of(some)]
    assert runs == [("base", 1), ("late", 1), ("zero", 1), ("base", 4), ("late", 4)]


def test_an_undefined_form_is_named():
    broken = STUDY | {"controls": ["base", "nought"]}
    with pytest.raises(ValueError, match="nought: no such form; defined: base, zero, late"):
        list(barrier_study.runs_of(broken))


def test_the_study_that_is_kept_is_sound():
    study = yaml.safe_load(barrier_study.STUDY.read_text())
    from rllib_dbf import DBFConfig

    for run in barrier_study.runs_of(study):
        if run.seed == 0:
            DBFConfig().update_from_dict({"env": run.task["env"], **run.settings}).validate()


def record(form, seed, deaths, wins):
    evaluations = [
        {"env_steps": 100 * (i + 1), "return": [1.0] * len(d), "deaths": d, "length": [4] * len(d),
         "win": w} for i, (d, w) in enumerate(zip(deaths, wins, strict=True))
    ]  # fmt: skip
    training = [
        {"env_steps": 100 * (i + 1), "deaths_mean": 3.0 - i, "win_rate": 0.0} for i in range(3)
    ]
    return {"environment": "a", "form": form, "seed": seed, "training": training,
            "evaluations": evaluations}  # fmt: skip


def test_measures_by_hand():
    deaths, wins = [[3, 3], [1, 3], [0, 2]], [[0, 0], [1, 0], [1, 1]]
    found = barrier_report.measure(record("base", 0, deaths, wins))
    assert found["wins"] == pytest.approx(0.5)
    assert found["wins_first_half"] == 0.0
    assert found["wins_end"] == 1.0
    assert found["deaths"] == 2.0
    assert found["deaths_first_third"] == 3.0
    assert found["deaths_end"] == found["deaths_in_wins"] == 1.0
    assert found["deaths_cvar"] == 2.0, "the worse of the last two episodes"
    assert found["deaths_training"] == 2.0
    assert found["deaths_training_first_third"] == 3.0
    assert found["half_won_at"] == 200.0
    assert np.isnan(barrier_report.measure(record("base", 0, [[1]], [[0]]))["half_won_at"])


def test_what_cannot_be_won_has_no_wins():
    some = record("base", 0, [[3, 3]], [[0, 0]])
    for row in some["training"]:
        del row["win_rate"]
    found = barrier_report.measure(some)
    assert np.isnan([found[n] for n in ("wins", "wins_first_half", "wins_end")]).all()
    assert found["deaths"] == 3.0


def test_repeats_are_counted_with_what_they_repeat():
    more = {"c": STUDY["environments"]["b"] | {"repeats": "a", "seeds": [7]}}
    study = STUDY | {"environments": STUDY["environments"] | more}
    rows = [("a", "late", 0), ("b", "late", 7), ("c", "late", 7)]
    frame = pd.DataFrame(rows, columns=["environment", "form", "seed"])
    counted, played = barrier_report.with_repeats(study, frame)
    assert list(counted["environments"]) == ["a", "b"]
    assert played.to_numpy().tolist() == [["a", "late", 0], ["b", "late", 7], ["a", "late", 7]]
    with pytest.raises(ValueError, match="a, late: seed 0 played twice"):
        barrier_report.with_repeats(study, frame.assign(seed=0))
    more["c"]["repeats"] = "d"
    with pytest.raises(ValueError, match="c repeats 'd'; choose from a, b"):
        barrier_report.with_repeats(study | {"environments": more | STUDY["environments"]}, frame)


def test_the_interval_holds_the_mean_and_needs_two_seeds():
    low, high = barrier_report.interval(np.array([1.0, 2.0, 6.0]))
    assert 1.0 <= low < 3.0 < high <= 6.0
    assert np.isnan(barrier_report.interval(np.array([1.0]))).all()
    assert barrier_report.interval(np.array([2.0, 2.0])) == (2.0, 2.0)


def command(*words, **env):
    """The study's command, in a process of its own as from a shell."""
    return subprocess.run(
        [sys.executable, "-m", "tune_experiments.barrier_study", *map(str, words)],
        cwd=barrier_study.HERE.parent,
        capture_output=True,
        text=True,
        timeout=560,
        check=True,
        env=os.environ | env,
    )


@pytest.mark.ray
def test_what_was_played_is_not_played_again_and_failures_are_counted(tmp_path):
    (tmp_path / "crashing.py").write_text("import os\n\n\ndef make():\n    os.abort()\n")
    study, results = tmp_path / "study.yaml", tmp_path / "results"
    some = dict(STUDY["environments"])
    some["crash"] = some["b"] | {"env": "pettingzoo/crashing:make"}
    broken = {"label": "cannot work", "source": "ours", "config": {"gamma_b": 2.0}}
    forms = STUDY["forms"] | {"broken": broken}
    study.write_text(yaml.safe_dump(STUDY | {"environments": some, "forms": forms}))
    files = ("--study", study, "--results", results, "--environment", "a")
    first = command("run", *files, "--environment", "crash", PYTHONPATH=str(tmp_path))
    assert "11 runs, 11 missing" in first.stdout
    crashed = json.loads((results / "crash" / "base" / "seed_1.json").read_text())
    assert (crashed["environment"], crashed["form"], crashed["seed"]) == ("crash", "base", 1)
    assert "WorkerCrashed" in crashed["error"]
    records = sorted(results.glob("a/*/seed_*.json"))
    assert len(records) == 8
    kept = [f.read_bytes() for f in records]
    again = command("run", *files)
    assert "8 runs, 0 missing" in again.stdout
    assert [f.read_bytes() for f in records] == kept
    played = json.loads((results / "a" / "late" / "seed_0.json").read_text())
    assert len(played["evaluations"]) == 2
    assert len(played["evaluations"][0]["deaths"]) == 6
    assert "must lie in [0, 1]" in (results / "a" / "broken" / "seed_0.json").read_text()
    command("report", *files[:4])
    table = (results / "table.md").read_text()
    assert "| late | 0, 1 | 0 |" in table
    assert "| broken |  | 2 |" in table
    assert "<svg" in (results / "figure.svg").read_text()


def test_a_misspelt_name_is_refused(tmp_path):
    said = CliRunner().invoke(barrier_study.app, ["run", "--form", "papper"])
    assert said.exit_code == 2
    assert "papper" in said.output


def test_the_command_of_the_documentation_says_what_is_missing():
    """As printed in tune_experiments/README.md."""
    line = "-m tune_experiments.barrier_study run --dry-run"
    assert f".venv/bin/python {line}" in (barrier_study.HERE / "README.md").read_text()
    done = command(*line.split()[2:])
    total = sum(1 for _ in barrier_study.runs_of(yaml.safe_load(barrier_study.STUDY.read_text())))
    assert done.stdout.startswith(f"{total} runs, ")


def found(**measures):
    """A `compare` that knows (mean, low, high) of some measures; the rest cannot be measured."""
    nothing = dict.fromkeys(("mean", "difference", "low", "high"), np.nan)
    of = {
        name: {"mean": mean, "low": low, "high": high, "difference": (low + high) / 2}
        for name, (mean, low, high) in measures.items()
    }
    return lambda environment, form, name: of.get(name, nothing)


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        (
            {"wins": (0.5, -0.1, 0.1), "wins_first_half": (0.4, 0.01, 0.2)},
            "better: wins_first_half",
        ),
        ({"wins": (0.5, 0.1, 0.2), "wins_first_half": (0.4, -0.01, 0.2)}, "–"),
        (
            {"wins": (0.5, -0.2, -0.1), "wins_first_half": (0.4, 0.01, 0.2)},
            "worse: wins",
        ),
        ({"return": (5.0, -1.0, 1.0), "deaths": (0.8, -0.6, -0.2)}, "better: deaths"),
        ({"return": (5.0, -1.0, 1.0), "deaths": (4.0, -0.6, -0.2)}, "–"),  # a tenth fewer
        ({"return": (5.0, -1.0, -0.1), "deaths": (0.8, -0.6, -0.2)}, "worse: return"),
        ({"return": (5.0, -1.0, 1.0), "deaths": (0.8, 0.1, 0.2)}, "worse: deaths"),
        ({}, ""),
    ],
)
def test_the_criterion(measures, expected):
    assert verdict(found(**measures), "a", "late") == expected


def test_where_nobody_wins_deaths_can_judge():
    both = found(wins=(0.0, 0.0, 0.0), **{"return": (5.0, -1.0, 1.0)}, deaths=(0.8, -0.6, -0.2))
    assert verdict(both, "a", "late", by_deaths=True) == "better: deaths"


def test_a_form_earns_its_place_only_where_everything_was_played():
    better = {"return": (5.0, -1.0, 1.0), "deaths": (0.8, -0.6, -0.2)}
    lines = verdict_lines(STUDY, ["a", "b"], "zero", found(**better))
    assert lines[-1] == "| late | better: deaths | better: deaths | yes |"
    assert verdict_lines(STUDY, ["a"], "zero", found(**better))[-1].endswith("| not all played |")
    harmless = found(wins=(0.5, -0.1, 0.1), wins_first_half=(0.5, -0.1, 0.1))
    assert verdict_lines(STUDY, ["a", "b"], "zero", harmless)[-1] == "| late | – | – | no |"


def test_the_interval_of_few_seeds_is_as_wide_as_it_has_to_be():
    low, high = barrier_report.t_interval(np.array([0.1, 0.2, 0.3]))
    assert (low, high) == pytest.approx((0.2 - 0.24841, 0.2 + 0.24841), abs=1e-4)  # t = 4.3027
    bootstrapped = barrier_report.interval(np.array([0.1, 0.2, 0.3]))
    assert low < bootstrapped[0] and bootstrapped[1] < high
    assert np.isnan(barrier_report.t_interval(np.array([0.1]))).all()
    assert barrier_report.t_interval(np.array([0.1, 0.1])) == pytest.approx((0.1, 0.1))
