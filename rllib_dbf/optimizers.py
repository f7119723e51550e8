"""The optimisers that `optimizer_name` chooses from, and steps that a GPU takes without asking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rllib_dbf.functional import steps
from rllib_dbf.functional.devices import is_wide
from rllib_dbf.registry import Registry

OPTIMIZERS: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer_name")

# Fused takes a third of the time of foreach, on CPU too.
OPTIMIZERS.register("adam")(partial(torch.optim.Adam, fused=True))
OPTIMIZERS.register("rmsprop")(partial(torch.optim.RMSprop, foreach=True, alpha=0.99))


def auxiliary_optimizer(
    parameters: Iterable[nn.Parameter], lr: float, device: torch.device
) -> torch.optim.Optimizer:
    """The optimiser of a network beside the team's."""
    how = {"fused": True} if is_wide(device) else {"foreach": True}
    return torch.optim.Adam(parameters, lr=lr, **how)


def _lying_as(parameter: nn.Parameter, gradient: Tensor) -> Tensor:
    """The gradient with its numbers in the order of the parameter's.

    PyTorch's fused steps take them to be: those of a transposed gradient would move other weights.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, requires_grad=False).copy_(gradient)


def total_norm(gradients: Sequence[Tensor]) -> Float[Tensor, ""]:
    """The Euclidean norm of all gradients together."""
    if steps.fits(gradients):
        return steps.norm(gradients)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


class Stepper:
    """Steps of an optimiser that depend on numbers of the device: whether to step, and how far.

    Args:
        optimizer: Of the parameters that are stepped.
        device: Where it is.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._optimizer, self._on_gpu = optimizer, device.type == "cuda"
        self.settle()
        groups = optimizer.param_groups if self._on_gpu else []
        self._rates = [torch.full((), float(g["lr"]), device=device) for g in groups]
        self._known = [float(g["lr"]) for g in groups]

    def settle(self) -> None:
        """Make steps fit for recording on a GPU, and not elsewhere.

        To be called again when the optimiser has loaded a state, perhaps from another device.
        """
        how = {k: v for k, v in self._optimizer.defaults.items() if k in ("fused", "foreach")}
        for group in self._optimizer.param_groups:
            group.update(how, capturable=self._on_gpu)
        self._optimizer._warned_capturable_if_run_uncaptured = True  # pyright: ignore

    def follow_rates(self) -> None:
        """Tell the device the learning rates of now."""
        for i, rate in enumerate(self._rates):
            now = float(self._optimizer.param_groups[i]["lr"])
            if now != self._known[i]:
                rate.fill_(now)
                self._known[i] = now

    def step(
        self,
        parameters: Sequence[nn.Parameter],
        gradients: Sequence[Tensor],
        scale: Float[Tensor, ""] | None = None,
        halted: Float[Tensor, ""] | Literal[False] = False,
    ) -> None:
        """Step along the gradients, times `scale` if there is one, unless `halted` is 1.

        The gradients may be scaled in place.
        """
        if halted is False and steps.has_adam(self._optimizer, parameters):
            factor = 1.0 if scale is None else float(scale)
            steps.adam(self._optimizer, parameters, gradients, factor)
            return
        if scale is not None:
            torch._foreach_mul_(list(gradients), scale)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = _lying_as(parameter, gradient)
        groups = self._optimizer.param_groups
        if halted is not False:
            self._hold(halted)
        for group, rate in zip(groups, self._rates, strict=False):
            group["lr"] = rate
        self._optimizer.step()
        for group, rate in zip(groups, self._known, strict=False):
            group["lr"] = rate

    def _hold(self, halted: Tensor) -> None:
        if self._optimizer.defaults.get("fused"):
            self._optimizer.found_inf = halted  # pyright: ignore  # as torch.amp tells it
            return
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = parameter.grad.masked_fill(halted > 0, 0.0)
