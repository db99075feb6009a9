"""Noise models: one negative log-likelihood of a pixel each, which every engine uses. A user's own is a function
`nll(I, y, offset)`, or a `Noise` with derivatives in closed form, as the built-in ones.

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
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ptydesign.functions import Place, Registry, guarded
from ptydesign.reconstruct import tried

Counts = Float[Array, "*pattern"]
Elementwise = Callable[[Counts, Counts, Float[Array, ""]], Counts]


@dataclass(frozen=True)
class Noise:
    """Functions of (expected counts, measured counts, offset), and the curvature's of (expected, offset); see the
    module's text.

    slope, curvature: where they are not given, JAX's derivatives of `nll`. The curvature is then at least its mean over
    the pattern, so that a dark pixel takes no huge step. poisson: the likelihood's scale in units of the Poisson one,
    near I = y and at high counts.
    """

    nll: Elementwise
    slope: Elementwise | None = None
    curvature: Elementwise | None = None
    poisson: float = 1.0

    def __post_init__(self) -> None:
        nll = self.nll

        def slope(i: Counts, y: Counts, offset: Array) -> Counts:
            return jax.grad(lambda each: jnp.sum(nll(each, y, offset)))(i)

        object.__setattr__(self, "slope", self.slope or slope)
        own = self.slope

        def curvature(i: Counts, y: Counts, offset: Array) -> Counts:
            # of nll(a^2) in a, where its slope in I vanishes; y = I
            _, bend = jax.jvp(lambda each: own(each, i, offset), (i,), (jnp.ones_like(i),))
            curved = 4 * i * bend
            return jnp.maximum(curved, jnp.mean(curved, axis=(-2, -1), keepdims=True))

        object.__setattr__(self, "curvature", self.curvature or curvature)


def _safe_log_ratio(y: Counts, model: Counts) -> Counts:
    """y log(y / model), 0 where y = 0."""
    positive = y > 0
    return jnp.where(positive, y * jnp.log(jnp.where(positive, y, 1.0) / model), 0.0)


AMPLITUDE = Noise(
    nll=lambda i, y, offset: (jnp.sqrt(i + offset) - jnp.sqrt(y + offset)) ** 2,
    slope=lambda i, y, offset: 1 - jnp.sqrt((y + offset) / (i + offset)),
    curvature=lambda i, y, offset: jnp.full_like(i, 2.0),
    poisson=0.5,
)

ANSCOMBE = Noise(
    nll=lambda i, y, offset: (jnp.sqrt(i + 0.375) - jnp.sqrt(y + 0.375)) ** 2,
    slope=lambda i, y, offset: 1 - jnp.sqrt((y + 0.375) / (i + 0.375)),
    curvature=lambda i, y, offset: jnp.full_like(i, 2.0),
    poisson=0.5,
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


def _taken(function: Any, place: Place) -> Noise:
    """A user's noise model, tried on a few pixels, dark ones among them."""
    given = function if isinstance(function, Noise) else Noise(function)
    call = guarded(given.nll, place)

    def nll(i: Counts, y: Counts, offset: Array) -> Counts:
        value = call(i, y, offset)
        tried.shaped(place, value, i.shape, "one number for each pixel")
        return value

    model = Noise(nll) if function is given.nll else replace(given, nll=nll)
    shape = (4, 6)
    rng = np.random.default_rng(0)
    expected = rng.uniform(0.5, 20, shape) * (rng.random(shape) < 0.8)
    counts, offset = rng.poisson(expected) * 1.0, 1e-3

    @jax.jit
    def all_three(i: Counts) -> tuple[Counts, Counts, Counts]:
        return model.nll(i, counts, offset), model.slope(i, counts, offset), model.curvature(i, counts, offset)

    def both(i: Counts) -> tuple[float, Counts]:
        values, slopes, _ = all_three(i)
        return float(jnp.sum(values)), slopes

    with jax.enable_x64(True):
        values = [np.asarray(one) for one in all_three(expected)]
        for what, value in zip(("likelihoods", "slopes", "curvatures"), values, strict=True):
            tried.finite(place, value, what)
        if (least := float(values[0].min())) < -1e-6:
            mend = "Subtract its value at the expected count that fits best."
            raise place.error("must give likelihoods of at least 0", least, mend)
        tried.gradient(place, both, expected + 0.5, "the expected counts")
        if not np.all(values[2] > 0):
            rule = "must have a minimum, with a positive curvature there"
            raise place.error(rule, float(values[2].min()), "It may not be linear or round.")
    return model


NOISE_MODELS: Registry[Noise] = Registry(
    "noise model",
    {"amplitude": AMPLITUDE, "anscombe": ANSCOMBE, "poisson": POISSON, "gaussian": GAUSSIAN},
    _taken,
)
