"""The limit that dose sets: Fisher information and the Cramer-Rao bound of a ptychographic design.

Poisson counts with means lambda_jk = n |F psi_j|^2 + b, of a pure phase object in one or several slices. For unknowns
theta the information is F = sum_jk (d lambda)(d lambda)^T / lambda (van Trees, Detection, Estimation and Modulation
Theory I, sec. 2.4), taken at the object itself: at vacuum the dark field would be lost. F is never built: F v is a
vector-Jacobian product of a Jacobian-vector product, by automatic differentiation of `waves.multislice`. The least
variance of a linear combination c of the unknowns, whoever reconstructs, is c^T F^-1 c, by conjugate gradients; with
the probe among the unknowns that is the Schur complement's. Stopped early the number is lower, so it stays a bound.

Combinations along which data cannot tell objects apart have no bound. `gauges` lists them: the global phase, and for
an unknown probe also a phase ramp and a shift; `windowed_mode` is orthogonal to them, as a score is that removes them.
A bound says nothing about whether a reconstruction converges.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from ptydesign import waves
from ptydesign.grids import Grid
from ptydesign.mtf import Transfer, mtf

Scalar = Float[Array, ""]
Phase = Float[np.ndarray, "slice Y X"]
Tiled = Float[Array, "*stack Y X"] | Complex[Array, "*stack Y X"]
Cut = Float[Array, "*stack ny nx"] | Complex[Array, "*stack ny nx"]
DARK = 1e-9  # of the mean counts: least expected counts, where (d lambda)^2 / lambda is 0 / 0


class Imaging(NamedTuple):
    """How an object is imaged. Canvas pixels are the window's; the canvas is periodic.

    positions_px: (position, 2) canvas pixel of the window's centre, fractions allowed. electrons: (position,), 0 for
    a position that only fills an array. background: mean counts added to every pixel.
    propagators: (slices - 1, ny, nx), in Fourier space.
    aperture: (ny, nx) 1 where an unknown probe may have Fourier components, corner-centred.
    mtf: (ny, nx // 2 + 1), with what energy losses do, or None where nothing blurs patterns.
    coherence: (mode, ny, nx) factors in Fourier space that make the incoherent probes, whose patterns add up, of the
    coherent one; None for a coherent beam. They are known: source and focal spread are no unknowns.
    """

    positions_px: Float[Array, "position 2"]
    electrons: Float[Array, " position"]
    background: Scalar
    propagators: Complex[Array, "step ny nx"]
    aperture: Float[Array, "ny nx"]
    mtf: Float[Array, "ny half"] | None
    coherence: Complex[Array, "mode ny nx"] | None = None


class Unknowns(NamedTuple):
    """What is estimated. phase: (slices, Y, X) in rad. probe: (2, ny, nx) real and imaginary part of the Fourier
    components, corner-centred, sum of squares 1, the probe at r = 0; None in a tangent if the probe is known."""

    phase: Float[Array, "slice Y X"]
    probe: Float[Array, "2 ny nx"] | None


def make_imaging(
    grid: Grid,
    positions_px: Float[np.ndarray, "position 2"],
    electrons: float | Float[np.ndarray, " position"],
    aperture: Float[np.ndarray, "ny nx"],
    background: float = 0.0,
    propagators: Complex[np.ndarray, "step ny nx"] | None = None,
    mtf_nyquist: float = 1.0,
    precision: type = np.float32,
    coherence: Complex[np.ndarray, "mode ny nx"] | None = None,
    losses: Transfer | None = None,
) -> Imaging:
    """The arrays of `Imaging`. grid: of the window. mtf_nyquist: of the detector, see `mtf.mtf`. losses: see
    `losses.transfer`."""
    transfer = mtf(grid.shape, mtf_nyquist)
    if losses is not None:
        transfer = losses if transfer is None else losses * transfer
    complex_ = np.complex128 if precision is np.float64 else np.complex64
    steps = np.zeros((0, *grid.shape)) if propagators is None else propagators
    return Imaging(
        jnp.asarray(positions_px, precision),
        jnp.broadcast_to(jnp.asarray(electrons, precision), (len(positions_px),)),
        jnp.asarray(background, precision),
        jnp.asarray(steps, complex_),
        jnp.asarray(aperture, precision),
        None if transfer is None else jnp.asarray(transfer, precision),
        None if coherence is None else jnp.asarray(coherence, complex_),
    )


def probe_unknowns(spectrum: Complex[np.ndarray, "ny nx"], precision: type = np.float32) -> Float[Array, "2 ny nx"]:
    """(2, ny, nx) of a complex spectrum (ny, nx)."""
    return jnp.asarray(np.stack([spectrum.real, spectrum.imag]), precision)


def expected_counts(
    unknowns: Unknowns, position_px: Float[Array, " 2"], electrons: Scalar, imaging: Imaging
) -> Float[Array, "ny nx"]:
    """Mean counts (ny, nx) of one pattern, corner-centred."""
    place = _places(position_px, electrons, imaging)
    transmission = _cut(_tiled(jnp.exp(1j * unknowns.phase), imaging), place.first, imaging)
    return _counts(transmission, unknowns.probe, place, imaging)


class _Places(NamedTuple):
    """Where probes are. first: (..., 2) canvas pixel of the window's corner, may lie outside. turn_y (..., ny), turn_x
    (..., nx): factors in Fourier space that move a probe at r = 0 to its place in the window. electrons: (...)."""

    first: Int[Array, "*place 2"]
    turn_y: Complex[Array, "*place ny"]
    turn_x: Complex[Array, "*place nx"]
    electrons: Float[Array, "*place"]


def _places(positions_px: Float[Array, "*place 2"], electrons: Float[Array, "*place"], imaging: Imaging) -> _Places:
    """For all positions (..., 2) before a loop over them: inside, XLA would take the exponentials for every pixel."""
    half = np.asarray(imaging.aperture.shape) // 2
    whole = jnp.round(positions_px)
    inside = positions_px - whole + half  # of the window
    turns = (
        jnp.exp(-2j * jnp.pi * jnp.fft.fftfreq(n).astype(inside.dtype) * inside[..., axis, None])
        for axis, n in enumerate(imaging.aperture.shape)
    )
    return _Places(whole.astype(jnp.int32) - half, *turns, electrons)


def _tiled(image: Cut, imaging: Imaging) -> Tiled:
    """(..., Y + ny, X + nx) of a periodic (..., Y, X): every window is one block of it, cut out many times faster than
    pixel by pixel."""
    rows, columns = (jnp.arange(n + w) % n for n, w in zip(image.shape[-2:], imaging.aperture.shape, strict=True))
    return image[..., rows[:, None], columns[None, :]]


def _corner(tiled: Tiled, first: Int[Array, " 2"], imaging: Imaging) -> tuple[Int[Array, ""] | int, ...]:
    period = jnp.asarray(tiled.shape[-2:]) - jnp.asarray(imaging.aperture.shape)
    return *(0,) * (tiled.ndim - 2), *(first % period)


def _cut(tiled: Tiled, first: Int[Array, " 2"], imaging: Imaging) -> Cut:
    shape = (*tiled.shape[:-2], *imaging.aperture.shape)
    return jax.lax.dynamic_slice(tiled, _corner(tiled, first, imaging), shape)


def _add(tiled: Tiled, first: Int[Array, " 2"], part: Cut, imaging: Imaging) -> Tiled:
    """The transpose of `_cut`, added to what is there."""
    sum_ = _cut(tiled, first, imaging) + part
    return jax.lax.dynamic_update_slice(tiled, sum_, _corner(tiled, first, imaging))


def _untiled(tiled: Tiled, shape: tuple[int, ...], imaging: Imaging) -> Cut:
    """The transpose of `_tiled`."""
    (image,) = jax.linear_transpose(lambda v: _tiled(v, imaging), jax.ShapeDtypeStruct(shape, tiled.dtype))(tiled)
    return image


def _counts(
    transmission: Complex[Array, "slice ny nx"], probe: Float[Array, "2 ny nx"], place: _Places, imaging: Imaging
) -> Float[Array, "ny nx"]:
    spectrum = imaging.aperture * jax.lax.complex(probe[0], probe[1]) * place.turn_y[:, None] * place.turn_x
    if imaging.coherence is not None:
        spectrum = imaging.coherence * spectrum
    far = waves.fft2(waves.multislice(waves.ifft2(spectrum), transmission, imaging.propagators))
    intensity = _over_modes(far.real**2 + far.imag**2, imaging)
    if imaging.mtf is not None:
        intensity = jnp.fft.irfft2(jnp.fft.rfft2(intensity) * imaging.mtf, s=intensity.shape)
    return place.electrons * intensity + imaging.background


def _over_modes(intensity: Float[Array, "*mode ny nx"], imaging: Imaging) -> Float[Array, "ny nx"]:
    return intensity if imaging.coherence is None else jnp.sum(intensity, axis=0)


@jax.jit
def fisher_product(unknowns: Unknowns, imaging: Imaging, vector: Unknowns) -> Unknowns:
    """F v. A vector with probe None holds the probe known, and so does the product.

    Mapped over vectors (jax.vmap), what a position's derivative needs of the object is computed once for all.
    """
    tiled, change_of = _tiled(jnp.exp(1j * unknowns.phase), imaging), _tiled(vector.phase, imaging)

    def one(total: Unknowns, place: _Places) -> tuple[Unknowns, None]:
        counts, push = _derivative(unknowns, tiled, place, imaging, vector.probe is not None)
        at = Unknowns(_cut(change_of, place.first, imaging), vector.probe)
        (part,) = jax.linear_transpose(push, at)(push(at) / counts)
        phase = _add(total.phase, place.first, part.phase, imaging)
        return Unknowns(phase, None if part.probe is None else total.probe + part.probe), None

    places = _places(imaging.positions_px, imaging.electrons, imaging)
    start = jax.tree.map(jnp.zeros_like, Unknowns(change_of, vector.probe))
    total = jax.lax.scan(one, start, places)[0]
    return total._replace(phase=_untiled(total.phase, unknowns.phase.shape, imaging))


@jax.jit
def information(unknowns: Unknowns, imaging: Imaging, vectors: Float[Array, "m slice Y X"]) -> Float[Array, " m"]:
    """v^T F v of each phase vector (m, slices, Y, X): (m,). The probe is known. One pass, a cheap first look."""
    tiled, changes_of = _tiled(jnp.exp(1j * unknowns.phase), imaging), _tiled(vectors, imaging)

    def one(total: Float[Array, " m"], place: _Places) -> tuple[Float[Array, " m"], None]:
        counts, push = _derivative(unknowns, tiled, place, imaging, False)
        changes = jax.vmap(lambda patch: push(Unknowns(patch, None)))(_cut(changes_of, place.first, imaging))
        return total + jnp.sum(changes**2 / counts, axis=(-2, -1)), None

    places = _places(imaging.positions_px, imaging.electrons, imaging)
    return jax.lax.scan(one, jnp.zeros(len(vectors), vectors.dtype), places)[0]


def _derivative(
    unknowns: Unknowns, tiled: Complex[Array, "slice Y X"], place: _Places, imaging: Imaging, with_probe: bool
) -> tuple[Float[Array, "ny nx"], Callable[[Unknowns], Float[Array, "ny nx"]]]:
    """Mean counts at a place, and their derivative: a linear function of the window's `Unknowns` (probe None unless
    with_probe)."""
    transmission = _cut(tiled, place.first, imaging)

    def counts_of(values: Unknowns) -> Float[Array, "ny nx"]:
        """Of a change of the phase, to first order: exponentials are taken once for the canvas, not for each window."""
        probe = values.probe if with_probe else unknowns.probe
        return _counts(transmission * (1 + 1j * values.phase), probe, place, imaging)

    at = Unknowns(jnp.zeros(transmission.shape, place.electrons.dtype), unknowns.probe if with_probe else None)
    counts, push = jax.linearize(counts_of, at)
    return jnp.maximum(counts, DARK * jnp.max(imaging.electrons)), push


@jax.jit
def illumination(unknowns: Unknowns, imaging: Imaging) -> Float[Array, "Y X"]:
    """4 n sum_j |P_j|^2 on the canvas (Y, X): the diagonal of F for an ideal measurement, a preconditioner."""
    ny, nx = imaging.aperture.shape
    rows, columns = unknowns.phase.shape[-2:]
    spectrum = imaging.aperture * (unknowns.probe[0] + 1j * unknowns.probe[1])
    wave = waves.ifft2(spectrum if imaging.coherence is None else imaging.coherence * spectrum)
    light = jnp.fft.fftshift(_over_modes(wave.real**2 + wave.imag**2, imaging))

    def one(total: Float[Array, "Y X"], place: _Places) -> tuple[Float[Array, "Y X"], None]:
        return _add(total, place.first, place.electrons * light, imaging), None

    start = jnp.zeros((rows + ny, columns + nx), light.dtype)
    total = jax.lax.scan(one, start, _places(imaging.positions_px, imaging.electrons, imaging))[0]
    return 4 * _untiled(total, (rows, columns), imaging)


def least_variance(
    unknowns: Unknowns,
    imaging: Imaging,
    combinations: Float[np.ndarray, "m slice Y X"],
    probe_known: bool = True,
    iterations: int = 60,
    tolerance: float = 1e-4,
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """(bounds, residuals), each (m,): c^T F^-1 c of combinations c (m, slices, Y, X) of phases, and |F x - c| / |c| of
    the solutions. Several at a time cost less: what a position's derivative needs of the object is shared.

    combinations: orthogonal to the gauges of the case (`windowed_mode`), or the numbers mean nothing. tolerance: the
    residual at which conjugate gradients stop; the bound's own error is of its square.
    """
    real = unknowns.phase.dtype
    c = jnp.asarray(combinations, real)
    bounds, rest = _solve(unknowns, imaging, c, jnp.asarray(tolerance, real), probe_known, iterations)
    return np.asarray(bounds), np.asarray(rest)


@functools.partial(jax.jit, static_argnames=("probe_known", "iterations"))
def _solve(
    unknowns: Unknowns,
    imaging: Imaging,
    combinations: Float[Array, "m slice Y X"],
    tolerance: Scalar,
    probe_known: bool,
    iterations: int,
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    lit = illumination(unknowns, imaging)
    weight = 1 / (lit + 0.01 * jnp.max(lit))
    power = 4 * jnp.sum(imaging.electrons)

    def precondition(v: Unknowns) -> Unknowns:
        probe = None if v.probe is None else imaging.aperture * v.probe / power
        return Unknowns(weight * v.phase, probe)

    def product(v: Unknowns) -> Unknowns:
        return fisher_product(unknowns, imaging, v)

    def solve(combination: Float[Array, "slice Y X"]) -> tuple[Scalar, Scalar]:
        c = Unknowns(combination, None if probe_known else jnp.zeros_like(unknowns.probe))
        x, _ = jax.scipy.sparse.linalg.cg(product, c, tol=tolerance, maxiter=iterations, M=precondition)
        rest = jax.tree.map(jnp.subtract, product(x), c)
        return jnp.vdot(combination, x.phase), jnp.sqrt(_square(rest) / _square(c))

    return jax.vmap(solve)(combinations)


def gauges(phase: Phase, probe_known: bool) -> list[Phase]:
    """Changes (slices, Y, X) of the object that no data see: the mean phase of the stack; with an unknown probe also a
    ramp (the probe's diffraction takes it up) and a shift of object and probe together."""
    slices, rows, columns = phase.shape
    found = [np.ones_like(phase)]
    if not probe_known:
        y, x = np.arange(rows)[:, None] - rows / 2, np.arange(columns)[None, :] - columns / 2
        ones = np.ones((slices, rows, columns))
        found += [ones * y / rows, ones * x / columns]
        found += [np.gradient(phase, axis=axis) for axis in (-2, -1)]
    return found


def windowed_mode(
    phase: Phase,
    window: Float[np.ndarray, "Y X"],
    frequency: tuple[float, float],
    shift_rad: float,
    probe_known: bool = True,
) -> Phase:
    """A unit vector (slices, Y, X): a plane wave cos(2 pi q r + shift) under a window (Y, X), the same in all slices
    (the sum over slices is what is looked at), made orthogonal to the gauges. frequency: (qy, qx) in cycles per pixel.
    """
    slices, rows, columns = phase.shape
    y, x = np.arange(rows)[:, None], np.arange(columns)[None, :]
    wave = window * np.cos(2 * np.pi * (frequency[0] * y + frequency[1] * x) + shift_rad)
    mode = np.repeat(wave[None], slices, axis=0)
    found = np.stack([g.ravel() for g in gauges(phase, probe_known)])
    local = np.stack([(window * g).ravel() for g in gauges(phase, probe_known)])
    weights = np.linalg.lstsq(found @ local.T, found @ mode.ravel(), rcond=None)[0]
    mode = mode - (weights @ local).reshape(mode.shape)
    return mode / np.linalg.norm(mode) * np.sqrt(slices)


def _square(values: Unknowns) -> Scalar:
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(values))
