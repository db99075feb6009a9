"""Single atoms in a thick reconstruction: the potential around a place against depth, and a Gaussian through it.

After Gilgenbach, Zhu & LeBeau (2025), Fig. 8: the potential is averaged over a disc of 0.2 A in every slice, and a
one-dimensional Gaussian is fitted in depth. Depths are those of the middle of each slice, in angstrom below the
entrance face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real
from scipy.ndimage import map_coordinates
from scipy.optimize import least_squares

FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian of standard deviation 1
_RINGS = 4  # of the points that stand for a disc


@dataclass(frozen=True)
class DepthPeak:
    """A Gaussian in depth: offset + height exp(-(z - depth_a)^2 / (2 (fwhm_a / FWHM)^2)).

    height, offset: in the profile's unit. area: height times the Gaussian's width, in that unit times angstrom.
    bounded: the width is the largest that was allowed, so that it isn't a measurement.
    """

    depth_a: float
    fwhm_a: float
    height: float
    offset: float
    bounded: bool = False

    @property
    def area(self) -> float:
        """Integral of the peak over depth."""
        return self.height * self.fwhm_a / FWHM * np.sqrt(2 * np.pi)

    def at(self, depth_a: Float[np.ndarray, " slice"]) -> Float[np.ndarray, " slice"]:
        """The fitted profile."""
        return self.offset + self.height * np.exp(-0.5 * ((depth_a - self.depth_a) * FWHM / self.fwhm_a) ** 2)


def disc_means(
    values: Real[np.ndarray, "slice y x"], places_px: Real[np.ndarray, "place 2"], radius_px: tuple[float, float]
) -> Real[np.ndarray, "place slice"]:
    """Mean of each slice around each place: (place, slice).

    values: (slice, y, x) real. places_px: (place, 2) as (y, x) in pixels, fractions allowed. radius_px: of the disc
    along y and x. Values between pixels are those of a cubic spline, at points of equal area of the disc.
    """
    points = disc_points()
    where = np.asarray(places_px)[:, None, :] + points[None] * np.asarray(radius_px)
    where = where.reshape(-1, 2).T
    means = [map_coordinates(one, where, order=3, mode="nearest").reshape(-1, len(points)).mean(1) for one in values]
    return np.stack(means, axis=1)


def disc_points() -> Float[np.ndarray, "point 2"]:
    """(point, 2) of the unit disc, each standing for an equal area: the centre, and rings of 6, 12, 18 ..."""
    points = [np.zeros((1, 2))]
    count = 1
    total = 1 + 6 * sum(range(1, _RINGS + 1))
    for ring in range(1, _RINGS + 1):
        radius = np.sqrt((count + 3 * ring) / total)  # halves the ring's area
        angle = 2 * np.pi * (np.arange(6 * ring) + 0.5 * (ring % 2)) / (6 * ring)
        points.append(radius * np.stack([np.sin(angle), np.cos(angle)], axis=1))
        count += 6 * ring
    return np.concatenate(points)


def fit_peak(depth_a: Real[np.ndarray, " slice"], profile: Real[np.ndarray, " slice"]) -> DepthPeak | None:
    """The Gaussian that fits a profile (slice,) best, or None if there is no positive peak.

    The start is the highest slice. The peak must lie between the first and the last depth; its standard deviation lies
    between a quarter of a slice and half of the whole depth. At least five slices are needed.
    """
    depth_a, profile = np.asarray(depth_a, float), np.asarray(profile, float)
    if len(depth_a) < 5 or not np.all(np.isfinite(profile)):
        return None
    spacing, whole = float(np.median(np.diff(depth_a))), float(np.ptp(depth_a))
    top = int(np.argmax(profile))
    offset = float(np.median(profile))
    height = float(profile[top] - offset)
    if height <= 0:
        return None
    low = (depth_a[0], np.log(spacing / 4), 0.0, -np.inf)
    high = (depth_a[-1], np.log(whole / 2), np.inf, np.inf)
    scale = float(np.ptp(profile))

    def residual(p: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " slice"]:
        return (p[3] + p[2] * np.exp(-0.5 * ((depth_a - p[0]) / np.exp(p[1])) ** 2)) - profile / scale

    best = None
    for width in (spacing, 2 * spacing):
        start = (float(np.clip(depth_a[top], low[0] + 1e-6, high[0] - 1e-6)), np.log(min(width, whole / 2.1)))
        found = least_squares(
            residual, (*start, height / scale, offset / scale), bounds=(low, high), x_scale=(spacing, 1, 1, 1)
        )
        if best is None or found.cost < best.cost:
            best = found
    depth, log_sigma, height, offset = best.x
    if height <= 0:
        return None
    width, bounded = float(FWHM * np.exp(log_sigma)), bool(log_sigma > high[1] - 1e-3)
    return DepthPeak(float(depth), width, float(height * scale), float(offset * scale), bounded)
