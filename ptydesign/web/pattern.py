"""One diffraction pattern at once: the model of `simulate.jax_simulator` for one position, in numpy.

The simulator compiles for each shape and works on blocks of positions; a slider can't wait for either.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy import fft

from ptydesign import waves
from ptydesign.grids import Grid
from ptydesign.simulate.detector import blurred
from ptydesign.simulate.integrate import Pixels, disc, pattern, weights
from ptydesign.simulate.jax_simulator import probe_spectra
from ptydesign.simulate.window import choose_window
from ptydesign.types import Experiment, Potential, Scan
from ptydesign.units import interaction_parameter, wavelength_a

WORKERS = 2  # threads of a transform
SOME_SCAN = Scan(1.0, (1.0, 1.0))


class Specimen:
    """A potential's transmission, ready for patterns at its centre. Its first configuration stands for all."""

    def __init__(self, potential: Potential, voltage_kv: float):
        sigma, slices = interaction_parameter(voltage_kv), potential.slices_va[0]
        limit = waves.band_limit(potential.grid).astype(np.float32)
        self.transmission = np.empty(slices.shape, np.complex64)
        for place, slice_va in zip(self.transmission, slices, strict=True):
            place[:] = fft.ifft2(fft.fft2(np.exp(1j * sigma * slice_va).astype(np.complex64), workers=WORKERS) * limit)
        self.pixel_a, self.thickness_a = potential.pixel_a, np.asarray(potential.thickness_a)

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return self.transmission.nbytes

    def mean_pattern(self, experiment: Experiment) -> np.ndarray:
        """(ny, nx) of the detector: the fraction of the electrons that each pixel gets, before the noise,
        corner-centred. Raises InputError for what can't be simulated."""
        thickness_a = float(np.sum(self.thickness_a[:-1]))
        grid = choose_window(experiment, self.pixel_a, thickness_a, fine=True).grid
        corner = np.asarray(self.transmission.shape[-2:]) // 2 - np.asarray(grid.shape) // 2
        local = self._window(corner, grid.shape)
        limit = _band_limit(grid)
        propagators = {step: _propagator(grid, experiment, step) * limit for step in set(self.thickness_a[:-1])}
        beam = replace(experiment, scan=SOME_SCAN, dose_e_per_a2=1.0)  # a slider of the scan changes no probe
        spectra, inside, leaving, pixels = _probe(beam, grid, thickness_a)
        fine, direct = np.zeros(grid.shape, np.float32), 0.0
        for spectrum, undeflected in zip(spectra, leaving, strict=True):
            wave = fft.ifft2(spectrum, norm="ortho", workers=WORKERS)
            for number, transmission in enumerate(local):
                wave = wave * transmission
                if number < len(local) - 1:
                    far = fft.fft2(wave, workers=WORKERS) * propagators[self.thickness_a[number]]
                    wave = fft.ifft2(far, workers=WORKERS)
            far = fft.fft2(wave, norm="ortho", workers=WORKERS) * limit
            fine += far.real**2 + far.imag**2
            direct += float(np.abs(np.sum(np.conj(undeflected) * far[inside])) ** 2)
        found = pattern(fine, np.asarray(direct / pixels.kept), pixels)
        return blurred(found, experiment)

    def _window(self, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """(slice, y, x) of the transmission, continued periodically."""
        rows, columns = (np.arange(n) + c for n, c in zip(shape, corner, strict=True))
        if corner.min() >= 0:
            return self.transmission[:, corner[0] : corner[0] + shape[0], corner[1] : corner[1] + shape[1]]
        ny, nx = self.transmission.shape[-2:]
        return self.transmission[:, rows[:, None] % ny, columns[None, :] % nx]


@lru_cache(4)
def _probe(experiment: Experiment, grid: Grid, thickness_a: float) -> tuple[np.ndarray, tuple, np.ndarray, Pixels]:
    """Spectra (mode, ky, kx); where the aperture is; there, those of the undeflected electrons, each of norm 1; how the
    detector's pixels follow."""
    spectra = probe_spectra(experiment, grid)
    inside = np.ix_(*(np.nonzero(spectra[0].any(axis=1 - axis))[0] for axis in (0, 1)))
    pixels = _pixels(experiment, grid, inside, (np.abs(spectra[:, *inside]) ** 2).sum(axis=0))
    leaving = spectra[:, *inside] * _propagator(grid, experiment, thickness_a, inside)
    leaving /= np.sqrt((np.abs(leaving) ** 2).sum(axis=(1, 2), keepdims=True))
    return spectra.astype(np.complex64), inside, leaving, pixels


def _pixels(experiment: Experiment, grid: Grid, inside: tuple, intensity: np.ndarray) -> Pixels:
    """As `integrate.pixels_of` at all frequencies, with weights that are computed once for all settings. intensity: of
    the probe, at the places `inside`; elsewhere it has none."""
    rows, columns = (_weights(*axis) for axis in zip(
        grid.shape, grid.pixel_a, experiment.detector.pixels, experiment.detector.pixel_a, strict=True))  # fmt: skip
    return Pixels(
        rows,
        columns,
        disc(experiment) - rows[:, inside[0].ravel()] @ intensity @ columns[:, inside[1].ravel()].T,
        float(intensity.sum()),
    )


@lru_cache(16)
def _weights(size: int, pixel_a: float, pixels: int, detector_pixel_a: float) -> np.ndarray:
    return weights(np.fft.fftfreq(size, 1 / size), size, pixel_a, pixels, detector_pixel_a)


@lru_cache(4)
def _band_limit(grid: Grid) -> np.ndarray:
    return waves.band_limit(grid).astype(np.float32)


def _propagator(grid: Grid, experiment: Experiment, distance_a: float, places: tuple | None = None) -> np.ndarray:
    ky, kx = grid.frequencies()
    if places is not None:
        ky, kx = ky[places[0].ravel()], kx[:, places[1].ravel()]
    phase = -np.pi * wavelength_a(experiment.optics.voltage_kv) * distance_a * (ky**2 + kx**2)
    return np.exp(1j * phase).astype(np.complex64)
