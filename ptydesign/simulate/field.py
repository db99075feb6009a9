"""A field that is fair to every design: how far a scan must go beyond the region that is scored, and what dose arrives.

A scan that ends at the scored region gives a wide probe less of its dose there than a narrow one. One that ends where a
position no longer illuminates the region leaves the object beyond it, which patterns of the region show as well, half
known. So the region is fixed, and what is scanned follows from the design.
"""

from __future__ import annotations

import math

import numpy as np

from ptydesign import waves
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate.scan import JITTER_MARGIN_SIGMA, raster
from ptydesign.simulate.window import probe_radius_a
from ptydesign.types import Experiment
from ptydesign.units import wavelength_a

Region = tuple[float, float, float, float]  # (y0, x0, y1, x1) in angstrom

DIFFRACTION_TAILS = 1.0  # in wavelength / semiangle beyond the last ray: 0.61 is the Airy disc's first zero
FINEST_A = 0.25  # pixel of a map of fluence, which resolves the narrowest probe's intensity
LEAST_MEAN, LEAST_ANYWHERE = 0.99, 0.9  # of the stated dose, within the scored region


def scan_margin_a(experiment: Experiment) -> float:
    """What a scan has to add on each side of the scored region, in angstrom.

    Twice the largest transverse aberration of a ray in the aperture: patterns that show the region also show the
    object as far beyond it, and that is known as well only if it is seen from all sides. Then one wavelength /
    semiangle for diffraction, a step, the drift, a source's three standard deviations, and jitter. `python -m
    benchmarks.fairness` measures what a wider scan changes.
    """
    optics, scan = experiment.optics, experiment.scan
    diffraction = DIFFRACTION_TAILS * wavelength_a(optics.voltage_kv) / optics.semiangle_rad
    moved = max(abs(part) for part in scan.drift_a) + JITTER_MARGIN_SIGMA / 2 * math.hypot(
        scan.jitter_a, scan.line_noise_a
    )
    distorted = abs(scan.scale_error) + abs(scan.rotation_error_rad) + abs(scan.aspect_error) + abs(scan.shear_error)
    wrong = distorted * max(scan.field_of_view_a) / 2
    return 2 * probe_radius_a(experiment) + diffraction + scan.step_a + moved + wrong + 3 * experiment.source_size_a


def scanned_a(field_a: tuple[float, float], rotation_rad: float, margin_a: float) -> tuple[float, float]:
    """(y, x) of the raster, turned by rotation_rad, that holds an upright field (y, x) and a margin on each side."""
    cosine, sine = abs(math.cos(rotation_rad)), abs(math.sin(rotation_rad))
    height, width = field_a
    return height * cosine + width * sine + 2 * margin_a, width * cosine + height * sine + 2 * margin_a


def fluence(experiment: Experiment, region_a: Region, centre_a: tuple[float, float]) -> tuple[float, float]:
    """(mean, least) electrons per area in a region as fractions of the experiment's dose, without a specimen.

    The raster lies about centre_a (y, x), at its nominal positions. The fluence is averaged over a scan step, so that
    a raster without an end has exactly 1 everywhere, however coarse it is: what is less is lost at the scan's edge.
    """
    step = experiment.scan.step_a
    places = raster(experiment.scan, centre_a)
    low = np.minimum(places.min(axis=0), region_a[:2])
    high = np.maximum(places.max(axis=0), region_a[2:])
    pad = scan_margin_a(experiment)
    shape = tuple(int(n) for n in np.ceil((high - low + 2 * pad) / FINEST_A) + 4)
    grid = Grid((shape[0], shape[1]), (FINEST_A, FINEST_A))
    deposited = _deposited((places - low + pad) / FINEST_A, grid.shape)
    optics = experiment.optics
    spectrum = waves.probe_spectrum(grid, wavelength_a(optics.voltage_kv), optics.semiangle_rad, **optics.aberrations)
    intensity = np.abs(np.fft.ifft2(spectrum)) ** 2
    transfer = np.fft.fft2(intensity / intensity.sum())
    ky, kx = grid.frequencies()
    cell = np.sinc(step * ky) * np.sinc(step * kx)  # of the scan step
    blur = np.exp(-2 * (math.pi * experiment.source_size_a) ** 2 * (ky**2 + kx**2))
    density = np.fft.ifft2(np.fft.fft2(deposited) * transfer * cell * blur).real * step**2 / FINEST_A**2
    first = np.ceil((np.asarray(region_a[:2]) - low + pad) / FINEST_A - 1e-9).astype(int)
    last = np.floor((np.asarray(region_a[2:]) - low + pad) / FINEST_A + 1e-9).astype(int) + 1
    inside = density[first[0] : last[0], first[1] : last[1]]
    return float(inside.mean()), float(inside.min())


def check_fluence(mean: float, least: float, margin_a: float) -> None:
    """Raises InputError unless the scored region gets the dose that is stated."""
    if mean < LEAST_MEAN or least < LEAST_ANYWHERE:
        raise InputError(
            "experiment.scan_margin_a",
            f"must give the scored region {LEAST_MEAN:g} of the stated dose, and no part of it less than "
            f"{LEAST_ANYWHERE:g}",
            f"{margin_a:g} A, which gives {mean:.3f} and {least:.3f}",
            "Leave it out: the margin then follows from the probe.",
        )


def _deposited(places_px: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """One for each place (n, 2), shared by its four nearest pixels."""
    total = np.zeros(shape)
    corner = np.floor(places_px).astype(int)
    part = places_px - corner
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            np.add.at(total, (corner[:, 0] + dy, corner[:, 1] + dx), weight)
    return total
