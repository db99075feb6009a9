"""The floor of a sweep: its bare Fourier transforms, by the same library in the same process.

At the fastest batch size, and XLA shares a batch of waves out over all cores: the floor is that of the whole machine.
"""

from __future__ import annotations

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

BATCHES = (1, 2, 4, 8, 16, 64)


@functools.partial(jax.jit, static_argnames=("pairs",))
def transforms(waves: jax.Array, pairs: int) -> jax.Array:
    """So many pairs of a transform and its inverse of waves (batch, y, x)."""
    return jax.lax.fori_loop(0, pairs, lambda _, w: jnp.fft.ifft2(jnp.fft.fft2(w)), waves)


@functools.cache
def prepared(shape: tuple[int, int], batch: int) -> jax.Array:
    """Waves (batch, y, x)."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(batch, *shape)) + 1j * rng.normal(size=(batch, *shape)), jnp.complex64)


def pair_s(shape: tuple[int, int], pairs: int = 256, batches: tuple[int, ...] = BATCHES) -> float:
    """Seconds of one pair at the fastest of the batch sizes. A batch of one has one core."""
    best = np.inf
    for batch in batches:
        waves = prepared(shape, batch)
        transforms(waves, pairs // batch).block_until_ready()
        for _ in range(3):
            begin = time.perf_counter()
            transforms(waves, pairs // batch).block_until_ready()
            best = min(best, (time.perf_counter() - begin) / pairs)
    return best


def one_core(shape: tuple[int, int]) -> float:
    """How many times as long as the floor's a transform takes on one core."""
    return pair_s(shape, batches=(1,)) / pair_s(shape)
