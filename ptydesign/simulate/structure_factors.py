"""Projected potentials by exact summation of structure factors.

V(r) = 1/A sum_k exp(2 pi i k r) sum_j f_j(k) exp(-2 pi i k r_j), with f_j abTEM's projected scattering factors
(Kirkland 2020, eq. 5.9 and 5.21, in V A^3). Nothing is interpolated: the only approximation is the grid's own band
limit. The sum over atoms is separable in y and x, so it is one matrix product for each element.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import fft

from ptydesign.errors import InputError
from ptydesign.grids import Grid

CHUNK = 4096  # atoms in one matrix product: 2 x 2048 x 4096 complex64 numbers are 130 MB


def scattering_factors(
    numbers: Iterable[int], parametrization: str, grid: Grid, sigma_a: Mapping[int, float] | None = None
) -> dict[int, np.ndarray]:
    """Projected scattering factor of each element in V A^3: {atomic number: (ny, nx//2 + 1)}, float32, corner-centred.

    parametrization: kirkland (Kirkland 2020, appendix C) or lobato (Lobato & Van Dyck, Acta Cryst. A 70:636, 2014).
    sigma_a: 1-D rms displacement of each element, which multiplies by the Debye-Waller factor
    exp(-2 pi^2 sigma^2 k^2) (Kirkland 2020, eq. 5.47, with B = 8 pi^2 sigma^2). Raises InputError for an element that
    the tables don't have.
    """
    from abtem.parametrizations import validate_parametrization  # seconds to import: only where it is needed
    from ase.data import chemical_symbols

    table = validate_parametrization(parametrization)
    ky, kx = half_frequencies(grid)
    k2 = ky**2 + kx**2
    factors = {}
    for number in sorted({int(n) for n in numbers}):
        symbol = chemical_symbols[number]
        if symbol not in table.parameters:
            raise InputError(
                "sample",
                f"every element needs scattering factors of {parametrization}",
                symbol,
                "Remove the atoms, or use the other parametrization (kirkland, lobato).",
            )
        factor = table.projected_scattering_factor(symbol)(k2)
        if sigma_a:
            factor = factor * np.exp(-2 * np.pi**2 * sigma_a[number] ** 2 * k2)
        factors[number] = factor.astype(np.float32)
    return factors


def project(positions_a: np.ndarray, numbers: np.ndarray, factors: Mapping[int, np.ndarray], grid: Grid) -> np.ndarray:
    """Projected potential in V A, shape grid.shape, float32, periodic.

    positions_a: (n, 2) (y, x); atoms outside the grid wrap around. numbers: (n,) atomic numbers.
    factors: from `scattering_factors` on the same grid.
    """
    ny, nx = grid.shape
    spectrum = np.zeros((ny, nx // 2 + 1), np.complex64)
    for number in np.unique(numbers):
        spectrum += structure_factor(positions_a[numbers == number], grid) * factors[int(number)]
    # At an even grid's Nyquist frequency the sign of k is undefined, and with it the phase of a shifted atom.
    if ny % 2 == 0:
        spectrum[ny // 2] = 0
    if nx % 2 == 0:
        spectrum[:, nx // 2] = 0
    height, width = grid.extent_a
    return fft.irfft2(spectrum, s=grid.shape) * np.float32(ny * nx / (height * width))


def structure_factor(positions_a: np.ndarray, grid: Grid) -> np.ndarray:
    """sum_j exp(-2 pi i k r_j): (ny, nx//2 + 1), complex64, corner-centred; positions_a: (n, 2) (y, x)."""
    ny, nx = grid.shape
    fraction = np.asarray(positions_a, float) / grid.extent_a
    total = np.zeros((ny, nx // 2 + 1), np.complex64)
    for start in range(0, len(fraction), CHUNK):
        y, x = fraction[start : start + CHUNK].T
        positive = _phases(ny // 2 + 1, y)
        negative = positive[1 : (ny + 1) // 2][::-1].conj()  # frequencies -(ny-1)//2 ... -1
        rows = np.concatenate([positive[: ny - len(negative)], negative])
        total += rows @ _phases(nx // 2 + 1, x).T
    return total


def half_frequencies(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """ky (ny, 1) and the kx >= 0 (1, nx//2 + 1) of a real array's half spectrum, in 1/angstrom."""
    (ny, nx), (dy, dx) = grid.shape, grid.pixel_a
    return np.fft.fftfreq(ny, dy)[:, None], np.fft.rfftfreq(nx, dx)[None, :]


def _phases(count: int, fraction: np.ndarray, block: int = 32) -> np.ndarray:
    """exp(-2 pi i n u) for n = 0 ... count-1: (count, len(u)), complex64.

    n = block * a + b makes it the product of two short tables, which costs far fewer exponentials.
    """
    coarse = np.arange(-(-count // block))[:, None] * block
    fine = np.arange(block)[:, None]
    turns = [(n * fraction) % 1.0 for n in (coarse, fine)]
    table = [np.exp(-2j * np.pi * t).astype(np.complex64) for t in turns]
    return (table[0][:, None] * table[1][None]).reshape(-1, len(fraction))[:count]
