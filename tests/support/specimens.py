"""Synthetic specimens for tests: Gaussian atoms at random places, no abTEM needed."""

import numpy as np

from ptydesign.types import Potential


def gaussian_atoms(
    shape, pixel_a, slices=1, *, thickness_a=10.0, configurations=1, volt_a3=200.0, width_a=0.3, density=0.15, seed=0
) -> Potential:
    """Atoms of integrated potential 0.5-1.5 volt_a3 in V A^3 and rms width_a, `density` of them per A^2 in every slice.

    Places are on no grid; the sum of Gaussians is done exactly in Fourier space.
    """
    rng = np.random.default_rng(seed)
    extent = np.array(shape) * pixel_a
    ky, kx = np.fft.fftfreq(shape[0], pixel_a[0]), np.fft.fftfreq(shape[1], pixel_a[1])
    atom = np.exp(-2 * np.pi**2 * width_a**2 * (ky[:, None] ** 2 + kx**2)) / np.prod(pixel_a)
    count = max(1, round(density * np.prod(extent)))
    values = np.empty((configurations, slices, *shape), np.float32)
    for index in np.ndindex(configurations, slices):
        y, x = rng.uniform(size=(2, count)) * extent[:, None]
        weights = volt_a3 * rng.uniform(0.5, 1.5, count)
        rows, columns = np.exp(-2j * np.pi * np.outer(ky, y)), np.exp(-2j * np.pi * np.outer(x, kx))
        values[index] = np.fft.ifft2((rows * weights) @ columns * atom).real
    return Potential(values, tuple(pixel_a), np.full(slices, thickness_a))
