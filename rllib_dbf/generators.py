"""Generators of random numbers on a device, and their states in checkpoints."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray

_STREAMS = 1_000  # of a seed


def make_generator(device: torch.device, seed: int | None, stream: int) -> torch.Generator:
    """A generator on a device: the same for the same seed and stream, any if there is no seed.

    Args:
        device: Where it draws.
        seed: Of the run.
        stream: Keeps the generators of a run apart; in [0, 1000).
    """
    generator = torch.Generator(device=device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(int(seed) * _STREAMS + stream)
    return generator


def state_of(generator: torch.Generator) -> UInt8[ndarray, " S"]:
    """What `restore` takes."""
    return generator.get_state().numpy()


def restore(generator: torch.Generator, state: UInt8[ndarray, " S"]) -> None:
    """Go on from a state; one of another kind of device, which draws other numbers, seeds it."""
    if len(state) == len(generator.get_state()):
        generator.set_state(torch.from_numpy(np.array(state, dtype=np.uint8)))
    else:
        generator.manual_seed(zlib.crc32(np.asarray(state, np.uint8).tobytes()))
