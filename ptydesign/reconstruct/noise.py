"""Noise models: one elementwise negative log-likelihood each, which every engine uses.

With I = |psi|^2 + background the expected counts of a pixel and y the measured ones, a model gives
- `nll(I, y)`: negative log-likelihood per pixel, zero where I = y;
- `slope(I, y)`: d nll / d I. The gradient with respect to conj(psi) is slope * psi, and
  -2 slope / curvature * psi is the step that a quadratic model of the same curvature would take: for the
  amplitude model exactly the modulus projection (sqrt(y/I) - 1) psi;
- `curvature(I)`: expected second derivative of nll with respect to the amplitude |psi|, near I = y.

`offset` (in counts) keeps everything finite where I = 0. The amplitude and Poisson models are homogeneous: scaling
counts, offset and probe together scales the likelihood and changes nothing else.

Sources: Thibault & Guizar-Sicairos, New J. Phys. 14:063004 (2012), eqs. 2-6; Odstrcil et al., Opt. Express 26:3108
(2018), eqs. 4-8; Anscombe, Biometrika 35:246 (1948).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

Counts = Float[Array, "*pattern"]
Elementwise = Callable[[Counts, Counts, Float[Array, ""]], Counts]


@dataclass(frozen=True)
class Noise:
    """Three elementwise functions of (expected counts, measured counts, offset); see the module's text."""

    nll: Elementwise
    slope: Elementwise
    curvature: Elementwise


def _safe_log_ratio(y: Counts, model: Counts) -> Counts:
    """y log(y / model), 0 where y = 0."""
    positive = y > 0
    return jnp.where(positive, y * jnp.log(jnp.where(positive, y, 1.0) / model), 0.0)


AMPLITUDE = Noise(
    nll=lambda i, y, offset: (jnp.sqrt(i + offset) - jnp.sqrt(y + offset)) ** 2,
    slope=lambda i, y, offset: 1 - jnp.sqrt((y + offset) / (i + offset)),
    curvature=lambda i, y, offset: jnp.full_like(i, 2.0),
)

ANSCOMBE = Noise(
    nll=lambda i, y, offset: (jnp.sqrt(i + 0.375) - jnp.sqrt(y + 0.375)) ** 2,
    slope=lambda i, y, offset: 1 - jnp.sqrt((y + 0.375) / (i + 0.375)),
    curvature=lambda i, y, offset: jnp.full_like(i, 2.0),
)

POISSON = Noise(
    nll=lambda i, y, offset: i - y + _safe_log_ratio(y + offset, i + offset),
    slope=lambda i, y, offset: 1 - (y + offset) / (i + offset),
    curvature=lambda i, y, offset: jnp.full_like(i, 4.0),
)

# Constant variance: the mean of the expected counts, so that a pixel's weight does not follow its own counts. The
# curvature in the amplitude, 4 I / variance, is bounded below by its mean (4): a dark pixel is left alone.
GAUSSIAN = Noise(
    nll=lambda i, y, offset: 0.5 * (i - y) ** 2 / (jnp.mean(i, axis=(-2, -1), keepdims=True) + offset),
    slope=lambda i, y, offset: (i - y) / (jnp.mean(i, axis=(-2, -1), keepdims=True) + offset),
    curvature=lambda i, y, offset: 4 * jnp.maximum(1.0, i / (jnp.mean(i, axis=(-2, -1), keepdims=True) + offset)),
)

NOISE_MODELS: dict[str, Noise] = {
    "amplitude": AMPLITUDE,
    "anscombe": ANSCOMBE,
    "poisson": POISSON,
    "gaussian": GAUSSIAN,
}
