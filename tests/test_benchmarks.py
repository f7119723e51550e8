"""The benchmark suite itself: what it lists, computes and writes, and one tiny measurement."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
from typer.testing import CliRunner

from benchmarks import suite, venvs
from benchmarks.__main__ import app
from benchmarks.child import NotMeasured
from benchmarks.report import Row, compare, number, show, write_json
from benchmarks.running import run
from benchmarks.suite import Contestant, Figure, Goal, Options

OPTIONS = Options(repeats=2, seconds=0.05, env="toy/pit_corridor")
TOY = {"env": "toy/pit_corridor", "num_envs": [2], "seconds": 0.05}


def test_every_benchmark_is_listed_with_a_summary():
    listed = CliRunner().invoke(app, ["--list"]).output.splitlines()
    assert [line.split()[0] for line in listed] == suite.benchmark_names()
    assert all(len(line.split()) > 3 for line in listed)


def test_an_unknown_benchmark_is_refused_with_the_nearest_name():
    result = CliRunner().invoke(app, ["samplings"])
    assert result.exit_code == 2


@pytest.mark.parametrize("name", suite.benchmark_names())
def test_a_benchmark_names_probes_that_exist_and_lines_that_are_its_own(name, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    contestants = suite.benchmark(name).contestants(OPTIONS)
    labels = [f.label for c in contestants for f in c.figures]
    assert len(set(labels)) == len(labels)
    for contestant in contestants:
        assert (suite.HERE / "probes" / f"{contestant.probe}.py").is_file()
        assert all(not f.versus or f.versus in labels for f in contestant.figures)
        for pins in (contestant.peer, contestant.packages):
            assert not pins or (suite.HERE / "peers" / f"{pins}.txt").is_file()
        json.dumps(contestant.settings)


def test_ratios_are_taken_round_by_round():
    slow = Row(Figure("slow"), [1.0, 10.0, 4.0])
    fast = Row(Figure("fast", versus="slow", goal=Goal(2.0, of_ratio=True)), [3.0, 20.0, 8.0])
    compare([slow, fast])
    assert fast.ratios == [3.0, 2.0, 2.0]
    assert (fast.median, fast.ratio, fast.goal_met()) == (8.0, 2.0, True)


def test_a_figure_that_was_not_reached_counts_as_missed():
    row = Row(Figure("wins", goal=Goal(at_most=25)), [None, 12.0, None])
    assert row.median is None and row.goal_met() is False
    assert number(row.median) == "not reached"


def test_the_table_says_why_something_was_not_measured(capsys):
    show("title", [Row(Figure("peer"), [], "no such package")])
    assert "not measured: no such package" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"), [(77201.4, "77,201"), (0.3512, "0.351"), (2.5, "2.50"), (0.0, "0")]
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_a_tiny_benchmark_is_measured_and_written(tmp_path, monkeypatch):
    figure = Figure("toy", "steps_per_second_2")
    missing = Contestant("no_such_probe", {}, (Figure("nothing"),))
    once = Contestant("raw_env", TOY, (figure,), rounds=1)
    monkeypatch.setattr(
        "benchmarks.running.benchmark",
        lambda _: type("Case", (), {"contestants": staticmethod(lambda _: [once, missing])}),
    )
    result = run("tiny", OPTIONS, tmp_path, None, threads=None)
    write_json(tmp_path / "report.json", result.as_dict())
    toy, nothing = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert len(toy["values"]) == 1 and toy["median"] > 0
    assert "no_such_probe" in nothing["not_measured"] and result.broke_down
    assert result.contestants[0]["peak_rss_mb"] > 10


def test_packages_that_cannot_be_installed_are_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(venvs, "WHERE", tmp_path)
    monkeypatch.setattr(venvs, "_base_python", lambda: sys.executable)
    monkeypatch.setattr(venvs, "_call", _refuse)
    with pytest.raises(NotMeasured, match="no index"):
        venvs.package_folder("simple_spread")


def _refuse(name, command):
    raise NotMeasured(f"{name} could not be installed: no index")


def test_a_suite_that_is_told_to_end_leaves_no_process_behind(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "raw_env", "--seconds", "300"]
    options = ["--env", "toy/pit_corridor", "--output", str(tmp_path / "it.json")]
    process = subprocess.Popen([*command, *options], cwd=suite.ROOT)
    try:
        parent, deadline = psutil.Process(process.pid), time.monotonic() + 120
        while not (children := parent.children(recursive=True)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        process.terminate()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
        assert not psutil.wait_procs(children, timeout=30)[1]
    finally:
        process.kill()
