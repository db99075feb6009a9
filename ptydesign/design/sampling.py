"""Planning rules of 4D-STEM ptychography: sampling, overlap, electrons, time. Plain formulas.

s: scan step. R: probe radius. dk: reciprocal pixel in 1/angstrom. alpha: aperture semi-angle. Lengths in angstrom.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import pdtrc


def probe_radius_a(intensity: np.ndarray, pixel_a: tuple[float, float], fraction: float = 0.9) -> float:
    """Radius around the centroid that holds a fraction of the intensity (y, x)."""
    weights = np.asarray(intensity, np.float64) / np.sum(intensity)
    y, x = (np.arange(n) * p for n, p in zip(weights.shape, pixel_a, strict=True))
    cy, cx = np.sum(weights * y[:, None]), np.sum(weights * x[None, :])
    radius = np.hypot(y[:, None] - cy, x[None, :] - cx).ravel()
    order = np.argsort(radius)
    return float(np.interp(fraction, np.cumsum(weights.ravel()[order]), radius[order]))


def geometric_radius_a(defocus_a: float, cs_a: float, semiangle_rad: float) -> float:
    """Radius of a strongly aberrated probe by geometrical optics: the largest |df a - Cs a^3| of angles a up to alpha.

    |df| alpha without spherical aberration. defocus_a > 0 is underfocus.
    """
    angles = [semiangle_rad]
    turning = defocus_a / 3 / cs_a if cs_a else -1.0
    if 0 < turning < semiangle_rad**2:
        angles.append(math.sqrt(turning))
    return max(abs(defocus_a * angle - cs_a * angle**3) for angle in angles)


def fundamental_sampling(step_a: float, reciprocal_pixel: float) -> float:
    """1 / (s dk); scan and detector together sample the object if it is 1 or more (Edo et al., PRA 87:053850, 2013)."""
    return 1 / (step_a * reciprocal_pixel)


def window_sampling(radius_a: float, reciprocal_pixel: float) -> float:
    """1 / (2 R dk): window over probe diameter; below 1 the probe doesn't fit into the window."""
    return 1 / (2 * radius_a * reciprocal_pixel)


def linear_oversampling(radius_a: float, step_a: float) -> float:
    """2 R / s: positions across a probe."""
    return 2 * radius_a / step_a


def areal_oversampling(radius_a: float, step_a: float) -> float:
    """pi R^2 / s^2: how many probes light a point."""
    return math.pi * radius_a**2 / step_a**2


def linear_overlap(radius_a: float, step_a: float) -> float:
    """1 - s / 2R, at least 0: the part of the diameter that neighbours share."""
    return max(0.0, 1 - step_a / (2 * radius_a))


def areal_overlap(radius_a: float, step_a: float) -> float:
    """(2/pi) (acos g - g sqrt(1 - g^2)), g = s / 2R: the part of a disk that its neighbour covers. Want 0.4 or more."""
    g = min(1.0, step_a / (2 * radius_a))
    return 2 / math.pi * (math.acos(g) - g * math.sqrt(1 - g**2))


def ronchigram_magnification_px_per_a(semiangle_rad: float, pixel_rad: float, radius_a: float) -> float:
    """alpha / (dtheta R): detector pixels in which an angstrom of the specimen is seen in the bright-field disk."""
    return semiangle_rad / (pixel_rad * radius_a)


def electrons_per_pattern(dose_e_per_a2: float, step_a: float) -> float:
    """dose s^2."""
    return dose_e_per_a2 * step_a**2


def counts_per_bright_pixel(electrons: float, semiangle_rad: float, pixel_rad: float) -> float:
    """Mean counts of a pixel in the bright-field disk: electrons / (pi (alpha/dtheta)^2)."""
    return electrons / (math.pi * (semiangle_rad / pixel_rad) ** 2)


def counted_rate(rate_per_s: float, dead_time_s: float, paralysable: bool = False) -> float:
    """Counts that a detector with a dead time reports: r/(1 + r tau), or r exp(-r tau) if each event prolongs it
    (Knoll, Radiation Detection and Measurement, ch. 4)."""
    load = rate_per_s * dead_time_s
    return rate_per_s * math.exp(-load) if paralysable else rate_per_s / (1 + load)


def scan_time_s(positions: int, frames_per_s: float, rows: int = 0, flyback_s: float = 0.0) -> float:
    """Positions over the frame rate, plus a flyback after each row."""
    return positions / frames_per_s + rows * flyback_s


def depth_resolution_a(wavelength_a: float, semiangle_rad: float) -> float:
    """2 lambda / alpha^2: depth of field of the aperture. Ptychography reaches lambda / theta_max^2 with the largest
    angle theta_max at which there is signal: see `depth_resolution_of_angle_a`."""
    return 2 * wavelength_a / semiangle_rad**2


def depth_resolution_of_angle_a(wavelength_a: float, largest_rad: float) -> float:
    """lambda / theta_max^2, theta_max where the signal-to-noise ratio is still above 1."""
    return wavelength_a / largest_rad**2


def lost_fraction(rate_per_s: float, dead_time_s: float) -> float:
    """Part of the electrons that a dead time hides: 1 - counted/rate, detector not paralysable."""
    return 1 - counted_rate(rate_per_s, dead_time_s) / rate_per_s if rate_per_s > 0 else 0.0


def saturated_fraction(mean_counts: float, most_counts: float) -> float:
    """Part of the electrons of a pixel that a counter of at most L loses, their number being Poisson's with mean m:
    E[max(n - L, 0)] / m = P(n >= L) - L/m P(n >= L + 1)."""
    if mean_counts <= 0:
        return 0.0
    full = math.floor(most_counts)
    at_least = 1.0 if full < 1 else pdtrc(full - 1, mean_counts)
    return float(max(0.0, at_least - full / mean_counts * pdtrc(full, mean_counts)))


def drift_a(rate_a_per_min: float, time_s: float) -> float:
    """Drift during a time."""
    return rate_a_per_min * time_s / 60


def reachable_resolution_a(wavelength_a: float, edge_rad: float) -> float:
    """lambda / theta: full period of the finest detail whose diffraction reaches the detector's edge."""
    return wavelength_a / edge_rad
