"""From waves at a window's frequencies to a detector's pixels, for any ratio of the two.

An intensity whose autocorrelation fits into the window is known between its samples as well: a detector pixel is an
exact integral over them, a sum with the weights below. What doesn't fit is the aperture's sharp edge. There the direct
beam, which has most of the electrons, is corrected by what the window's samples lack of the true disc.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ptydesign import waves
from ptydesign.grids import Grid
from ptydesign.types import Experiment, Optics
from ptydesign.units import wavelength_a

SUBPIXELS = 32  # on a side, by which a detector pixel on the aperture's edge is divided


class Pixels(NamedTuple):
    """How a detector's pixels follow from a window's frequencies.

    rows: (ny, frequency), columns: (nx, frequency): weights. edge: (ny, nx), what the samples of the window's probe
    lack of the true disc, of all electrons; None for pixels that are points. kept: the electrons that the window's
    probe has.
    """

    rows: np.ndarray
    columns: np.ndarray
    edge: np.ndarray | None
    kept: float


def probe_spectrum(grid: Grid, optics: Optics, defocus_change_a: float = 0.0) -> np.ndarray:
    """A window's probe in Fourier space, grid.shape, corner-centred, complex128, at r = 0.

    At the edge its amplitude is the part of a reciprocal pixel that the aperture leaves open, so that its interference
    with scattered waves is right; inside, it has the amplitude of a probe with one electron. Its own electrons are a
    little fewer than one, which `pattern` makes up for.
    """
    wavelength = wavelength_a(optics.voltage_kv)
    aberrations = {**optics.aberrations, "defocus_a": optics.defocus_a + defocus_change_a}
    phase = waves.aberration_phase(grid, wavelength, **aberrations)
    dky, dkx = grid.reciprocal_pixel
    inside = np.pi * (optics.semiangle_rad / wavelength) ** 2 / (dky * dkx)
    return waves.aperture(grid, wavelength, optics.semiangle_rad) ** 2 * np.exp(-1j * phase) / np.sqrt(inside)


def pixels_of(experiment: Experiment, grid: Grid, kept: tuple[np.ndarray, np.ndarray], intensity: np.ndarray) -> Pixels:
    """The detector's pixels on a window's grid.

    kept: the frequencies (y and x, in units of the window's) that waves are computed at, intensity: of the window's
    probe at these, (y, x).
    """
    weigh = points if experiment.detector.point_sampled else weights
    rows, columns = (
        weigh(frequencies, size, pixel, pixels, detector_pixel)
        for frequencies, size, pixel, pixels, detector_pixel in zip(
            kept, grid.shape, grid.pixel_a, experiment.detector.pixels, experiment.detector.pixel_a, strict=True
        )
    )
    if experiment.detector.point_sampled:
        return Pixels(rows, columns, None, float(intensity.sum()))
    edge = disc(experiment) - rows @ intensity @ columns.T
    return Pixels(rows, columns, edge, float(intensity.sum()))


def pattern(fine: Any, direct: Any, pixels: Pixels) -> Any:
    """Patterns (..., ny, nx) of fine intensities (..., y, x), as fractions of the incident electrons.

    direct: (...), the part of the electrons that leave undeflected. What the window's probe lacks of an electron is
    shared by all that was scattered. Pixels that are points share all electrons. Works on numpy and JAX arrays alike
    and keeps their precision.
    """
    dtype = fine.dtype
    rows, columns = pixels.rows.astype(dtype), pixels.columns.astype(dtype)
    found = rows @ fine @ columns.T
    if pixels.edge is None:
        return found / found.sum((-2, -1), keepdims=True)
    direct = direct[..., None, None]
    found = (found + direct * pixels.edge.astype(dtype)) / (pixels.kept + direct * (1 - pixels.kept))
    return found.clip(0)  # dark pixels have an error of either sign


def weights(frequencies: np.ndarray, size: int, pixel_a: float, pixels: int, detector_pixel_a: float) -> np.ndarray:
    """(pixels, frequency) by which a detector's pixels are integrals over an intensity along one axis.

    frequencies: integers, in units of 1/(size pixel_a). The autocorrelation at a distance r counts by sinc(r/D), the
    transform of a box as wide as a pixel of a detector whose window D = pixels x detector_pixel_a.
    """
    window = pixels * detector_pixel_a
    r = np.fft.fftfreq(size, 1 / size) * pixel_a
    centres = np.fft.fftfreq(pixels, 1 / pixels) / window
    seen = np.exp(2j * np.pi * centres[:, None] * r) * np.sinc(r / window)
    own = np.exp(-2j * np.pi * r[:, None] * frequencies / (size * pixel_a))
    return (seen @ own).real * (pixel_a / window)


def points(frequencies: np.ndarray, size: int, pixel_a: float, pixels: int, detector_pixel_a: float) -> np.ndarray:
    """(pixels, frequency) that pick the intensity at the centres of a detector's pixels, which are among the window's
    frequencies (`window`). The arguments are those of `weights`."""
    centres = np.fft.fftfreq(pixels, 1 / pixels).round() * round(size * pixel_a / (pixels * detector_pixel_a))
    return (centres[:, None] == frequencies).astype(float)


def disc(experiment: Experiment) -> np.ndarray:
    """(ny, nx) fractions of a beam without specimen on each detector pixel, corner-centred."""
    detector, optics = experiment.detector, experiment.optics
    radius = optics.semiangle_rad / wavelength_a(optics.voltage_kv)
    ky, kx = detector.grid.frequencies()
    pixel = np.asarray(detector.grid.reciprocal_pixel)
    distance = np.hypot(ky, kx) - radius
    covered = (distance <= 0).astype(float)
    edge = np.nonzero(np.abs(distance) <= np.hypot(*pixel))
    y, x = _subpixels().T * pixel[:, None]
    covered[edge] = (np.hypot(ky[edge[0]] + y, kx[0, edge[1]][:, None] + x) <= radius).mean(axis=1)
    return covered / covered.sum()


def _subpixels() -> np.ndarray:
    """(n, 2) places (y, x) in a pixel, from -1/2 to 1/2. Rows and columns are all different, as in a lattice."""
    number = SUBPIXELS**2
    first = (np.arange(number) + 0.5) / number
    second = (np.arange(number) * 0.6180339887498949) % 1
    return np.stack([first, second], axis=1) - 0.5
