"""One update of 32 episodes on a GPU (`num_gpus_per_learner=1`) and on the processor.

The GPU's time includes the batch's way to the device and waits until the device is done.
"""

import torch

from benchmarks.child import NotMeasured
from benchmarks.suite import Contestant, Figure, Options


def contestants(o: Options) -> list[Contestant]:
    if not torch.cuda.is_available():
        raise NotMeasured("there is no CUDA device, or Torch was built without CUDA")
    maps = ("3m", "27m_vs_30m") if o.full else ("3m",)
    return [
        c for m in maps for p in ("qmix", "dbf") for c in (_on(o, m, p, True), _on(o, m, p, False))
    ]


def _on(o: Options, name: str, preset: str, gpu: bool) -> Contestant:
    settings = {"env": f"smax/{name}", "preset": preset, "seconds": o.seconds, "seed": o.seed}
    settings |= {"overrides": o.overrides, "gpu": gpu}
    title = f"{preset.upper()}, {name}"
    versus = f"{title}, processor" if gpu else ""
    label = f"{title}, {'GPU' if gpu else 'processor'}"
    return Contestant("update", settings, (Figure(label, "ms", "ms", versus),), needs_ray=True)
