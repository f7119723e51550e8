"""JAX's default random numbers, bit for bit, written without loops so that XLA can fuse them.

On processors JAX 0.10 computes its Threefry hash in a loop of five small kernels; a SMAX step
draws dozens of times and so spent most of its time starting kernels. The hash unrolled is one
kernel.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


Key = tuple[jax.Array, jax.Array]
"""Both words of one key, or of a batch of keys, apart: stacking them would hinder fusion."""


def threefry(key: Key, high: jax.Array, low: jax.Array) -> Key:
    """Threefry-2x32 with 20 rounds (Salmon et al., 2011, Parallel Random Numbers).

    Args:
        key: Two words, uint32.
        high: First word of each counter, uint32.
        low: Second word of each counter, uint32.
    """
    words = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    a, b = high + words[0], low + words[1]
    for block in range(5):
        for bits in _ROTATIONS[block % 2]:
            a = a + b
            b = (b << jnp.uint32(bits)) | (b >> jnp.uint32(32 - bits))
            b = a ^ b
        a = a + words[(block + 1) % 3]
        b = b + words[(block + 2) % 3] + jnp.uint32(block + 1)
    return a, b


def children(key: Key, count: int) -> list[Key]:
    """What `jax.random.split` makes of each key of a batch, child by child."""
    zero = jnp.uint32(0)
    return [threefry(key, zero, jnp.uint32(child)) for child in range(count)]


def rows_of_children(key: Key, count: int) -> Key:
    """The same in two arrays, where batches of shape [B] become [count, B]."""
    child = jnp.arange(count, dtype=jnp.uint32)[:, None]
    return threefry((key[0][None], key[1][None]), jnp.zeros_like(child), child)


def uniform(key: Key) -> jax.Array:
    """What `jax.random.uniform` draws from each key of a batch: one number in [0, 1)."""
    high, low = threefry(key, jnp.uint32(0), jnp.uint32(0))
    mantissa = ((high ^ low) >> jnp.uint32(9)) | jnp.uint32(0x3F800000)
    return jax.lax.bitcast_convert_type(mantissa, jnp.float32) - 1.0


def _counted(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """The hash of the first numbers, as many as the shape holds."""
    low = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    return threefry((key[0], key[1]), jnp.zeros_like(low), low)


def _seed(seed: jax.Array) -> jax.Array:
    return jnp.stack([jnp.uint32(0), seed.astype(jnp.uint32)])


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_counted(key, tuple(shape)), axis=-1)


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    if bit_width != 32:
        raise ValueError(f"only 32-bit numbers are drawn here, not {bit_width}-bit ones")
    high, low = _counted(key, tuple(shape))
    return high ^ low


def _fold_in(key: jax.Array, data: jax.Array) -> jax.Array:
    zero = jnp.uint32(0)
    return jnp.stack(threefry((key[0], key[1]), zero, data.astype(jnp.uint32)))


STRAIGHT_THREEFRY = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="rllib_dbf_threefry",
    tag="dbf",
)
"""For `jax.random.key(seed, impl=...)`; draws what JAX's "threefry2x32" draws."""
