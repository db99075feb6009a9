"""A detector's pixels where the waves' window is twice the detector's, and samples the intensity twice in each.

A window of N pixels samples the pattern once in each detector pixel. Twice as wide, it samples it in the middle of the
pixels and on the edges between them, and holds probes up to twice as wide (reciprocal-space upsampling: Batey et al.,
Phys. Rev. A 89:043812, 2014, there with samples inside the pixels). A pixel's counts are then Simpson's rule over
it, along each axis: (1, 4, 1) / 3 of the samples at its edges and in its middle, which sum to 2, as many samples as a
pixel has. What a detail of the pattern keeps, sinc(u) of u cycles per pixel, Simpson's rule gives to 0.003 up to
u = 1/4 and to 0.03 up to u = 1/2; one sample in the middle gives 1.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

Factor = Literal[1, 2]  # of the waves' window over the detector's


def window_of(pixels: tuple[int, int], factor: Factor) -> tuple[int, int]:
    """(y, x) pixels of the waves' window."""
    return pixels[0] * factor, pixels[1] * factor


def pixels_of(window: tuple[int, int], factor: Factor) -> tuple[int, int]:
    """(ky, kx) pixels of the patterns, of the waves' window."""
    return window[0] // factor, window[1] // factor


def summed(intensity: Float[Array, "*stack wy wx"], pixels: tuple[int, int]) -> Float[Array, "*stack ny nx"]:
    """Counts of a detector's pixels of an intensity in the waves' window, zero frequency at (0, 0) in both."""
    for axis in (-2, -1):
        if intensity.shape[axis] != pixels[axis]:
            middles, edges = (jnp.take(intensity, jnp.arange(i, intensity.shape[axis], 2), axis) for i in (0, 1))
            intensity = (4 * middles + edges + jnp.roll(edges, 1, axis)) / 3
    return intensity


def spread(factor: Float[Array, "ny nx"], window: tuple[int, int], adjoint: bool) -> Float[Array, "wy wx"]:
    """A factor of each pixel, given to the samples: by the adjoint of `summed`, or by its mean over the pixels that a
    sample counts in."""
    middle, edge = (4 / 3, 1 / 3) if adjoint else (1.0, 0.5)
    for axis in (-2, -1):
        if factor.shape[axis] != window[axis]:
            both = [middle * factor, edge * (factor + jnp.roll(factor, -1, axis))]
            shape = list(factor.shape)
            shape[axis] *= 2
            factor = jnp.stack(both, axis=factor.ndim + axis + 1).reshape(shape)
    return factor
