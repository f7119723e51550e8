"""The optimisers that `optimizer_name` chooses from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from rllib_dbf.registry import Registry

OPTIMIZERS: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer_name")

# Fused takes a third of the time of foreach, on CPU too.
OPTIMIZERS.register("adam")(partial(torch.optim.Adam, fused=True))
OPTIMIZERS.register("rmsprop")(partial(torch.optim.RMSprop, foreach=True, alpha=0.99))
