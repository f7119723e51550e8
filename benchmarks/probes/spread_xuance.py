"""xuance's QMIX on simple_spread: GRU 64, one update of 32 episodes per 8 collected.

The training loop is xuance's own; its settings file for the task with a recurrent network, shared
parameters, and the sizes of the others.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable

from xuance.common import get_arguments
from xuance.environment import make_envs
from xuance.torch.agents import QMIX_Agents

_LIMIT = 25
_SETTINGS = {
    "representation": "Basic_RNN",
    "use_rnn": True,
    "rnn": "GRU",
    "use_parameter_sharing": True,
    "hidden_dim_mixing_net": 32,
    "hidden_dim_hyper_net": 64,
    "buffer_size": 5_000,
    "batch_size": 32,
    "n_epochs": 1,
    "start_training": 32 * _LIMIT,
    "decay_step_greedy": 50_000,
    "use_grad_clip": True,
    "grad_clip_norm": 10.0,
    "device": "cpu",
    "render": False,
}


def prepare(seconds: float, seed: int, num_envs: int) -> Callable[[], dict[str, float | None]]:
    """Measures `train()` for some seconds once learning has begun."""
    os.chdir(tempfile.mkdtemp())  # it writes its logs where it stands
    config = get_arguments("qmix", "mpe", "simple_spread_v3")
    for name, value in (_SETTINGS | {"seed": seed, "env_seed": seed}).items():
        setattr(config, name, value)
    config.parallels = num_envs
    agents = QMIX_Agents(config, make_envs(config))
    agents.train(8 * _LIMIT)  # in steps of every environment

    def measure() -> dict[str, float | None]:
        steps, began = agents.current_step, time.perf_counter()
        while time.perf_counter() - began < seconds:
            agents.train(_LIMIT)
        return {"steps_per_second": (agents.current_step - steps) / (time.perf_counter() - began)}

    return measure
