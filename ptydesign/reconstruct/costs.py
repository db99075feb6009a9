"""Costs: pure functions (state, mean counts per pattern) -> scalar, whose gradients come from JAX.

Object costs are sums over slices and pixels divided by the pixels of the scanned rectangle, so that they depend
neither on the canvas's padding nor on the field of view. Probe costs are divided by the mean counts. Absolute values
are smoothed, |x| -> sqrt(|x|^2 + eps^2) - eps, and phases of zero are zero: every gradient is finite everywhere.

TV: Rudin, Osher & Fatemi, Physica D 60:259 (1992), isotropic. Gradients in the plane are per angstrom, so that a
weight keeps its meaning when the pixel changes. Neighbouring slices are compared as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ptydesign.functions import Place, Registry, guarded
from ptydesign.reconstruct import tried
from ptydesign.reconstruct.shapes import Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2

Steps = Float[Array, "2 mode ny nx"]
CostFunction = Callable[[ReconState, Scalar], Scalar]
EPS = 1e-3  # rad, or 1/A: below this, L1 costs turn into L2


def _abs2(z: Complex[Array, "*axes"]) -> Float[Array, "*axes"]:
    return z.real**2 + z.imag**2


def _soft(square: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """|x| of x^2, smooth at zero."""
    return jnp.sqrt(square + EPS**2) - EPS


def _safe_root(square: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _safe_angle(z: Complex[Array, "*axes"]) -> Float[Array, "*axes"]:
    z = jnp.where(_abs2(z) > 0, z, 1.0)
    return jnp.arctan2(z.imag, z.real)


def scanned_area_px(state: ReconState) -> Scalar:
    """Pixels of the scanned rectangle (padded positions repeat the first one)."""
    positions = jax.lax.stop_gradient(state.positions_px)
    return jnp.prod(jnp.max(positions, axis=0) - jnp.min(positions, axis=0) + 1)


def _gradient2(state: ReconState) -> Float[Array, "slice y x"]:
    """(slice, y, x) |gradient|^2 of the transmission in 1/A^2; forward differences, zero at the far edges."""
    dy = jnp.diff(state.object, axis=-2, append=state.object[:, -1:, :]) / state.pixel_a[0]
    dx = jnp.diff(state.object, axis=-1, append=state.object[:, :, -1:]) / state.pixel_a[1]
    return _abs2(dy) + _abs2(dx)


def object_l2(state: ReconState, counts: Scalar) -> Scalar:
    """|O - 1|^2."""
    return jnp.sum(_abs2(state.object - 1)) / scanned_area_px(state)


def object_l1(state: ReconState, counts: Scalar) -> Scalar:
    """|O - 1|."""
    return jnp.sum(_soft(_abs2(state.object - 1))) / scanned_area_px(state)


def object_phase_l1(state: ReconState, counts: Scalar) -> Scalar:
    """|arg O|."""
    return jnp.sum(_soft(_safe_angle(state.object) ** 2)) / scanned_area_px(state)


def object_spectrum_l1(state: ReconState, counts: Scalar) -> Scalar:
    """|F(O - 1)|, the square root of the power spectrum (unitary transform): few frequencies, as in a crystal."""
    return jnp.sum(_soft(_abs2(fft2(state.object - 1)))) / scanned_area_px(state)


def object_tikhonov(state: ReconState, counts: Scalar) -> Scalar:
    """|gradient of O|^2 in the plane, in 1/A^2."""
    return jnp.sum(_gradient2(state)) / scanned_area_px(state)


def object_tv(state: ReconState, counts: Scalar) -> Scalar:
    """|gradient of O| in the plane, in 1/A."""
    return jnp.sum(_soft(_gradient2(state))) / scanned_area_px(state)


def layer_tikhonov(state: ReconState, counts: Scalar) -> Scalar:
    """|O_s+1 - O_s|^2 between neighbouring slices; zero for one slice."""
    return jnp.sum(_abs2(jnp.diff(state.object, axis=0))) / scanned_area_px(state)


def layer_tv(state: ReconState, counts: Scalar) -> Scalar:
    """|O_s+1 - O_s| between neighbouring slices; zero for one slice."""
    return jnp.sum(_soft(_abs2(jnp.diff(state.object, axis=0)))) / scanned_area_px(state)


def probe_l2(state: ReconState, counts: Scalar) -> Scalar:
    """Total power of all modes over the mean counts; 1 for a probe that fits the data."""
    return jnp.sum(_abs2(state.probe)) / counts


def _phase_steps(state: ReconState) -> tuple[Steps, Steps]:
    """Phase differences (axis, mode, ky, kx) between neighbours of the phase plate, and their weights.

    The plate is the probe's Fourier transform with the probe at the origin. A weight is the harmonic mean of both
    intensities: it vanishes like the square of a dark neighbour, whose phase would otherwise make a kink.
    """
    plate = fft2(jnp.fft.ifftshift(state.probe, axes=(-2, -1)))
    steps, weights = [], []
    for axis in (-2, -1):
        other = jnp.roll(plate, -1, axis)
        both = _abs2(plate) + _abs2(other)
        steps.append(_safe_angle(other * jnp.conj(plate)))
        weights.append(2 * _abs2(plate) * (_abs2(other) / jnp.where(both > 0, both, 1.0)))
    return jnp.stack(steps), jnp.stack(weights)


def probe_phase_tikhonov(state: ReconState, counts: Scalar) -> Scalar:
    """Squared phase differences, in rad^2 per reciprocal pixel, weighted by intensity."""
    steps, weights = _phase_steps(state)
    return jnp.sum(weights * steps**2) / counts


def probe_phase_tv(state: ReconState, counts: Scalar) -> Scalar:
    """Absolute phase differences (isotropic), in rad per reciprocal pixel, weighted by intensity."""
    steps, weights = _phase_steps(state)
    # weights inside the root: a dark neighbour's phase has an infinite slope
    length = _safe_root(jnp.sum(weights**2 * (steps**2 + EPS**2), axis=0))
    return jnp.sum(length - EPS * _safe_root(jnp.sum(weights**2, axis=0))) / counts


def _taken(function: Any, place: Place) -> CostFunction:
    """A user's cost, tried on a random state and on vacuum."""
    call = guarded(function, place)

    def cost(state: ReconState, counts: Scalar) -> Scalar:
        value = call(state, counts)
        tried.shaped(place, value, (), "one number")
        return value

    random, vacuum = tried.states(np.float64)

    @jax.jit
    def both(at: tuple[Array, Array]) -> tuple[Array, Any]:
        return jax.value_and_grad(lambda a: cost(random.replace(object=a[0], probe=a[1]), jnp.asarray(50.0)))(at)

    with jax.enable_x64(True):
        for words, state in (("", random), (" of vacuum, from which runs start", vacuum)):
            value, slopes = both((state.object, state.probe))
            tried.finite(place, value, f"values{words}")
            for leaf in slopes:
                tried.finite(place, leaf, f"gradients{words}")
        tried.gradient(place, both, (random.object, random.probe), "object and probe")
        if not any(np.any(leaf) for leaf in both((random.object, random.probe))[1]):
            mend = "It may not round, compare, or stop gradients."
            raise place.error("must depend on object or probe", "a gradient of zero everywhere", mend)
    return cost


COSTS: Registry[CostFunction] = Registry(
    "cost",
    {
        "layer_tikhonov": layer_tikhonov,
        "layer_tv": layer_tv,
        "object_l1": object_l1,
        "object_l2": object_l2,
        "object_phase_l1": object_phase_l1,
        "object_spectrum_l1": object_spectrum_l1,
        "object_tikhonov": object_tikhonov,
        "object_tv": object_tv,
        "probe_l2": probe_l2,
        "probe_phase_tikhonov": probe_phase_tikhonov,
        "probe_phase_tv": probe_phase_tv,
    },
    _taken,
)
