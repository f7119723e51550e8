"""Backwards through the walks of walks.py, with the same letters."""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from rllib_dbf.nets.fused.products import partial, spread, total, weights


@triton.jit(do_not_specialize=["rows", "steps", "zero"])
@no_type_check
def gru_walk_back(
    weight,  # [3 H, H], recurrent
    grad,  # [P, H], of the states
    states,  # [P, H]
    hidden,  # [R, H]
    gates,  # [P, 3 H]
    recurrent_new,  # [P, H]
    grad_gates,  # [P, 4 H]: of what n, r and z were made of, and of U_n h + c_n
    grad_hidden,  # [R, H]
    rows,
    steps,
    zero,
    H: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Backwards through the steps of one network.

    What a step reads is asked for during the step after it, since what is owed to it is not
    needed for that.
    """
    row = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    h = tl.arange(0, H) + zero
    there = (row < rows)[:, None] & (h < H)[None, :]
    weight += zero
    u_r = weights(weight, H, H, 1, H, H, H)
    u_z = weights(weight + H * H, H, H, 1, H, H, H)
    u_n = weights(weight + 2 * H * H, H, H, 1, H, H, H)
    zeroth = tl.load(hidden + row[:, None] * H + h[None, :], mask=there, other=0.0)
    owed = tl.zeros([BLOCK, H], dtype=tl.float32)
    at = row + tl.cast(steps - 1, tl.int64) * rows
    one_h, three_h = at[:, None] * H + h[None, :], at[:, None] * (3 * H) + h[None, :]
    of_state = tl.load(grad + one_h, mask=there, other=0.0)
    r = tl.load(gates + three_h, mask=there, other=0.0)
    z = tl.load(gates + three_h + H, mask=there, other=0.0)
    n = tl.load(gates + three_h + 2 * H, mask=there, other=0.0)
    new = tl.load(recurrent_new + one_h, mask=there, other=0.0)
    before = tl.load(states + one_h - rows * H, mask=there & (steps > 1), other=0.0)
    for back in tl.range(0, steps, num_stages=1):
        step = steps - 1 - back
        at = row + step * rows
        to = grad_gates + at[:, None] * (4 * H) + h[None, :]
        one_h = (at - rows)[:, None] * H + h[None, :]
        three_h = (at - rows)[:, None] * (3 * H) + h[None, :]
        earlier = there & (step > 0)
        next_of_state = tl.load(grad + one_h, mask=earlier, other=0.0)
        next_r = tl.load(gates + three_h, mask=earlier, other=0.0)
        next_z = tl.load(gates + three_h + H, mask=earlier, other=0.0)
        next_n = tl.load(gates + three_h + 2 * H, mask=earlier, other=0.0)
        next_new = tl.load(recurrent_new + one_h, mask=earlier, other=0.0)
        next_before = tl.load(states + one_h - rows * H, mask=there & (step > 1), other=0.0)
        before = tl.where(step > 0, before, zeroth)
        whole = of_state + owed
        of_n = whole * (1.0 - z) * (1.0 - n * n)
        of_new = of_n * r
        of_r = of_new * new * (1.0 - r)
        of_z = whole * (before - n) * z * (1.0 - z)
        tl.store(to, of_n, mask=there)
        tl.store(to + H, of_r, mask=there)
        tl.store(to + 2 * H, of_z, mask=there)
        tl.store(to + 3 * H, of_new, mask=there)
        parts = partial(spread(of_r, u_r), u_r) + partial(spread(of_z, u_z), u_z)
        owed = whole * z + total(parts + partial(spread(of_new, u_n), u_n))
        of_state, r, z = next_of_state, next_r, next_z
        n, new, before = next_n, next_new, next_before
    tl.store(grad_hidden + row[:, None] * H + h[None, :], owed, mask=there)


@triton.jit(do_not_specialize=["rows"])
@no_type_check
def hypernet_back(
    second,  # [C, F]
    prepared,  # [P, C H]
    inputs,  # [P, H]
    features,  # [P, F]
    mix,  # [P, C]
    grad,  # [P, H], of the inputs
    grad_prepared,  # [P, C H]
    opened,  # [P, H]: the gradient where the input is not 0
    of_mix,  # [P, C]
    of_features,  # [P, F]
    rows,
    H: tl.constexpr,
    F: tl.constexpr,
    C: tl.constexpr,
    FP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Backwards through the input layer, row by row."""
    row = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    h, f = tl.arange(0, H), tl.arange(0, FP)
    present = row < rows
    there = present[:, None] & (h < H)[None, :]
    at = row[:, None] * H + h[None, :]
    opening = tl.load(grad + at, mask=there, other=0.0)
    opening = tl.where(tl.load(inputs + at, mask=there, other=0.0) > 0.0, opening, 0.0)
    tl.store(opened + at, opening, mask=there)
    whole = tl.zeros([BLOCK, FP], dtype=tl.float32)
    for c in tl.static_range(C):
        share = tl.load(mix + row * C + c, mask=present, other=0.0)
        base = row[:, None] * (C * H) + (c * H + h)[None, :]
        dot = tl.sum(opening * tl.load(prepared + base, mask=there, other=0.0), axis=1)
        dot = tl.where(share > 0.0, dot, 0.0)
        tl.store(grad_prepared + base, share[:, None] * opening, mask=there)
        tl.store(of_mix + row * C + c, dot, mask=present)
        whole += dot[:, None] * tl.load(second + c * F + f, mask=f < F, other=0.0)[None, :]
    there = present[:, None] & (f < F)[None, :]
    at = row[:, None] * F + f[None, :]
    feature = tl.load(features + at, mask=there, other=0.0)
    tl.store(of_features + at, tl.where(feature > 0.0, whole, 0.0), mask=there)
