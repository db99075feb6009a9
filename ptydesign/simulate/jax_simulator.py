"""Multislice simulation of 4D-STEM patterns with JAX: batched, float32, compiled once for each window shape.

The model is that of `waves`: T = BL[exp(i sigma V)] on the whole specimen; in the window
psi <- ifft2(BL p(dz) fft2(T psi)) after every slice but the last; the pattern is |BL fft2(T psi)|^2. BL is the
band limit at 2/3 of the simulation's Nyquist frequency. The same holds for a single slice (strong phase
approximation): its transmission and its pattern are band-limited too, so that nothing beyond
1/(3 pixel) is ever simulated; give the potential a pixel of at most half the detector's to fill the detector's corners.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ptydesign import waves
from ptydesign.grids import Grid
from ptydesign.simulate.coherence import incoherent_probes
from ptydesign.simulate.detector import Window, integrate
from ptydesign.simulate.scan import check_windows
from ptydesign.types import Experiment, Potential
from ptydesign.units import interaction_parameter, wavelength_a

BLOCK = 32  # positions of one compiled call; the last block is padded, so any number of positions compiles once


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
    check_windows(potential, positions_a, window.grid, periodic)
    spectra = _probes(experiment, window.grid)
    limit = jnp.asarray(waves.band_limit(window.grid), jnp.float32)
    steps = _propagators(potential, experiment, window.grid)
    drift, times = _drift(experiment, window.grid, len(positions_a))
    pad = window.grid.shape if periodic else (0, 0)
    total = np.zeros((len(positions_a), *experiment.detector.pixels), np.float32)
    origins, shifts = _corners(positions_a, potential, window.grid, pad, periodic)
    for transmission in _transmissions(potential, experiment.optics.voltage_kv, pad):
        for start in range(0, len(positions_a), BLOCK):
            part = slice(start, start + BLOCK)
            patterns = _block(
                transmission,
                spectra,
                steps,
                limit,
                drift,
                _filled(origins[part]),
                _filled(shifts[part]),
                _filled(times[part]),
                window=window,
                detector=replace(experiment.detector, background_e_per_px=0.0, mtf_nyquist=1.0),
            )
            total[part] += np.asarray(patterns)[: len(origins[part])]
    return total / len(potential.slices_va)


@partial(jax.jit, static_argnames=("window", "detector"))
def _block(transmission, spectra, steps, limit, drift, origins, shifts, times, *, window, detector):
    """Patterns (BLOCK, *detector.pixels) of the windows whose pixel (0, 0) is `origins` (BLOCK, 2) of the specimen.

    drift: (y, x) phase that the probe's spectrum gains over the scan, or None; times: (BLOCK, 1) in [-1/2, 1/2].
    """
    grid = window.grid
    slices = transmission.shape[0]

    def pattern(place):
        origin, shift, time = place
        local = jax.lax.dynamic_slice(transmission, (0, origin[0], origin[1]), (slices, *grid.shape))
        ramp = waves.shift_phase(grid, shift)
        if drift is not None:
            ramp = ramp * jnp.exp(1j * time[0] * drift)

        def add(total, spectrum):
            exit_wave = waves.multislice(waves.ifft2(spectrum * ramp), local, steps)
            far = waves.fft2(exit_wave) * limit
            return total + (far.real**2 + far.imag**2), None

        fine, _ = jax.lax.scan(add, jnp.zeros(grid.shape, jnp.float32), spectra)
        return integrate(fine, window, detector)

    # On a CPU one window at a time stays in its cache; a GPU wants many at once.
    together = None if jax.default_backend() == "cpu" else BLOCK
    return jax.lax.map(pattern, (origins, shifts, times), batch_size=together)


@jax.jit
def _transmission(slices_va: jax.Array, sigma: float, limit: jax.Array) -> jax.Array:
    """Band-limited transmission (slices, y, x) of a projected potential in V A."""
    return jax.lax.map(lambda v: waves.ifft2(waves.fft2(jnp.exp(1j * sigma * v)) * limit), slices_va)


def _transmissions(potential: Potential, voltage_kv: float, pad: tuple[int, int]) -> Iterator[jax.Array]:
    """The transmission (slices, y + pad, x + pad) of one configuration after the other, continued periodically."""
    limit = jnp.asarray(waves.band_limit(potential.grid), jnp.float32)
    for slices_va in potential.slices_va:
        transmission = _transmission(jnp.asarray(slices_va, jnp.float32), interaction_parameter(voltage_kv), limit)
        yield jnp.pad(transmission, ((0, 0), (0, pad[0]), (0, pad[1])), mode="wrap") if any(pad) else transmission


def _probes(experiment: Experiment, grid: Grid) -> jax.Array:
    """Spectra (probe, y, x) complex64 of the incoherent probes, centred at pixel (ny//2, nx//2)."""
    optics = experiment.optics
    wavelength = wavelength_a(optics.voltage_kv)
    spectrum = waves.probe_spectrum(grid, wavelength, optics.semiangle_rad, **optics.aberrations)
    inside = np.nonzero(spectrum)
    ky, kx = (np.broadcast_to(k, grid.shape)[inside] for k in grid.frequencies())
    angles = np.stack([ky, kx]) * wavelength / optics.semiangle_rad
    probes = incoherent_probes(spectrum[inside], angles, experiment)
    spectra = np.zeros((len(probes), *grid.shape), np.complex128)
    spectra[:, *inside] = probes
    # The half-window shift in float64 on the host: float32 phases would lose digits.
    (ky, kx), (cy, cx) = grid.frequencies(), (size // 2 * p for size, p in zip(grid.shape, grid.pixel_a, strict=True))
    to_centre = np.exp(-2j * np.pi * (ky * cy + kx * cx))
    return jnp.asarray(spectra * to_centre, jnp.complex64)


def _drift(experiment: Experiment, grid: Grid, count: int) -> tuple[jax.Array | None, np.ndarray]:
    """The phase (y, x) that a probe's spectrum gains from the first to the last position, None for none; and the time
    (count, 1) of each position in [-1/2, 1/2]. Aberrations are linear in their coefficients, so this is exact."""
    times = np.linspace(-0.5, 0.5, count, dtype=np.float32)[:, None]
    optics = experiment.optics
    change = {"defocus_a": experiment.defocus_drift_a, "astigmatism_a": experiment.astigmatism_drift_a}
    if not any(change.values()):
        return None, times
    angle = optics.astigmatism_angle_rad
    phase = waves.aberration_phase(grid, wavelength_a(optics.voltage_kv), **change, astigmatism_angle_rad=angle)
    return -jnp.asarray(phase, jnp.float32), times


def _propagators(potential: Potential, experiment: Experiment, grid: Grid) -> jax.Array:
    """Band-limited propagators (slices - 1, y, x) complex64 between the slices, computed in float64."""
    wavelength = wavelength_a(experiment.optics.voltage_kv)
    limit = waves.band_limit(grid)
    steps = np.zeros((len(potential.thickness_a) - 1, *grid.shape), np.complex64)
    with jax.enable_x64(True):
        for step, distance in zip(steps, potential.thickness_a, strict=False):  # none after the last slice
            step[:] = np.asarray(waves.propagator(grid.frequencies(), wavelength, float(distance))) * limit
    return jnp.asarray(steps)


def _corners(
    positions_a: np.ndarray, potential: Potential, grid: Grid, pad: tuple[int, int], periodic: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Pixel (position, 2) of each window's corner in the specimen, and what is left to shift the probe by in angstrom.

    The probe's window centre is pixel (ny//2, nx//2); the rest is within half a pixel.
    """
    pixel = np.asarray(potential.pixel_a)
    nearest = np.rint(positions_a / pixel).astype(int)
    rest = positions_a - nearest * pixel
    corner = nearest - np.asarray(grid.shape) // 2
    if periodic:
        corner = corner % np.asarray(potential.grid.shape)
    return corner.astype(np.int32), rest.astype(np.float32)


def _filled(rows: np.ndarray) -> np.ndarray:
    """Rows repeated at the end to BLOCK rows."""
    return np.pad(rows, ((0, BLOCK - len(rows)), (0, 0)), mode="edge")
