"""Playing against the stand-in for StarCraft II, and reading what happened to it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FAKES = ("smac", "smacv2", "smaclite", "pysc2")
STOP, NORTH, WEST = 1, 2, 5


class Stub:
    """Where faults are ordered, and what happened is read."""

    def __init__(self, folder):
        self.folder = folder

    def order(self, *faults):
        for fault in faults:
            (self.folder / fault).touch()

    def events(self, event):
        log = self.folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        found = map(json.loads, lines)
        return [line for line in found if line["event"] == event]

    def max_rewards(self):
        return [line["max_reward"] for line in self.events("started")]


def first_of(*wanted):
    """A policy: the first of these actions that is legal, else the no-op."""

    def choose(avail):
        chosen = np.zeros(avail.shape[:2], np.int64)
        for action in reversed(wanted):
            chosen = np.where(avail[:, :, action], action, chosen)
        return chosen

    return choose


wait, flee = first_of(STOP), first_of(WEST, STOP)


def fight(avail):
    """Everybody shoots at the first enemy."""
    targets = avail[:, :, 6:]
    shoot = 6 + targets.argmax(axis=2)
    return np.where(targets.any(axis=2), shoot, np.where(avail[:, :, STOP], STOP, 0))


def start(env, seed=0):
    everyone = np.ones(env.num_envs, np.bool_)
    return env.reset(everyone, seed + np.arange(env.num_envs))


def play(env, policy=fight, seed=0):
    """One episode in every sub-environment, with its first step."""
    shown = [start(env, seed)]
    while not (shown[-1].terminated | shown[-1].truncated).all():
        shown.append(env.step(policy(shown[-1].avail)))
        assert len(shown) < 300
    return shown


def total(shown):
    return sum(float(step.reward[0]) for step in shown)


def alive(pid):
    """Whether a process runs (and is no zombie)."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(*pids, within=10.0):
    deadline = time.monotonic() + within
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def run(code, *fakes, **kwargs):
    """A Python process of its own that finds these stand-ins."""
    path = os.pathsep.join([str(ROOT), *(str(HERE / f"fake_{fake}") for fake in fakes)])
    # Named like the command, so that the package does not register with Ray.
    code = f"import sys; sys.argv = ['rllib']\n{code}"
    env = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        **{
            "env": env,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **kwargs,
        },
    )
