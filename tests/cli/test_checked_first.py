"""What would fail long after the start, or be ignored, is refused before Ray starts."""

from __future__ import annotations

import os
from pathlib import Path

import jaxtyping
import pytest

from rllib_dbf.cli import evaluate, running
from rllib_dbf.cli.app import app
from rllib_dbf.cli.errors import CommandError, one_line

TOY = ("--env", "toy/pit_corridor")
LONG = "n" * 300


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def start(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(running, "start_ray", start)
    # Typer hands commands a context of another class than the one that it has them ask for.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    return app(list(arguments), prog_name="rllib", standalone_mode=False) or 0


def assert_refused(arguments: list[str], *words: str) -> None:
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    for word in words:
        assert word in one_line(refused.value)
    assert not [path for path in Path().iterdir() if path.suffix != ".yaml"]


SETTINGS = {
    "evaluation_config": ('{"explor": true}', ["'explor'", "Did you mean 'explore'?"]),
    "evaluation_config of a wrong type": ('{"explore": "maybe"}', ["explore='maybe'", "bool"]),
    "evaluation_config that cannot work": ('{"epsilon": 2}', ["epsilon=2.0", "[0, 1]"]),
    "seed": ("4294967296", ["seed=4294967296", "0 to 4290000000"]),
    "model_config": ('{"hidden_dmi": 3}', ["model_config={'hidden_dmi': 3}", "hidden_dim"]),
    "metrics_num_episodes_for_smoothing": ("0", ["for_smoothing=0", "greater than 0"]),
}


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_a_setting(case: str, dry: list[str]) -> None:
    value, words = SETTINGS[case]
    assert_refused(["train", *TOY, "--set", f"{case.split()[0]}={value}", *dry], *words)


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_of_a_file_or_an_example(case: str) -> None:
    value, words = SETTINGS[case]
    name = case.split()[0]
    Path("mine.yaml").write_text(
        f"mine: {{run: DBF, env: toy/pit_corridor, config: {{{name}: {value}}}}}\n"
    )
    assert_refused(["train", "mine.yaml", "--dry-run"], *words)
    assert_refused(["config", "mine.yaml"], *words)
    assert_refused(["example", "run", "paper", *TOY, "--set", f"{name}={value}"], *words)


def test_settings_of_evaluations_and_seeds_of_rllibs_own_algorithms() -> None:
    options = ["--algo", "PPO", "--env", "CartPole-v1", "--stop-iters", "1"]
    typo = ["--set", 'evaluation_config={"explor": true}']
    assert_refused(["train", *options, *typo], "'explor'", "Did you mean 'explore'?")
    assert_refused(["train", *options, "--seed", "4294967296"], "seed=4294967296")


def test_seeds_that_repetitions_count_up_to() -> None:
    options = ["--seed", "4289999999", "--num-samples", "3", "--dry-run"]
    assert_refused(["train", *TOY, *options], "num_samples=3", "seed=4289999999 to 4290000001")
    assert run("train", *TOY, *options, "--num-samples", "2") == 0


def test_names_that_no_file_system_takes() -> None:
    assert_refused(["train", *TOY, "-n", LONG], "300 bytes", "--experiment-name")
    assert_refused(["train", *TOY, "-n", "ü" * 101], "202 bytes")  # bytes, not letters
    Path("mine.yaml").write_text(f"{LONG}: {{run: DBF, env: toy/pit_corridor}}\n")
    assert_refused(["train", "mine.yaml"], "320 bytes", "--experiment-name")  # with the time
    assert_refused(["evaluate", LONG], "CHECKPOINT", "name too long")
    assert_refused(["resume", LONG], "RUN_DIR", "name too long")


@pytest.mark.parametrize("place", ["/proc/nope", "/dev/null", "/dev/null/x", f"/tmp/{LONG}"])
def test_places_where_nothing_can_be_kept(place: str) -> None:
    assert_refused(["train", *TOY, "--storage-path", place], place, "--storage-path")
    Path("mine.yaml").write_text(f"mine: {{run: DBF, env: toy/two_step, storage_path: {place}}}\n")
    options = ["--set", "barrier_estimator=off"]
    assert_refused(["train", "mine.yaml", *options], place, "--storage-path")


def test_a_directory_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root
    for dry in ([], ["--dry-run"]):
        assert_refused(["train", *TOY, *dry], "results", "no permission", "--storage-path")


def test_trying_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    for dry in (["--dry-run"], []):
        options = ["--storage-path", "a/b", "-n", "mine", *dry]
        if dry:
            assert run("train", *TOY, *options) == 0
        else:
            with pytest.raises(AssertionError, match="Ray was started"):
                run("train", *TOY, *options)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["evaluate", ""], "CHECKPOINT"),
        (["evaluate", " "], "CHECKPOINT"),
        (["evaluate", ".", "--out", ""], "--out"),
        (["train", *TOY, "--restore", ""], "--restore"),
        (["resume", ""], "RUN_DIR"),
    ],
)
def test_what_an_unset_variable_leaves(arguments: list[str], what: str) -> None:
    assert_refused(arguments, f"{what} is empty", "unset")


@pytest.mark.parametrize(
    ("option", "file", "reason"),
    [
        ("--out", "/proc/x.csv", "No such file"),
        ("--out", "/dev/null/x.csv", "no directory"),
        ("--out", f"{LONG}/x.csv", "too long"),
        ("--render", "/proc/x.gif", "No such file"),
    ],
)
def test_files_that_cannot_be_written_are_told_before_anything_is_played(
    option: str, file: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "find_checkpoint", lambda path: path)
    assert_refused(["evaluate", "x", option, file], option, file, reason)


def test_a_directory_is_no_file_of_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evaluate, "find_checkpoint", lambda path: path)
    there = tmp_path / "there.csv"
    there.mkdir()
    with pytest.raises(CommandError, match=r"--out .*there.csv' .*is a directory"):
        run("evaluate", "x", "--out", str(there))


def test_the_command_of_a_job_before_its_cluster() -> None:
    address = ["--address", "http://127.0.0.1:1"]
    assert_refused(["submit", *address, "--", "foo"], "'foo'", "choose from train", "doctor")
    assert_refused(["submit", *address, "--", "traim"], "Did you mean 'train'?")
    assert_refused(["submit", *address, "--", "--version"], "no cluster takes jobs")


def test_one_experiment_file_is_shown_and_taken(capsys: pytest.CaptureFixture[str]) -> None:
    run("train", "--help")
    assert "Usage: rllib train [OPTIONS] [CONFIG.yaml|.py]\n" in capsys.readouterr().out
    for words in (["a.yaml", "b.yaml"], ["file", "a.yaml", "b.yaml"]):
        assert_refused(["train", *words], "one experiment file at a time")
        assert_refused(["config", *words], "one experiment file at a time")


def test_no_runs_are_told_with_their_folder(capsys: pytest.CaptureFixture[str]) -> None:
    run("list", "runs")
    assert capsys.readouterr().err == "no runs in results\n"
    run("list", "runs", "--storage-path", "elsewhere", "--filter", "x")
    assert capsys.readouterr().err == "no runs in elsewhere\n"
    run("list", "runs", "--json")
    assert capsys.readouterr().out == "[]\n"
    run("list", "envs", "--filter", "nowhere")
    assert capsys.readouterr().err == "nothing matches 'nowhere'\n"
