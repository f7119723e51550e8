"""Every command line that the README and the documentation print is run, or says here why not."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.command import rllib

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FILES += [ROOT / "tune_experiments" / "README.md"]

# What another test runs, or what nothing here can: a line's beginning → where or why.
ELSEWHERE = {
    "./run test": "this is it",
    "./run lint": "continuous integration runs it before the tests",
    "./run install": "continuous integration starts with it",
    "./run bench": "minutes to an hour; tests/test_benchmarks.py runs what it is made of",
    "rllib submit": "tests/cli/test_submit.py, on a real cluster",
    "rllib train --env smac/": "needs StarCraft II",
    "rllib train --algo DBF --env metadrive/": "minutes; test_environments.py trains it",
    "rllib train configs/metadrive/": "six minutes; test_configs.py checks the file",
}


def command_lines(text: str) -> list[str]:
    """Lines of code blocks that start `rllib` or `./run`, joined where they go on."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.S)
    blocks += re.findall(r"(?:^    \S.*\n)+", text, re.M)
    found = []
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s+#\s.*", "", line).strip()
            if re.match(r"(rllib|\./run) ", line):
                found.append(line)
    return found


LINES = {f"{file.stem}: {line}": line for file in FILES for line in command_lines(file.read_text())}
RUN = {
    name: line
    for name, line in LINES.items()
    if not any(line.startswith(beginning) for beginning in ELSEWHERE)
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as a reader has it: the configurations, the examples and a finished run."""
    home = tmp_path_factory.mktemp("reader")
    for name in ("configs", "tune_experiments", "examples"):
        shutil.copytree(ROOT / name, home / name)
    shutil.copy(ROOT / "examples" / "rescue.py", home)
    placeholder = home / "tune_experiments" / "NAME.yaml"
    placeholder.write_text("any:\n  run: VDN\n  env: toy/pit_corridor\n  num_samples: 2\n")
    done = rllib(
        "train", "--stop-iters", "1", "-n", "RUN", "--set", "evaluation_interval=0", cwd=home
    )
    assert done.returncode == 0, done.stderr
    return home


def test_there_are_lines_to_run() -> None:
    assert len(RUN) >= 8
    assert any("--dry-run" not in line and " train" in line for line in RUN.values())


@pytest.mark.parametrize("name", RUN)
def test_line(name: str, home: Path) -> None:
    """As printed, but trainings end after one iteration and evaluations after two episodes."""
    arguments = shlex.split(re.sub(r"^(rllib|\./run) ", "", RUN[name]))
    if arguments[0] == "train":
        arguments += ["--stop-iters", "1"]
    if arguments[0] == "evaluate":
        arguments += ["--episodes", "2"]
    done = rllib(*arguments, cwd=home, timeout=560)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manual_is_what_the_command_says() -> None:
    from rllib_dbf.cli.manual import manual

    written = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    assert written == manual(), "python -m rllib_dbf.cli.manual > docs/command.md"
