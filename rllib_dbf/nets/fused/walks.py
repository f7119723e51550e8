"""Walks of recurrent utility networks over episodes of one length, for GPUs, in Triton.

The same equations as nets/gru.py and nets/unrolling.py, which tests compare this with. Rows are
independent of each other through all of time, so that a program takes a few rows of one network
through every step, with states and weights in registers: a walk is one launch instead of thirty
per step. Row-major float32; row i of step t stands at t * rows + i.

H hidden units, M remembered quantiles, F units of the hypernetwork, C bases, A actions; with P,
the next power of two, by which Triton counts: what is beyond is zero. See products.py for `zero`.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from rllib_dbf.nets.fused.products import (
    compressed,
    gru_step,
    keep_gates,
    partial,
    rectified,
    spread,
    total,
    weights,
)


@triton.jit(do_not_specialize=["rows", "steps", "zero"])
@no_type_check
def gru_walk(
    packed,  # [V, 3 H H + 3 H]: recurrent weights and biases
    projected,  # [V, P, 3 H]: what the inputs say to the gates
    hidden,  # [R, H]
    states,  # [V, P, H]
    gates,  # [P, 3 H], of the first network if it learns
    recurrent_new,  # [P, H]
    rows,
    steps,
    zero,
    H: tl.constexpr,
    BLOCK: tl.constexpr,
    LEARNS: tl.constexpr,
):
    """Every step of every network over the same rows."""
    net = tl.program_id(1)
    row = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    h = tl.arange(0, H) + zero
    there = (row < rows)[:, None] & (h < H)[None, :]
    net_row = row + tl.cast(net, tl.int64) * rows * steps
    packed += net * (3 * H * H + 3 * H) + zero
    bias = packed + 3 * H * H + h
    u_r = weights(packed, H, H, H, 1, H, H)
    u_z = weights(packed + H * H, H, H, H, 1, H, H)
    u_n = weights(packed + 2 * H * H, H, H, H, 1, H, H)
    bias_r, bias_z, bias_n = tl.load(bias), tl.load(bias + H), tl.load(bias + 2 * H)
    state = tl.load(hidden + row[:, None] * H + h[None, :], mask=there, other=0.0)
    for step in tl.range(0, steps, num_stages=1):
        at = net_row + step * rows
        read = projected + at[:, None] * (3 * H) + h[None, :]
        x_r = tl.load(read, mask=there, other=0.0)
        x_z = tl.load(read + H, mask=there, other=0.0)
        x_n = tl.load(read + 2 * H, mask=there, other=0.0)
        before = spread(state, u_r)
        r_in = total(partial(before, u_r)) + (x_r + bias_r[None, :])
        z_in = total(partial(before, u_z)) + (x_z + bias_z[None, :])
        new = total(partial(before, u_n)) + bias_n[None, :]
        r, z, n, state = gru_step(r_in, z_in, x_n, new, state)
        tl.store(states + at[:, None] * H + h[None, :], state, mask=there)
        if LEARNS:
            keep_gates(gates, recurrent_new, at, h, there & (net == 0), r, z, n, new, H)


@triton.jit(do_not_specialize=["rows", "steps", "zero"])
@no_type_check
def hypernet_walk(
    packed,  # [V, W]: of `GRUWeights` and `HypernetWeights`, in their order
    prepared,  # [P, C H], of the first network
    other_prepared,  # of the other
    avail,  # [P, A], bytes
    hidden,  # [R, H]
    quantiles,  # [R, M]
    states,  # [V, P, H]
    gates,  # [P, 3 H]; this and the rest are of the first network if it learns
    recurrent_new,  # [P, H]
    kept_inputs,  # [P, H]
    kept_small,  # [P, M]
    kept_features,  # [P, F]
    kept_mix,  # [P, C]
    rows,
    steps,
    zero,
    H: tl.constexpr,
    M: tl.constexpr,
    F: tl.constexpr,
    C: tl.constexpr,
    A: tl.constexpr,
    MP: tl.constexpr,
    FP: tl.constexpr,
    CP: tl.constexpr,
    AP: tl.constexpr,
    BLOCK: tl.constexpr,
    LEARNS: tl.constexpr,
):
    """Every step of every network, behind input layers that read the greedy action's quantiles."""
    net = tl.program_id(1)
    row = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    h, m, f = tl.arange(0, H) + zero, tl.arange(0, MP) + zero, tl.arange(0, FP) + zero
    c, a = tl.arange(0, CP) + zero, tl.arange(0, AP) + zero
    present = (row < rows)[:, None]
    there, remembered = present & (h < H)[None, :], present & (m < M)[None, :]
    base_there = (c < C)[:, None, None] & there[None, :, :]
    net_row = row + tl.cast(net, tl.int64) * rows * steps
    packed += net * (6 * H * H + 6 * H + F * M + F + C * F + C + H + 2 * A * H + A + M * H) + zero
    gru_bias = packed + 6 * H * H + h
    first = packed + 6 * H * H + 6 * H
    second = first + F * M + F
    bias = second + C * F + C
    mean = bias + H
    out = mean + A * H
    phi = out + A * H + A
    w_r = weights(packed, H, H, H, 1, H, H)
    w_z = weights(packed + H * H, H, H, H, 1, H, H)
    w_n = weights(packed + 2 * H * H, H, H, H, 1, H, H)
    u_r = weights(packed + 3 * H * H, H, H, H, 1, H, H)
    u_z = weights(packed + 4 * H * H, H, H, H, 1, H, H)
    u_n = weights(packed + 5 * H * H, H, H, H, 1, H, H)
    of_features = weights(first, F, M, M, 1, FP, MP)
    of_mix = weights(second, C, F, F, 1, CP, FP)
    of_scores = weights(mean, A, H, H, 1, AP, H)
    of_quantiles = weights(phi, M, H, H, 1, MP, H)
    bias_r = tl.load(gru_bias) + tl.load(gru_bias + 3 * H)
    bias_z = tl.load(gru_bias + H) + tl.load(gru_bias + 4 * H)
    bias_n, bias_new = tl.load(gru_bias + 2 * H), tl.load(gru_bias + 5 * H)
    bias_features = tl.load(first + F * M + f, mask=f < F, other=0.0)
    bias_mix = tl.load(second + C * F + c, mask=c < C, other=0.0)
    bias_inputs = tl.load(bias + h)
    bias_scores = tl.load(out + A * H + a, mask=a < A, other=0.0)
    if net == 0:
        bases = prepared
    else:
        bases = other_prepared
    z = tl.load(quantiles + row[:, None] * M + m[None, :], mask=remembered, other=0.0)
    state = tl.load(hidden + row[:, None] * H + h[None, :], mask=there, other=0.0)
    for step in tl.range(0, steps, num_stages=1):
        at = row + step * rows
        base = bases + (at * (C * H))[None, :, None] + c[:, None, None] * H + h[None, None, :]
        base = tl.load(tl.max_contiguous(base, [1, 2, H]), mask=base_there, other=0.0)
        can = present & (a < A)[None, :]
        can = can & (tl.load(avail + at[:, None] * A + a[None, :], mask=can, other=0) != 0)
        small = compressed(z)
        features = total(partial(spread(small, of_features), of_features)) + bias_features[None, :]
        features = rectified(features)
        mix = total(partial(spread(features, of_mix), of_mix)) + bias_mix[None, :]
        mix = rectified(mix)
        x = tl.sum(tl.trans(mix)[:, :, None] * base, axis=0) + bias_inputs[None, :]
        x = rectified(x)
        before, now = spread(state, u_r), spread(x, w_r)
        r_in = total(partial(before, u_r) + partial(now, w_r)) + bias_r[None, :]
        z_in = total(partial(before, u_z) + partial(now, w_z)) + bias_z[None, :]
        n_in = total(partial(now, w_n)) + bias_n[None, :]
        new = total(partial(before, u_n)) + bias_new[None, :]
        r, gate_z, n, state = gru_step(r_in, z_in, n_in, new, state)
        to = (net_row + step * rows)[:, None] * H + h[None, :]
        tl.store(states + to, state, mask=there)
        if LEARNS:
            first_net = net == 0
            tl.store(kept_inputs + at[:, None] * H + h[None, :], x, mask=there & first_net)
            kept = at[:, None] * M + m[None, :]
            tl.store(kept_small + kept, small, mask=remembered & first_net)
            kept = at[:, None] * F + f[None, :]
            tl.store(kept_features + kept, features, mask=present & (f < F)[None, :] & first_net)
            kept = at[:, None] * C + c[None, :]
            tl.store(kept_mix + kept, mix, mask=present & (c < C)[None, :] & first_net)
            keep_gates(gates, recurrent_new, at, h, there & first_net, r, gate_z, n, new, H)
        scores = total(partial(spread(state, of_scores), of_scores)) + bias_scores[None, :]
        best = tl.argmax(tl.where(can, scores, float("-inf")), axis=1, tie_break_left=True)
        best = tl.minimum(best, A - 1)  # whatever is compared with what is not a number
        chosen = state * tl.load(out + best[:, None] * H + h[None, :])
        # The bias goes the way of `chosen`, as part of the same sum: Triton would else look for the
        # best action a second time, to know it where the quantiles are.
        only = there & (h == 0)[None, :]
        bias_chosen = tl.load(out + A * H + best[:, None] + h[None, :], mask=only, other=0.0)
        parts = spread(chosen, of_quantiles) * of_quantiles + spread(bias_chosen, of_quantiles)
        z = total(tl.sum(parts, axis=1))
