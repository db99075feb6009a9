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

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ptydesign import waves
from ptydesign.grids import Grid

DARK = 1e-9  # of the mean counts: least expected counts, where (d lambda)^2 / lambda is 0 / 0


class Imaging(NamedTuple):
    """How an object is imaged. Canvas pixels are the window's; the canvas is periodic.

    positions_px: (position, 2) canvas pixel of the window's centre, fractions allowed. electrons: (position,), 0 for
    a position that only fills an array. background: mean counts added to every pixel.
    propagators: (slices - 1, ny, nx), in Fourier space.
    aperture: (ny, nx) 1 where an unknown probe may have Fourier components, corner-centred.
    mtf: (ny, nx // 2 + 1), or ones.
    """

    positions_px: jax.Array
    electrons: jax.Array
    background: jax.Array
    propagators: jax.Array
    aperture: jax.Array
    mtf: jax.Array


class Unknowns(NamedTuple):
    """What is estimated. phase: (slices, Y, X) in rad. probe: (2, ny, nx) real and imaginary part of the Fourier
    components, corner-centred, sum of squares 1, the probe at r = 0; None in a tangent if the probe is known."""

    phase: jax.Array
    probe: jax.Array


def make_imaging(
    grid: Grid,
    positions_px: np.ndarray,
    electrons: float | np.ndarray,
    aperture: np.ndarray,
    background: float = 0.0,
    propagators: np.ndarray | None = None,
    mtf_nyquist: float = 1.0,
    precision: type = np.float32,
) -> Imaging:
    """The arrays of `Imaging`. grid: of the window. mtf_nyquist: as in `simulate.detector.apply_mtf`."""
    ny, nx = grid.shape
    fy, fx = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)[None, :]
    mtf = mtf_nyquist ** (np.sin(np.pi * fy) ** 2 + np.sin(np.pi * fx) ** 2)
    complex_ = np.complex128 if precision is np.float64 else np.complex64
    steps = np.zeros((0, ny, nx)) if propagators is None else propagators
    return Imaging(
        jnp.asarray(positions_px, precision),
        jnp.broadcast_to(jnp.asarray(electrons, precision), (len(positions_px),)),
        jnp.asarray(background, precision),
        jnp.asarray(steps, complex_),
        jnp.asarray(aperture, precision),
        jnp.asarray(mtf, precision),
    )


def probe_unknowns(spectrum: np.ndarray, precision: type = np.float32) -> jax.Array:
    """(2, ny, nx) of a complex spectrum (ny, nx)."""
    return jnp.asarray(np.stack([spectrum.real, spectrum.imag]), precision)


def expected_counts(unknowns: Unknowns, position_px: jax.Array, electrons: jax.Array, imaging: Imaging) -> jax.Array:
    """Mean counts (ny, nx) of one pattern, corner-centred."""
    ny, nx = imaging.aperture.shape
    _, rows, columns = unknowns.phase.shape
    whole = jnp.round(position_px)
    fraction = position_px - whole
    first = whole.astype(jnp.int32) - jnp.asarray([ny // 2, nx // 2])
    iy = (first[0] + jnp.arange(ny)) % rows
    ix = (first[1] + jnp.arange(nx)) % columns
    patch = unknowns.phase[:, iy[:, None], ix[None, :]]
    ky, kx = (k.astype(fraction.dtype) for k in _frequencies(ny, nx))
    # the probe at the window's centre pixel, and there by the fraction of a pixel
    turn = -2 * jnp.pi * (ky * (ny // 2 + fraction[0]) + kx * (nx // 2 + fraction[1]))
    spectrum = imaging.aperture * (unknowns.probe[0] + 1j * unknowns.probe[1]) * jnp.exp(1j * turn)
    exit_wave = waves.multislice(waves.ifft2(spectrum), jnp.exp(1j * patch), imaging.propagators)
    far = waves.fft2(exit_wave)
    intensity = far.real**2 + far.imag**2
    blurred = jnp.fft.irfft2(jnp.fft.rfft2(intensity) * imaging.mtf, s=(ny, nx))
    return electrons * jnp.where(jnp.all(imaging.mtf == 1), intensity, blurred) + imaging.background


def _frequencies(ny: int, nx: int) -> tuple[jax.Array, jax.Array]:
    ky, kx = Grid((ny, nx), (1.0, 1.0)).frequencies()
    return jnp.asarray(ky), jnp.asarray(kx)


@jax.jit
def fisher_product(unknowns: Unknowns, imaging: Imaging, vector: Unknowns) -> Unknowns:
    """F v. A vector with probe None holds the probe known, and so does the product."""

    def one(total, place):
        counts, pull, change = _linear(unknowns, place, imaging, vector)
        (part,) = pull(change / counts)
        return jax.tree.map(jnp.add, total, _same_kind(part, vector)), None

    places = (imaging.positions_px, imaging.electrons)
    return jax.lax.scan(one, jax.tree.map(jnp.zeros_like, vector), places)[0]


@jax.jit
def information(unknowns: Unknowns, imaging: Imaging, vectors: jax.Array) -> jax.Array:
    """v^T F v of each phase vector (m, slices, Y, X): (m,). The probe is known. One pass, a cheap first look."""

    def one(total, place):
        def counts_of(phase):
            return expected_counts(unknowns._replace(phase=phase), *place, imaging)

        counts, push = jax.linearize(counts_of, unknowns.phase)
        counts = jnp.maximum(counts, DARK * jnp.max(imaging.electrons))
        changes = jax.vmap(push)(vectors)
        return total + jnp.sum(changes**2 / counts, axis=(-2, -1)), None

    places = (imaging.positions_px, imaging.electrons)
    return jax.lax.scan(one, jnp.zeros(len(vectors), vectors.dtype), places)[0]


@jax.jit
def illumination(unknowns: Unknowns, imaging: Imaging) -> jax.Array:
    """4 n sum_j |P_j|^2 on the canvas (Y, X): the diagonal of F for an ideal measurement, a preconditioner."""
    ny, nx = imaging.aperture.shape
    rows, columns = unknowns.phase.shape[-2:]
    wave = waves.ifft2(imaging.aperture * (unknowns.probe[0] + 1j * unknowns.probe[1]))
    light = jnp.fft.fftshift(wave.real**2 + wave.imag**2)

    def one(total, place):
        position, electrons = place
        first = jnp.round(position).astype(jnp.int32) - jnp.asarray([ny // 2, nx // 2])
        iy, ix = (first[0] + jnp.arange(ny)) % rows, (first[1] + jnp.arange(nx)) % columns
        return total.at[iy[:, None], ix[None, :]].add(electrons * light), None

    start = jnp.zeros((rows, columns), light.dtype)
    return 4 * jax.lax.scan(one, start, (imaging.positions_px, imaging.electrons))[0]


def least_variance(
    unknowns: Unknowns,
    imaging: Imaging,
    combination: np.ndarray,
    probe_known: bool = True,
    iterations: int = 60,
    tolerance: float = 1e-4,
) -> tuple[float, float]:
    """(bound, residual): c^T F^-1 c of a combination c (slices, Y, X) of phases, and |F x - c| / |c| of its solution.

    combination: orthogonal to the gauges of the case (`windowed_mode`), or the number means nothing. tolerance: the
    residual at which conjugate gradients stop; the bound's own error is of its square.
    """
    real = unknowns.phase.dtype
    c = Unknowns(jnp.asarray(combination, real), None if probe_known else jnp.zeros_like(unknowns.probe))
    x, rest = _solve(unknowns, imaging, c, jnp.asarray(tolerance, real), iterations)
    return float(jnp.vdot(c.phase, x.phase)), float(rest)


@jax.jit(static_argnames="iterations")
def _solve(
    unknowns: Unknowns, imaging: Imaging, c: Unknowns, tolerance: jax.Array, iterations: int
) -> tuple[Unknowns, jax.Array]:
    lit = illumination(unknowns, imaging)
    weight = 1 / (lit + 0.01 * jnp.max(lit))
    power = 4 * jnp.sum(imaging.electrons)

    def precondition(v: Unknowns) -> Unknowns:
        probe = None if v.probe is None else imaging.aperture * v.probe / power
        return Unknowns(weight * v.phase, probe)

    def product(v: Unknowns) -> Unknowns:
        return fisher_product(unknowns, imaging, v)

    x, _ = jax.scipy.sparse.linalg.cg(product, c, tol=tolerance, maxiter=iterations, M=precondition)
    rest = jax.tree.map(jnp.subtract, product(x), c)
    return x, jnp.sqrt(_square(rest) / _square(c))


def gauges(phase: np.ndarray, probe_known: bool) -> list[np.ndarray]:
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
    phase: np.ndarray, window: np.ndarray, frequency: tuple[float, float], shift_rad: float, probe_known: bool = True
) -> np.ndarray:
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


def _linear(unknowns: Unknowns, place: tuple[jax.Array, jax.Array], imaging: Imaging, vector: Unknowns):
    """Counts of a position, the transposed derivative, and the change of the counts along a vector."""

    def counts_of(values: Unknowns) -> jax.Array:
        return expected_counts(_filled(values, unknowns), *place, imaging)

    at = _same_kind(unknowns, vector)
    counts, change = jax.jvp(counts_of, (at,), (vector,))
    _, pull = jax.vjp(counts_of, at)
    return jnp.maximum(counts, DARK * jnp.max(imaging.electrons)), pull, change


def _same_kind(values: Unknowns, vector: Unknowns) -> Unknowns:
    return values if vector.probe is not None else values._replace(probe=None)


def _filled(values: Unknowns, unknowns: Unknowns) -> Unknowns:
    return values if values.probe is not None else values._replace(probe=unknowns.probe)


def _square(values: Unknowns) -> jax.Array:
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(values))
