"""Sums and orders over the steps of episodes in compiled code.

The same numbers as PyTorch's but for rounding; one call instead of several for every step.
"""

from __future__ import annotations

from ctypes import c_float
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rllib_dbf.compiled import library
from rllib_dbf.compiled.calls import Call, require_shape

_MOST = 65_536  # numbers that lie on the stack


def fits(*tensors: Tensor, on_stack: int = 0) -> bool:
    """Whether there is compiled code for tensors of their type and device.

    Args:
        tensors: All that it would read.
        on_stack: Numbers that it would keep on the stack.
    """
    return (
        all(x.device.type == "cpu" and x.dtype in (torch.float32, torch.bool) for x in tensors)
        and on_stack <= _MOST
        and library.library().functions is not None
    )


def td_lambda(
    reward: Float[Tensor, "B T"],
    terminated: Bool[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    values: Float[Tensor, "B T1 G K"],
    gamma: float,
    td_lambda: float,
) -> Float[Tensor, "B T G K"]:
    """See `rllib_dbf.functional.targets.td_lambda_targets`."""
    (episodes, steps), widths = reward.shape, values.shape[2:]
    require_shape("values", values, episodes, steps + 1, *widths)
    require_shape("terminated", terminated, episodes, steps)
    require_shape("mask", mask, episodes, steps)
    out = values.new_empty(episodes, steps, *widths)
    numbers = c_float(gamma), c_float(td_lambda), c_float(1.0 - td_lambda)
    sizes = episodes, steps, widths.numel()
    Call()("td_lambda", *sizes, reward, terminated, mask, values, *numbers, out)
    return out


def to_go(x: Float[Tensor, "B T"], discount: float) -> Float[Tensor, "B T"]:
    """See `rllib_dbf.functional.barrier.discounted_to_go`."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    Call()("to_go", *x.shape, x, c_float(discount), out)
    return out


def greedy(scores: Float[Tensor, "*L A"], avail: Bool[Tensor, "*L A"]) -> Int[Tensor, "*L"]:
    """See `rllib_dbf.functional.targets.greedy_actions`."""
    require_shape("avail", avail, *scores.shape)
    out = torch.empty(scores.shape[:-1], dtype=torch.int64)
    Call()("greedy", out.numel(), scores.shape[-1], scores, avail, out)
    return out


class Places(NamedTuple):
    """What `rllib_dbf.packing.Packing` says of P states and M transitions."""

    counts: list[int]
    states: Int[Tensor, " P"]
    transitions: Int[Tensor, " M"]
    origins: Int[Tensor, " M"]


def pack(mask: Bool[Tensor, "B T"]) -> Places:
    """See `rllib_dbf.packing.pack_episodes`."""
    episodes, steps = mask.shape
    room = torch.empty(3 * episodes * (steps + 1) + steps + 1, dtype=torch.int64)
    sizes = [steps + 1, *[episodes * (steps + 1)] * 3]
    places = room.split(sizes)
    Call()("pack", episodes, steps, mask, *places)
    counts = [count for count in places[0].tolist() if count]
    states = sum(counts)
    moving = states - episodes
    return Places(counts, places[1][:states], places[2][:moving], places[3][:moving])


def quantile_huber(
    z: Float[Tensor, "R K"], target: Float[Tensor, "R K2"], tau: Float[Tensor, "R K"], kappa: float
) -> tuple[Float[Tensor, " R"], Float[Tensor, "R K"]]:
    """See `rllib_dbf.functional.losses.quantile_huber_elements`; and its derivative by `z`."""
    rows, count = z.shape
    require_shape("target", target, rows, target.shape[1])
    require_shape("tau", tau, rows, count)
    loss, slope = z.new_empty(rows), z.new_empty(rows, count)
    arrays = z, target, tau, c_float(kappa), loss, slope
    Call()("quantile_huber", rows, count, target.shape[1], *arrays)
    return loss, slope
