"""Multislice simulation of 4D-STEM patterns with JAX: batched, float32, compiled once for each window shape.

The model is that of `waves`: T = BL[exp(i sigma V)] on the specimen; in the window psi <- ifft2(BL p(dz) fft2(T psi))
after every slice but the last; the pattern is |BL fft2(T psi)|^2. BL is the band limit at 2/3 of the Nyquist frequency
of the potential's pixel. The same holds for a single slice (strong phase approximation): its transmission and its
pattern are band-limited too, so that nothing beyond 1/(3 pixel) is ever simulated; give the potential a pixel of at
most half the detector's to fill the detector's corners.

Many rows of the first and the last transform hold nothing: a probe's spectrum has few, and the detector doesn't see
all. They are left out, along x first, which is why spectra here are transposed: (kx, ky).
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from ptydesign import accelerator, waves
from ptydesign.grids import Grid
from ptydesign.simulate.coherence import incoherent_probes
from ptydesign.simulate.integrate import pattern, pixels_of, probe_spectrum
from ptydesign.simulate.scan import check_windows
from ptydesign.simulate.transmission import transmissions
from ptydesign.simulate.window import Window, seen
from ptydesign.types import Experiment, Potential
from ptydesign.units import wavelength_a

BLOCK = 16  # positions of one compiled call; the last block is padded, so any number of positions compiles once
LARGE_BLOCK, BLOCK_ELEMENTS = 256, 2**26  # of an accelerator's, and the complex numbers of their waves: 512 MiB
FEW, MOST = 3 / 8, 7 / 8  # parts of a window's frequencies: those of a probe, and those that a detector sees


@threadpool_limits.wrap(limits=1)  # small products: threads would cost more than they save
def intensities(
    potential: Potential,
    experiment: Experiment,
    positions_a: np.ndarray,
    window: Window,
    periodic: bool = False,
) -> np.ndarray:
    """Mean pattern at each true position: (position, *detector.pixels) float32, corner-centred.

    Fractions of the incident electrons, after integration over detector pixels and before MTF, dose and noise.
    Source size, focal spread and the potential's configurations are averaged incoherently.
    positions_a: (position, 2) as (y, x) in the specimen's frame. A window may reach over the potential's edge
    only if the specimen is declared `periodic`; else that is an InputError.
    """
    positions_a = np.asarray(positions_a, np.float64)
    grid, detector = window.grid, experiment.detector
    check_windows(potential, positions_a, grid, periodic)
    spectra = probe_spectra(experiment, grid)
    ky, kx = (
        _lowest(_enough(n, MOST, k * w)) for n, k, w in zip(grid.shape, seen(detector), grid.extent_a, strict=True)
    )
    pixels = pixels_of(experiment, grid, (ky, kx), (np.abs(spectra) ** 2).sum(axis=0)[np.ix_(ky, kx)])
    limit = waves.band_limit_of(grid, max(potential.pixel_a))
    steps = _propagators(potential, experiment, grid, limit)
    probes, leaving = _transposed(spectra, experiment, grid, float(np.sum(potential.thickness_a[:-1])))
    passed = jnp.asarray(limit.T[np.ix_(kx, ky)] ** 2, jnp.float32)
    drift, times = _drift(experiment, grid, len(positions_a), probes.shape[1])
    total = np.zeros((len(positions_a), *detector.pixels), np.float32)
    patterns_of = _patterns_there if accelerator.used() else _patterns
    size = block_of(grid)
    ramps = _ramps(grid, probes.shape[1])
    voltage_kv = experiment.optics.voltage_kv
    for transmission, origin_a in transmissions(potential, voltage_kv, window, positions_a, periodic):
        corners, shifts = _corners(positions_a - origin_a, window, potential.grid if periodic else None)
        for start in range(0, len(positions_a), size):
            part = slice(start, start + size)
            places = tuple(_filled(rows[part], size) for rows in (corners, shifts, times))
            fine, direct = _block(transmission, probes, leaving, steps, passed, drift, places, ramps, shape=grid.shape)
            patterns = patterns_of(fine, direct, pixels)
            total[part] += np.asarray(patterns)[: len(corners[part])]
    return total / len(potential.slices_va)


@partial(jax.jit, static_argnames="shape")
def _block(transmission, probes, leaving, steps, passed, drift, places, ramps, *, shape):
    """Fine patterns (place, kx, ky) that the detector sees, and what of them leaves undeflected (place,).

    probes: (probe, kx, ky), the lowest kx; leaving: the same after the specimen's thickness, normalised. steps:
    propagators. passed: (kx, ky) of the detector, a factor of intensities. drift: (kx, ky) phase that the probes gain
    over the scan, or None. places: the windows' pixel (0, 0) in the specimen, the shift of the probes, and the time in
    [-1/2, 1/2]. ramps: (kx,) and (ky,), by which a shift in angstrom turns the probes' phases. shape: (y, x) of a
    window, of which nothing else compiles anew.
    """
    slices, few = transmission.shape[0], probes.shape[1]
    along_x, along_y = ramps

    def fine(place):
        corner, shift, time = place
        local = jax.lax.dynamic_slice(transmission, (0, corner[0], corner[1]), (slices, *shape))
        turn = jnp.exp(along_x[:, None] * shift[1]) * jnp.exp(along_y * shift[0])
        if drift is not None:
            turn = turn * jnp.exp(1j * time[0] * drift)

        def add(total, probe):
            entering, left = probe
            wave = waves.multislice(_to_specimen(entering * turn, shape), local, steps)
            far = _to_detector(wave, *passed.shape)
            both = min(few, passed.shape[0]), passed.shape[1]
            overlap = jnp.sum(jnp.conj(_fitted(left * turn, both)) * _fitted(far, both))
            intensity, direct = total
            return (intensity + _squared(far) * passed, direct + _squared(overlap)), None

        nothing = jnp.zeros(passed.shape, jnp.float32), jnp.zeros((), jnp.float32)
        return jax.lax.scan(add, nothing, (probes, leaving))[0]

    # On a CPU one window at a time stays in its cache; a GPU wants many at once.
    if accelerator.used():
        return jax.vmap(fine)(places)
    return jax.lax.map(fine, places)


def _patterns(fine, direct, pixels):
    """Patterns (place, y, x) of what `_block` gives; on a CPU NumPy's products of matrices are the quicker ones."""
    return pattern(np.asarray(fine).swapaxes(-1, -2), np.asarray(direct) / pixels.kept, pixels)


@jax.jit
def _patterns_there(fine, direct, pixels):
    with jax.default_matmul_precision("highest"):
        return pattern(fine.swapaxes(-1, -2), direct / pixels.kept, pixels)


def _ramps(grid: Grid, few: int) -> tuple[jax.Array, jax.Array]:
    ky, kx = grid.frequencies()
    along_x, along_y = (-2j * jnp.pi * jnp.float32(k) for k in (kx[0, _lowest(few)], ky[:, 0]))
    return along_x, along_y


def block_of(grid: Grid) -> int:
    """Positions of one compiled call in a window: a power of two of them on an accelerator, as its memory allows."""
    if not accelerator.used():
        return BLOCK
    most = max(BLOCK, BLOCK_ELEMENTS // math.prod(grid.shape))
    return min(LARGE_BLOCK, 1 << (most.bit_length() - 1))


def _to_specimen(spectrum, shape: tuple[int, int]):
    """The wave (y, x) of a spectrum (kx, ky) of which only the lowest kx are given."""
    along_y = jnp.fft.ifft(spectrum, norm="ortho")
    return jnp.fft.ifft(_fitted(along_y, shape[::-1]).T, norm="ortho")


def _to_detector(wave, kx: int, ky: int):
    """The lowest (kx, ky) of a wave's (y, x) spectrum."""
    along_x = jnp.fft.fft(wave, norm="ortho").T
    return _fitted(jnp.fft.fft(_fitted(along_x, (kx, wave.shape[0])), norm="ortho"), (kx, ky))


def _fitted(spectrum, shape: tuple[int, int]):
    """A corner-centred spectrum cut, or filled up with zeros, to a shape."""
    for axis, size in enumerate(shape):
        have = spectrum.shape[axis]
        if have == size:
            continue
        least = min(have, size)
        first = jax.lax.slice_in_dim(spectrum, 0, least - least // 2, axis=axis)
        last = jax.lax.slice_in_dim(spectrum, have - least // 2, have, axis=axis)
        gap = [size - least if n == axis else length for n, length in enumerate(spectrum.shape)]
        spectrum = jnp.concatenate([first, jnp.zeros(gap, spectrum.dtype), last], axis)
    return spectrum


def _squared(wave):
    return wave.real**2 + wave.imag**2


def _enough(size: int, part: float, highest: float) -> int:
    """How many of a transform's frequencies to keep: a part of them if that reaches beyond `highest`, else all."""
    few = 2 * int(part * size / 2)
    return few if few // 2 > highest else size


def _lowest(count: int) -> np.ndarray:
    """Frequencies as integers, corner-centred: indices into a larger transform."""
    return np.fft.fftfreq(count, 1 / count).round().astype(int)


def probe_spectra(experiment: Experiment, grid: Grid) -> np.ndarray:
    """Spectra (probe, y, x) complex128 of the incoherent probes, centred at pixel (ny//2, nx//2)."""
    optics = experiment.optics
    spectrum = probe_spectrum(grid, optics)
    inside = np.nonzero(spectrum)
    ky, kx = (np.broadcast_to(k, grid.shape)[inside] for k in grid.frequencies())
    angles = np.stack([ky, kx]) * wavelength_a(optics.voltage_kv) / optics.semiangle_rad
    probes = incoherent_probes(spectrum[inside], angles, experiment)
    spectra = np.zeros((len(probes), *grid.shape), np.complex128)
    spectra[:, *inside] = probes
    # The half-window shift in float64 on the host: float32 phases would lose digits.
    (ky, kx), (cy, cx) = grid.frequencies(), (size // 2 * p for size, p in zip(grid.shape, grid.pixel_a, strict=True))
    return spectra * np.exp(-2j * np.pi * (ky * cy + kx * cx))


def _transposed(
    spectra: np.ndarray, experiment: Experiment, grid: Grid, thickness_a: float
) -> tuple[jax.Array, jax.Array]:
    """The probes (probe, kx, ky), and the same after a thickness of nothing, each with a norm of one, complex64."""
    optics = experiment.optics
    wavelength = wavelength_a(optics.voltage_kv)
    edge = optics.semiangle_rad / wavelength * grid.extent_a[1] + 1  # the aperture's is a pixel soft
    columns = _lowest(_enough(grid.shape[1], FEW, edge))
    spectra = spectra.swapaxes(-1, -2)[:, columns]
    ky, kx = grid.frequencies()
    free = np.exp(-1j * np.pi * wavelength * thickness_a * (ky**2 + kx**2)).T[columns]
    norms = np.sqrt((np.abs(spectra) ** 2).sum(axis=(1, 2), keepdims=True))
    return jnp.asarray(spectra, jnp.complex64), jnp.asarray(spectra * free / norms, jnp.complex64)


def _drift(experiment: Experiment, grid: Grid, count: int, few: int) -> tuple[jax.Array | None, np.ndarray]:
    """The phase (kx, ky) that a probe's spectrum gains from the first to the last position, None for none; and the time
    (count, 1) of each position in [-1/2, 1/2]. Aberrations are linear in their coefficients, so this is exact."""
    times = np.linspace(-0.5, 0.5, count, dtype=np.float32)[:, None]
    optics = experiment.optics
    change = {"defocus_a": experiment.defocus_drift_a, "astigmatism_a": experiment.astigmatism_drift_a}
    if not any(change.values()):
        return None, times
    angle = optics.astigmatism_angle_rad
    phase = waves.aberration_phase(grid, wavelength_a(optics.voltage_kv), **change, astigmatism_angle_rad=angle)
    return -jnp.asarray(phase.T[_lowest(few)], jnp.float32), times


def _propagators(potential: Potential, experiment: Experiment, grid: Grid, limit: np.ndarray) -> jax.Array:
    """Band-limited propagators (slices - 1, y, x) complex64 between the slices, computed in float64."""
    wavelength = wavelength_a(experiment.optics.voltage_kv)
    steps = np.zeros((len(potential.thickness_a) - 1, *grid.shape), np.complex64)
    with jax.enable_x64(True):
        for step, distance in zip(steps, potential.thickness_a, strict=False):  # none after the last slice
            step[:] = np.asarray(waves.propagator(grid.frequencies(), wavelength, float(distance))) * limit
    return jnp.asarray(steps)


def _corners(places_a: np.ndarray, window: Window, around: Grid | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixel (position, 2) of each window's corner in the transmission, and what is left to shift the probe by in A.

    The probe's window centre is pixel (ny//2, nx//2); the rest is within half a pixel. around: a specimen that repeats.
    """
    pixel = np.asarray(window.grid.pixel_a)
    nearest = np.rint(places_a / pixel).astype(int)
    rest = places_a - nearest * pixel
    corner = nearest - np.asarray(window.grid.shape) // 2
    if around is not None and max(window.ratio) == 1:
        corner = corner % np.asarray(around.shape)
    return corner.astype(np.int32), rest.astype(np.float32)


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows repeated at the end to so many."""
    return np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")
