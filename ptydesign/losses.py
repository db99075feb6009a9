"""Energy losses in the specimen (plasmons): how many electrons have them, and what they do to patterns.

An electron that excited a plasmon goes on in the direction in which it was scattered elastically, but for an angle of
the order of theta_E: patterns of those electrons are the elastic ones, blurred by a Lorentzian
1 / (theta^2 + theta_E^2) that ends at theta_C (Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope,
3rd ed., 2011). Mean free path and theta_E depend on the density alone in the fit of Iakoubovskii et al.,
Microsc. Res. Tech. 71:626 (2008), which measurements in Si confirm to 2 % (Potapov, Ultramicroscopy 2014,
doi:10.1016/j.ultramic.2014.05.010).
Losses of several plasmons are taken to be one.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from jaxtyping import Float

from ptydesign.mtf import Transfer
from ptydesign.units import MRAD, NM

THETA_C_RAD = 20 * MRAD  # where the Lorentzian ends, of all materials (Iakoubovskii et al.)
Parts = Float[np.ndarray, "ny nx"]
PARTS = 5  # of a pixel along an axis, at which the Lorentzian is integrated


def mean_free_path_a(density_g_cm3: float, voltage_kv: float) -> float:
    """Inelastic mean free path in angstrom, all angles collected (Iakoubovskii et al.)."""
    logarithm = 2 * math.log(THETA_C_RAD / characteristic_rad(density_g_cm3, voltage_kv))
    return 200 * _scaled_kv(voltage_kv) / (11 * density_g_cm3**0.3 * logarithm) * NM


def characteristic_rad(density_g_cm3: float, voltage_kv: float) -> float:
    """theta_E (Iakoubovskii et al.)."""
    return 5.5 * density_g_cm3**0.3 / _scaled_kv(voltage_kv) * MRAD


def part_of(thickness_a: float, mean_free_path: float) -> float:
    """Part of the electrons that lose energy in a thickness: 1 - exp(-t / lambda)."""
    return -math.expm1(-thickness_a / mean_free_path)


def transfer(
    shape: tuple[int, int], pixel_a: tuple[float, float], wavelength_a: float, part: float, angle_rad: float
) -> Transfer | None:
    """(ny, nx // 2 + 1) what patterns of a shape are multiplied by in Fourier space where a part of the electrons has
    lost energy; None for no part. pixel_a: (y, x) of the patterns' window."""
    if part == 0:
        return None
    pixel_rad = tuple(wavelength_a / (n * size) for n, size in zip(shape, pixel_a, strict=True))
    return 1 - part + part * np.fft.rfft2(lorentzian(shape, pixel_rad, angle_rad)).real


def lorentzian(shape: tuple[int, int], pixel_rad: tuple[float, float], angle_rad: float) -> Parts:
    """Part of the electrons that go from a pixel's middle into each other, (0, 0) for themselves; none is negative.
    Those that would leave the pattern stay."""
    y, x = (np.fft.fftfreq(n, 1 / n) * size for n, size in zip(shape, pixel_rad, strict=True))
    inside = (np.arange(PARTS) + 0.5) / PARTS - 0.5
    found = np.zeros(shape)
    for dy, dx in itertools.product(*(inside * size for size in pixel_rad)):
        square = (y[:, None] + dy) ** 2 + (x[None, :] + dx) ** 2
        found += (square < THETA_C_RAD**2) / (square + angle_rad**2)
    found *= math.prod(pixel_rad) / PARTS**2 / (math.pi * math.log1p((THETA_C_RAD / angle_rad) ** 2))
    found[0, 0] = 0.0
    found[0, 0] = 1 - found.sum()
    return found


def _scaled_kv(voltage_kv: float) -> float:
    """F E0 of Iakoubovskii et al., in kV."""
    return voltage_kv * (1 + voltage_kv / 1022) / (1 + voltage_kv / 511) ** 2
