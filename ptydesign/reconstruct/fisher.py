"""One step of Fisher scoring of real parameters t of the expected pattern I.

With the noise model's slope d nll / dI and the expected derivative of that slope ("bend"),

    g = sum slope dI/dt,   H = sum bend dI/dt dI/dt',   step = -(H + damping)^-1 g.

dI/dt = 2 w sum_m Re(conj(Psi_m) dPsi_m/dt) comes from an exact Jacobian-vector product of the forward model, for any
number of slices. Odstrcil et al., Opt. Express 26:3108 (2018), sec. 3.3, divide by ||P dO/dx||^2 instead, in which the
shift of the whole exit wave counts although no pattern depends on it; H does not contain it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ptydesign.reconstruct.forward import Problem
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.shapes import Index, Lit, Modes, Pattern, Scalar

Slopes, Curvatures = Float[Array, "slot k"], Float[Array, "slot k k"]

DAMPING = 0.1  # of the group's mean curvature, so that a position which says little moves little


def scores(
    far: Modes, d_expected: Float[Array, "k ny nx"], pattern: Pattern, weight: Scalar, problem: Problem, noise: str
) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
    """(g (k,), H (k, k)) of one pattern's negative log-likelihood; d_expected (k, ky, kx): dI/dt of each parameter,
    before the detector's blur."""
    model = NOISE_MODELS[noise]
    expected = problem.expected(far, weight)
    slope = problem.mask * model.slope(expected, pattern, problem.offset)
    # at y = I the derivative of the slope is the expected second derivative
    _, bend = jax.jvp(lambda i: model.slope(i, expected, problem.offset), (expected,), (jnp.ones_like(expected),))
    flat = problem.seen(d_expected).reshape(len(d_expected), -1)
    return flat @ slope.ravel(), (flat * (problem.mask * bend).ravel()) @ flat.T


def change_of_pattern(far: Modes, d_far: Modes, weight: Scalar) -> Lit:
    """dI of a change of the far field (mode, ky, kx)."""
    return 2 * weight * jnp.sum(far.real * d_far.real + far.imag * d_far.imag, axis=0)


def steps_of(g: Slopes, h: Curvatures, count: Index) -> Slopes:
    """Damped Fisher steps (m, k) of a group; a parameter that no pattern depends on stays."""
    diagonal = jnp.diagonal(h, axis1=1, axis2=2)
    mean = jnp.sum(diagonal, axis=0) / jnp.maximum(count, 1)
    damped = diagonal + DAMPING * mean + jnp.finfo(g.dtype).tiny
    # scaled to a unit diagonal, so that units and counts do not matter
    unit = 1 / jnp.sqrt(damped)
    scaled = h * unit[:, :, None] * unit[:, None, :]
    eye = jnp.eye(h.shape[-1], dtype=g.dtype)
    scaled = scaled * (1 - eye) + eye
    return -unit * jnp.linalg.solve(scaled, (unit * g)[..., None])[..., 0]
