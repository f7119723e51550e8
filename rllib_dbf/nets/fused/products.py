"""Products with weights that stay in registers, and other parts of walks on a GPU.

A step is a chain of products of a few rows with small weights, one after the other; what counts
is how long the chain takes, not how much it could do beside. `tl.dot` fetches weights from shared
memory at every step. Here every thread holds, once and for all, part of one unit's weights [1, I,
N, L]: input i * L + l of the unit n. A product is I multiplications in each thread, then a sum
over L neighbouring threads; float32 throughout.

How Triton lays arrays out follows from what it knows of the addresses that are read: threads stand
side by side along the axis of most neighbours, and each holds as many of these as alignment allows.
Both are settled here: the axes in `weights`; and all positions contain `zero`, which is 0 without
Triton's knowing, so that nothing is aligned and a thread holds one neighbour only.

Without `no_type_check` the hook of our tests would wrap functions, and Triton could not read them.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from rllib_dbf.nets.fused.launches import WARPS

THREADS = tl.constexpr(32 * WARPS)


@triton.jit
@no_type_check
def weights(at, units, inputs, of_unit, of_input, N: tl.constexpr, K: tl.constexpr):
    """Weights of N units that read K numbers, zero beyond `units` and `inputs`.

    Entry (n, k) stands at n * of_unit + k * of_input. L is as great as all threads allow.
    """
    most: tl.constexpr = 32 if THREADS // N > 32 else THREADS // N
    L: tl.constexpr = K if most > K else most
    n = tl.arange(0, N)[None, None, :, None]
    k = tl.arange(0, K // L)[None, :, None, None] * L + tl.arange(0, L)[None, None, None, :]
    there = (n < units) & (k < inputs)
    # Threads along the last axis first, then along the units: not what addresses would lead to.
    at = tl.max_contiguous(at + n * of_unit + k * of_input, [1, 1, 2, L])
    return tl.load(at, mask=there, other=0.0)


@triton.jit
@no_type_check
def spread(x, weight):
    """Rows [R, K] as products with a weight read them, [R, I, 1, L]."""
    return tl.reshape(x, [x.shape[0], weight.shape[1], weight.shape[3]])[:, :, None, :]


@triton.jit
@no_type_check
def partial(x, weight):
    """What each thread has of a product: [R, N, L]."""
    return tl.sum(x * weight, axis=1)


@triton.jit
@no_type_check
def total(parts):
    """A product from what each thread has of it: [R, N]."""
    return tl.sum(parts, axis=2)


@triton.jit
@no_type_check
def rectified(x):
    """ReLU; `tl.maximum` would hide what is not a number."""
    return tl.where(x < 0.0, 0.0, x)


@triton.jit
@no_type_check
def compressed(x):
    """The inverse hyperbolic sine, as in nets/input_layers.py."""
    size = tl.abs(x)
    log = tl.log(size + tl.sqrt(size * size + 1.0))
    return tl.where(x < 0.0, -log, log)


@triton.jit
@no_type_check
def gru_step(r_in, z_in, n_in, new, before):
    """Gates r, z and n, and the next state; `new` is U_n h + c_n."""
    r, z = tl.sigmoid(r_in), tl.sigmoid(z_in)
    n = 2.0 * tl.sigmoid(2.0 * (n_in + r * new)) - 1.0
    return r, z, n, n + z * (before - n)


@triton.jit
@no_type_check
def keep_gates(gates, recurrent_new, at, h, there, r, z, n, new, H: tl.constexpr):
    """Write what a backward pass needs of a step."""
    to = gates + at[:, None] * (3 * H) + h[None, :]
    tl.store(to, r, mask=there)
    tl.store(to + H, z, mask=there)
    tl.store(to + 2 * H, n, mask=there)
    tl.store(recurrent_new + at[:, None] * H + h[None, :], new, mask=there)
