"""Random numbers as a pure function of (seed, time, stream): nothing to store or restore."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray


def uniform(
    seeds: Int[ndarray, " B"], times: Int[ndarray, " B"], streams: int
) -> Float64[ndarray, "B streams"]:
    """Numbers in [0, 1), one per seed and stream, independent between times and streams.

    Each is the SplitMix64 finaliser (Steele, Lea and Flood, 2014) of a distinct counter.
    """
    with np.errstate(over="ignore"):
        counter = seeds.astype(np.uint64) << np.uint64(32)
        counter = counter[:, None] + (times.astype(np.uint64) << np.uint64(8))[:, None]
        counter = counter + np.arange(streams, dtype=np.uint64)[None, :]
        mixed = (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)) / float(2**53)
