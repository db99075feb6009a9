"""Real and reciprocal grids. Axes are (y, x); shapes need not be square."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ptydesign.errors import InputError


@dataclass(frozen=True)
class Grid:
    """A real-space pixel grid and the reciprocal grid that belongs to it.

    shape: (ny, nx) pixels. pixel_a: (dy, dx) in angstrom.
    Reciprocal arrays are corner-centred (zero frequency at index 0, 0), in 1/angstrom.
    """

    shape: tuple[int, int]
    pixel_a: tuple[float, float]

    def __post_init__(self) -> None:
        pair = len(self.shape) == len(self.pixel_a) == 2
        if not pair or min(self.shape) < 1 or not all(0 < size < math.inf for size in self.pixel_a):
            rule = "shape and pixel size in angstrom must be two positive numbers (y, x)"
            raise InputError("grid", rule, (self.shape, self.pixel_a), "Correct the values.")

    @property
    def extent_a(self) -> tuple[float, float]:
        """(height, width) in angstrom."""
        return self.shape[0] * self.pixel_a[0], self.shape[1] * self.pixel_a[1]

    @property
    def reciprocal_pixel(self) -> tuple[float, float]:
        """(dky, dkx) in 1/angstrom."""
        height, width = self.extent_a
        return 1 / height, 1 / width

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """ky with shape (ny, 1) and kx with shape (1, nx), in 1/angstrom, corner-centred, float64."""
        ky = np.fft.fftfreq(self.shape[0], self.pixel_a[0])[:, None]
        kx = np.fft.fftfreq(self.shape[1], self.pixel_a[1])[None, :]
        return ky, kx

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """y with shape (ny, 1) and x with shape (1, nx), in angstrom, zero at pixel (ny//2, nx//2), float64."""
        y = (np.arange(self.shape[0]) - self.shape[0] // 2) * self.pixel_a[0]
        x = (np.arange(self.shape[1]) - self.shape[1] // 2) * self.pixel_a[1]
        return y[:, None], x[None, :]


def crop_spectrum(spectrum: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Lowest frequencies of a corner-centred spectrum: (..., ny, nx) to (..., *shape), shape no larger.

    Divides by nothing: for values in real space multiply by (new pixels / old pixels).
    """
    for axis, size in zip((-2, -1), shape, strict=True):
        keep = np.fft.fftfreq(size, 1 / size).round().astype(int)
        spectrum = np.take(spectrum, keep % spectrum.shape[axis], axis=axis)
    return spectrum


def resample(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Band-limit and resample a periodic real or complex array (..., ny, nx) by Fourier cropping to `shape`.

    The extent is kept, so the pixel grows by the ratio of the shapes. Values keep their scale.
    """
    spectrum = np.fft.fft2(array)
    scale = shape[0] * shape[1] / (array.shape[-2] * array.shape[-1])
    result = np.fft.ifft2(crop_spectrum(spectrum, shape)) * scale
    return result.astype(array.dtype) if np.iscomplexobj(array) else result.real.astype(array.dtype)
