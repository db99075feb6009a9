"""One diffraction pattern at once: the model of `simulate.jax_simulator` for one position, in numpy.

The simulator compiles for each shape and works on blocks of positions; a slider can't wait for either.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from ptydesign import waves
from ptydesign.simulate.coherence import incoherent_probes
from ptydesign.simulate.detector import Window, apply_mtf, choose_window, integrate
from ptydesign.types import Experiment, Potential
from ptydesign.units import interaction_parameter, wavelength_a

WORKERS = 2  # threads of a transform


class Specimen:
    """A potential's transmission, ready for patterns at its centre. Its first configuration stands for all."""

    def __init__(self, potential: Potential, voltage_kv: float):
        sigma, slices = interaction_parameter(voltage_kv), potential.slices_va[0]
        limit = waves.band_limit(potential.grid).astype(np.float32)
        self.transmission = np.empty(slices.shape, np.complex64)
        for place, slice_va in zip(self.transmission, slices, strict=True):
            place[:] = fft.ifft2(fft.fft2(np.exp(1j * sigma * slice_va).astype(np.complex64), workers=WORKERS) * limit)
        self.pixel_a, self.thickness_a = potential.pixel_a, np.asarray(potential.thickness_a)

    def mean_pattern(self, experiment: Experiment) -> np.ndarray:
        """(ny, nx) of the detector: the fraction of the electrons that each pixel gets, before the noise,
        corner-centred. Raises InputError for what can't be simulated."""
        window = choose_window(experiment, self.pixel_a, float(np.sum(self.thickness_a[:-1])))
        grid = window.grid
        corner = np.asarray(self.transmission.shape[-2:]) // 2 - np.asarray(grid.shape) // 2
        local = self._window(corner, grid.shape)
        limit = waves.band_limit(grid).astype(np.float32)
        propagators = {step: _propagator(grid, experiment, step) * limit for step in set(self.thickness_a[:-1])}
        fine = np.zeros(grid.shape, np.float32)
        for spectrum in _probes(experiment, window):
            wave = fft.ifft2(spectrum, norm="ortho", workers=WORKERS)
            for number, transmission in enumerate(local):
                wave = wave * transmission
                if number < len(local) - 1:
                    far = fft.fft2(wave, workers=WORKERS) * propagators[self.thickness_a[number]]
                    wave = fft.ifft2(far, workers=WORKERS)
            far = fft.fft2(wave, norm="ortho", workers=WORKERS) * limit
            fine += far.real**2 + far.imag**2
        return apply_mtf(integrate(fine, window, experiment.detector), experiment.detector)

    def _window(self, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """(slice, y, x) of the transmission, continued periodically."""
        rows, columns = (np.arange(n) + c for n, c in zip(shape, corner, strict=True))
        if corner.min() >= 0:
            return self.transmission[:, corner[0] : corner[0] + shape[0], corner[1] : corner[1] + shape[1]]
        ny, nx = self.transmission.shape[-2:]
        return self.transmission[:, rows[:, None] % ny, columns[None, :] % nx]


def _propagator(grid, experiment: Experiment, distance_a: float) -> np.ndarray:
    ky, kx = grid.frequencies()
    phase = -np.pi * wavelength_a(experiment.optics.voltage_kv) * distance_a * (ky**2 + kx**2)
    return np.exp(1j * phase).astype(np.complex64)


def _probes(experiment: Experiment, window: Window) -> np.ndarray:
    """(probe, y, x) complex64 spectra of the incoherent probes, centred at the window's middle pixel."""
    optics, grid = experiment.optics, window.grid
    wavelength = wavelength_a(optics.voltage_kv)
    spectrum = waves.probe_spectrum(grid, wavelength, optics.semiangle_rad, **optics.aberrations)
    inside = np.nonzero(spectrum)
    frequencies = [np.broadcast_to(k, grid.shape)[inside] for k in grid.frequencies()]
    probes = incoherent_probes(spectrum[inside], np.stack(frequencies) * wavelength / optics.semiangle_rad, experiment)
    middle = [size // 2 * pixel for size, pixel in zip(grid.shape, grid.pixel_a, strict=True)]
    ramp = np.exp(-2j * np.pi * sum(k * m for k, m in zip(frequencies, middle, strict=True)))
    spectra = np.zeros((len(probes), *grid.shape), np.complex64)
    spectra[:, *inside] = probes * ramp
    return spectra
