"""A learner on a GPU (`num_gpus_per_learner=1`) and on the processor: updates, and end to end.

Updates are of 32 episodes; the GPU's time includes telling it which, and waits until the device is
done. End to end is DBF on 5m_vs_6m with episodes from remote runners, and an iteration of 50,000
steps, since the learner waits where one ends.
"""

import os
from typing import Any

import torch

from benchmarks.child import NotMeasured
from benchmarks.suite import Contestant, Figure, Goal, Options

_MOST_RUNNERS = 4  # more deliver no more: the learner's process is busy


def contestants(o: Options) -> list[Contestant]:
    if not torch.cuda.is_available():
        raise NotMeasured("there is no CUDA device, or Torch was built without CUDA")
    maps = ("3m", "27m_vs_30m") if o.full else ("3m",)
    updates = [
        c for m in maps for p in ("qmix", "dbf") for c in (_on(o, m, p, True), _on(o, m, p, False))
    ]
    return [*updates, _end_to_end(o, True), _end_to_end(o, False)]


def _on(o: Options, name: str, preset: str, gpu: bool) -> Contestant:
    settings = {"env": f"smax/{name}", "preset": preset, "seconds": o.seconds, "seed": o.seed}
    settings |= {"overrides": o.overrides, "gpu": gpu}
    title = f"{preset.upper()}, {name}"
    versus = f"{title}, processor" if gpu else ""
    label = f"{title}, {'GPU' if gpu else 'processor'}"
    return Contestant("update", settings, (Figure(label, "ms", "ms", versus),), needs_ray=True)


def _end_to_end(o: Options, gpu: bool) -> Contestant:
    runners = max(1, min(_MOST_RUNNERS, (os.cpu_count() or 2) - 1))
    where: dict[str, Any] = {"num_env_runners": runners, "num_gpus_per_learner": int(gpu)}
    where["min_sample_timesteps_per_iteration"] = 50_000
    settings = {"env": "smax/5m_vs_6m", "preset": "dbf", "seconds": 4 * o.seconds, "seed": o.seed}
    settings |= {"overrides": where | o.overrides}
    title = f"DBF end to end, 5m_vs_6m, {runners} runners"
    goal = Goal(at_least=50_000) if gpu else None
    label, versus = f"{title}, {'GPU' if gpu else 'processor'}", f"{title}, processor"
    figure = Figure(label, versus=versus if gpu else "", goal=goal)
    return Contestant("training", settings, (figure,), needs_ray=True)
