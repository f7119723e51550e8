"""Walks of recurrent utility networks over episodes of one length, for GPUs, in Triton.

The same equations as nets/gru.py and nets/unrolling.py, which tests compare this with. Rows are
independent of each other through all of time, so that a program takes a block of rows of one
network through every step, with states in registers: a walk is one launch instead of thirty per
step. Row-major float32; row i of step t stands at t * rows + i.

H hidden units, M remembered quantiles, F units of the hypernetwork, C bases, A actions. MP, FP and
AP are the next powers of two from 16, by which Triton counts; what is beyond M, F and A is zero.
PRECISION is that of products, as `tl.dot` names it.

Without `no_type_check` the hook of our tests would wrap kernels, and Triton could not read them.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def _tangent(x):
    return 2.0 * tl.sigmoid(2.0 * x) - 1.0


@triton.jit
@no_type_check
def _rectified(x):
    return tl.where(x < 0.0, 0.0, x)  # `tl.maximum` would hide what is not a number


@triton.jit
@no_type_check
def _compressed(x):
    size = tl.abs(x)
    log = tl.log(size + tl.sqrt(size * size + 1.0))
    return tl.where(x < 0.0, -log, log)


@triton.jit
@no_type_check
def _transposed(weight, n, N, k, K):
    """A weight [N, K] as [k, n], zero beyond."""
    there = (k[:, None] < K) & (n[None, :] < N)
    return tl.load(weight + n[None, :] * K + k[:, None], mask=there, other=0.0)


@triton.jit
@no_type_check
def _gru_step(r_in, z_in, n_in, new, before):
    """Gates r, z and n, and the next state; `new` is U_n h + c_n."""
    r, z = tl.sigmoid(r_in), tl.sigmoid(z_in)
    n = _tangent(n_in + r * new)
    return r, z, n, n + z * (before - n)


@triton.jit
@no_type_check
def _keep_gates(gates, recurrent_new, at, h, there, r, z, n, new, H: tl.constexpr):
    to = gates + at[:, None] * (3 * H) + h[None, :]
    tl.store(to, r, mask=there)
    tl.store(to + H, z, mask=there)
    tl.store(to + 2 * H, n, mask=there)
    tl.store(recurrent_new + at[:, None] * H + h[None, :], new, mask=there)


@triton.jit(do_not_specialize=["rows", "steps"])
@no_type_check
def gru_walk(
    weights,  # [V, 3 H H + 3 H]: recurrent weights and biases
    projected,  # [V, P, 3 H]: what the inputs say to the gates
    hidden,  # [R, H]
    states,  # [V, P, H]
    gates,  # [P, 3 H], of the first network if it learns
    recurrent_new,  # [P, H]
    rows,
    steps,
    H: tl.constexpr,
    BLOCK: tl.constexpr,
    LEARNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Every step of every network over the same rows."""
    net = tl.program_id(1)
    row = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    h = tl.arange(0, H)
    there = (row < rows)[:, None] & (h < H)[None, :]
    net_row = row + tl.cast(net, tl.int64) * rows * steps
    weights += net * (3 * H * H + 3 * H)
    bias = weights + 3 * H * H + h
    of_r = _transposed(weights, h, H, h, H)
    of_z = _transposed(weights + H * H, h, H, h, H)
    of_n = _transposed(weights + 2 * H * H, h, H, h, H)
    bias_r, bias_z, bias_n = tl.load(bias), tl.load(bias + H), tl.load(bias + 2 * H)
    state = tl.load(hidden + row[:, None] * H + h[None, :], mask=there, other=0.0)
    for step in tl.range(0, steps, num_stages=1):
        at = net_row + step * rows
        read = projected + at[:, None] * (3 * H) + h[None, :]
        x_r = tl.load(read, mask=there, other=0.0)
        x_z = tl.load(read + H, mask=there, other=0.0)
        x_n = tl.load(read + 2 * H, mask=there, other=0.0)
        r_in = tl.dot(state, of_r, input_precision=PRECISION) + (x_r + bias_r[None, :])
        z_in = tl.dot(state, of_z, input_precision=PRECISION) + (x_z + bias_z[None, :])
        new = tl.dot(state, of_n, input_precision=PRECISION) + bias_n[None, :]
        r, z, n, state = _gru_step(r_in, z_in, x_n, new, state)
        tl.store(states + at[:, None] * H + h[None, :], state, mask=there)
        if LEARNS:
            _keep_gates(gates, recurrent_new, at, h, there & (net == 0), r, z, n, new, H)


@triton.jit(do_not_specialize=["rows", "steps"])
@no_type_check
def hypernet_walk(
    weights,  # [V, W]: of `GRUWeights` and `HypernetWeights`, in their order
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
    H: tl.constexpr,
    M: tl.constexpr,
    F: tl.constexpr,
    C: tl.constexpr,
    A: tl.constexpr,
    MP: tl.constexpr,
    FP: tl.constexpr,
    AP: tl.constexpr,
    BLOCK: tl.constexpr,
    LEARNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Every step of every network, behind input layers that read the greedy action's quantiles."""
    net = tl.program_id(1)
    row = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    h, m, f, a = tl.arange(0, H), tl.arange(0, MP), tl.arange(0, FP), tl.arange(0, AP)
    present = (row < rows)[:, None]
    there = present & (h < H)[None, :]
    keep = there & (net == 0)
    net_row = row + tl.cast(net, tl.int64) * rows * steps
    weights += net * (6 * H * H + 6 * H + F * M + F + C * F + C + H + 2 * A * H + A + M * H)
    gru_bias = weights + 6 * H * H + h
    first = weights + 6 * H * H + 6 * H
    second = first + F * M + F
    bias = second + C * F + C
    mean = bias + H
    out = mean + A * H
    phi = out + A * H + A
    x_r = _transposed(weights, h, H, h, H)
    x_z = _transposed(weights + H * H, h, H, h, H)
    x_n = _transposed(weights + 2 * H * H, h, H, h, H)
    h_r = _transposed(weights + 3 * H * H, h, H, h, H)
    h_z = _transposed(weights + 4 * H * H, h, H, h, H)
    h_n = _transposed(weights + 5 * H * H, h, H, h, H)
    bias_r = tl.load(gru_bias) + tl.load(gru_bias + 3 * H)
    bias_z = tl.load(gru_bias + H) + tl.load(gru_bias + 4 * H)
    bias_n, bias_new = tl.load(gru_bias + 2 * H), tl.load(gru_bias + 5 * H)
    of_features = _transposed(first, f, F, m, M)
    bias_features = tl.load(first + F * M + f, mask=f < F, other=0.0)
    bias_inputs = tl.load(bias + h)
    of_scores = _transposed(mean, a, A, h, H)
    bias_scores = tl.load(out + A * H + a, mask=a < A, other=0.0)
    of_quantiles = _transposed(phi, m, M, h, H)
    if net == 0:
        bases = prepared
    else:
        bases = other_prepared
    remembered = present & (m < M)[None, :]
    z = tl.load(quantiles + row[:, None] * M + m[None, :], mask=remembered, other=0.0)
    state = tl.load(hidden + row[:, None] * H + h[None, :], mask=there, other=0.0)
    for step in tl.range(0, steps, num_stages=1):
        at = row + step * rows
        small = _compressed(z)
        features = tl.dot(small, of_features, input_precision=PRECISION) + bias_features[None, :]
        features = _rectified(features)
        x = tl.zeros([BLOCK, H], dtype=tl.float32)
        for c in tl.static_range(C):
            column = tl.load(second + c * F + f, mask=f < F, other=0.0)
            mix = tl.sum(features * column[None, :], axis=1) + tl.load(second + C * F + c)
            mix = _rectified(mix)
            base = bases + at[:, None] * (C * H) + (c * H + h)[None, :]
            x += mix[:, None] * tl.load(base, mask=there, other=0.0)
            if LEARNS:
                tl.store(kept_mix + at * C + c, mix, mask=(row < rows) & (net == 0))
        x = _rectified(x + bias_inputs[None, :])
        r_in = tl.dot(state, h_r, input_precision=PRECISION) + bias_r[None, :]
        z_in = tl.dot(state, h_z, input_precision=PRECISION) + bias_z[None, :]
        new = tl.dot(state, h_n, input_precision=PRECISION) + bias_new[None, :]
        r_in += tl.dot(x, x_r, input_precision=PRECISION)
        z_in += tl.dot(x, x_z, input_precision=PRECISION)
        n_in = tl.dot(x, x_n, input_precision=PRECISION) + bias_n[None, :]
        r, gate_z, n, state = _gru_step(r_in, z_in, n_in, new, state)
        to = (net_row + step * rows)[:, None] * H + h[None, :]
        tl.store(states + to, state, mask=there)
        if LEARNS:
            tl.store(kept_inputs + at[:, None] * H + h[None, :], x, mask=keep)
            kept = at[:, None] * M + m[None, :]
            tl.store(kept_small + kept, small, mask=remembered & (net == 0))
            kept = at[:, None] * F + f[None, :]
            tl.store(kept_features + kept, features, mask=present & (f < F)[None, :] & (net == 0))
            _keep_gates(gates, recurrent_new, at, h, keep, r, gate_z, n, new, H)
        scores = tl.dot(state, of_scores, input_precision=PRECISION) + bias_scores[None, :]
        can = present & (a < A)[None, :]
        can = can & (tl.load(avail + at[:, None] * A + a[None, :], mask=can, other=0) != 0)
        best = tl.argmax(tl.where(can, scores, float("-inf")), axis=1, tie_break_left=True)
        best = tl.minimum(best, A - 1)
        chosen = state * tl.load(out + best[:, None] * H + h[None, :])
        z = tl.dot(chosen, of_quantiles, input_precision=PRECISION)
        z += tl.load(out + A * H + best)[:, None]


@triton.jit(do_not_specialize=["rows", "steps"])
@no_type_check
def gru_walk_back(
    weight,  # [3 H, H], recurrent
    grad,  # [P, H], of the states
    states,  # [P, H]
    hidden,  # [R, H]
    gates,  # [P, 3 H]
    recurrent_new,  # [P, H]
    grad_gates,  # [P, 4 H]: of n_in, r_in, z_in and U_n h + c_n
    grad_hidden,  # [R, H]
    rows,
    steps,
    H: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Backwards through the steps of one network.

    What a step reads was asked for during the step after it: only what that one owes is new.
    """
    row = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    h = tl.arange(0, H)
    there = (row < rows)[:, None] & (h < H)[None, :]
    square = h[:, None] * H + h[None, :]
    u_r = tl.load(weight + square)
    u_z = tl.load(weight + H * H + square)
    u_n = tl.load(weight + 2 * H * H + square)
    zeroth = tl.load(hidden + row[:, None] * H + h[None, :], mask=there, other=0.0)
    owed = tl.zeros([BLOCK, H], dtype=tl.float32)
    at = row + tl.cast(steps - 1, tl.int64) * rows
    one, three = at[:, None] * H + h[None, :], at[:, None] * (3 * H) + h[None, :]
    of_state = tl.load(grad + one, mask=there, other=0.0)
    r = tl.load(gates + three, mask=there, other=0.0)
    z = tl.load(gates + three + H, mask=there, other=0.0)
    n = tl.load(gates + three + 2 * H, mask=there, other=0.0)
    new = tl.load(recurrent_new + one, mask=there, other=0.0)
    before = tl.load(states + one - rows * H, mask=there & (steps > 1), other=0.0)
    for back in tl.range(0, steps, num_stages=1):
        step = steps - 1 - back
        at = row + step * rows
        one, three = (at - rows)[:, None] * H + h[None, :], (at - rows)[:, None] * (3 * H) + h
        earlier = there & (step > 0)
        next_of_state = tl.load(grad + one, mask=earlier, other=0.0)
        next_r = tl.load(gates + three, mask=earlier, other=0.0)
        next_z = tl.load(gates + three + H, mask=earlier, other=0.0)
        next_n = tl.load(gates + three + 2 * H, mask=earlier, other=0.0)
        next_new = tl.load(recurrent_new + one, mask=earlier, other=0.0)
        next_before = tl.load(states + one - rows * H, mask=there & (step > 1), other=0.0)
        before = tl.where(step > 0, before, zeroth)
        total = of_state + owed
        of_n = total * (1.0 - z) * (1.0 - n * n)
        of_new = of_n * r
        of_r = of_new * new * (1.0 - r)
        of_z = total * (before - n) * z * (1.0 - z)
        to = grad_gates + at[:, None] * (4 * H) + h[None, :]
        tl.store(to, of_n, mask=there)
        tl.store(to + H, of_r, mask=there)
        tl.store(to + 2 * H, of_z, mask=there)
        tl.store(to + 3 * H, of_new, mask=there)
        owed = total * z + tl.dot(of_r, u_r, input_precision=PRECISION)
        owed += tl.dot(of_z, u_z, input_precision=PRECISION)
        owed += tl.dot(of_new, u_n, input_precision=PRECISION)
        of_state, r, z, n, new, before = (
            next_of_state,
            next_r,
            next_z,
            next_n,
            next_new,
            next_before,
        )
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
    there = (row < rows)[:, None] & (h < H)[None, :]
    at = row[:, None] * H + h[None, :]
    open_ = tl.load(grad + at, mask=there, other=0.0)
    open_ = tl.where(tl.load(inputs + at, mask=there, other=0.0) > 0.0, open_, 0.0)
    tl.store(opened + at, open_, mask=there)
    total = tl.zeros([BLOCK, FP], dtype=tl.float32)
    for c in tl.static_range(C):
        share = tl.load(mix + row * C + c, mask=row < rows, other=0.0)
        base = row[:, None] * (C * H) + (c * H + h)[None, :]
        dot = tl.sum(open_ * tl.load(prepared + base, mask=there, other=0.0), axis=1)
        dot = tl.where(share > 0.0, dot, 0.0)
        tl.store(grad_prepared + base, share[:, None] * open_, mask=there)
        tl.store(of_mix + row * C + c, dot, mask=row < rows)
        column = tl.load(second + c * F + f, mask=f < F, other=0.0)
        total += dot[:, None] * column[None, :]
    there = (row < rows)[:, None] & (f < F)[None, :]
    at = row[:, None] * F + f[None, :]
    feature = tl.load(features + at, mask=there, other=0.0)
    tl.store(of_features + at, tl.where(feature > 0.0, total, 0.0), mask=there)
