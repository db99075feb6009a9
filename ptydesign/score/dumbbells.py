"""Pairs of neighbouring atomic columns in a projected phase: their separation by a fit of two Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.ndimage import map_coordinates
from scipy.optimize import least_squares
from scipy.spatial import cKDTree

Place = Float[np.ndarray, " 2"]
FINE_A = 0.05  # of the patch that is fitted
ROOM_A = 0.5  # around the two columns


@dataclass(frozen=True)
class Dumbbell:
    """One pair. separation_a: found; dip: 1 - (phase midway / mean of the phase at both columns), above the patch's
    lowest value: 0 for a single blob, 1 for two separate ones."""

    separation_a: float
    dip: float


def pairs(columns_a: Float[np.ndarray, "column 2"], longest_a: float) -> Int[np.ndarray, "pair 2"]:
    """Indices (pair, 2) of columns (n, 2) that are each other's nearest neighbours, closer than longest_a."""
    if len(columns_a) < 2:
        return np.empty((0, 2), int)
    distance, index = cKDTree(columns_a).query(columns_a, k=2)
    near = index[:, 1]
    mutual = (near[near] == np.arange(len(near))) & (distance[:, 1] <= longest_a)
    return np.array([(i, near[i]) for i in np.flatnonzero(mutual) if i < near[i]], int).reshape(-1, 2)


def measure_pair(
    image: Real[np.ndarray, "y x"],
    pixel_a: tuple[float, float],
    start_a: tuple[float, float],
    first: Sequence[float] | Place,
    second: Sequence[float] | Place,
) -> Dumbbell | None:
    """Fit two Gaussians of one width to a pair in an image (y, x).

    start_a: position of pixel (0, 0). first, second: (y, x) where the columns are expected. None if the patch leaves
    the image or nothing can be fitted.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    low, high = np.minimum(first, second) - ROOM_A, np.maximum(first, second) + ROOM_A
    y, x = (np.arange(a, b, FINE_A) for a, b in zip(low, high, strict=True))
    where = np.meshgrid(y, x, indexing="ij")
    place = [(w - s) / p for w, s, p in zip(where, start_a, pixel_a, strict=True)]
    if any(p.min() < 0 or p.max() > n - 1 for p, n in zip(place, image.shape, strict=True)):
        return None
    patch = map_coordinates(image, place, order=3)
    bottom, scale = float(patch.min()), float(np.ptp(patch))
    if not scale > 0:
        return None
    patch = (patch - bottom) / scale

    def model(p: Float[np.ndarray, " 8"]) -> Float[np.ndarray, "y x"]:
        spread = 2 * np.exp(2 * p[4])
        blobs = [
            h * np.exp(-((where[0] - cy) ** 2 + (where[1] - cx) ** 2) / spread)
            for h, cy, cx in ((p[5], p[0], p[1]), (p[6], p[2], p[3]))
        ]
        return blobs[0] + blobs[1] + p[7]

    begin = np.array([*first, *second, np.log(0.2), 0.8, 0.8, 0.1])
    reach = np.array([ROOM_A] * 4 + [1.6, 0.79, 0.79, 0.6])
    found = least_squares(lambda p: (model(p) - patch).ravel(), begin, bounds=(begin - reach, begin + 2 * reach))
    a, b = found.x[:2], found.x[2:4]

    def value(at: Place) -> float:
        index = [[(c - s) / p] for c, s, p in zip(at, start_a, pixel_a, strict=True)]
        return float((map_coordinates(image, index, order=3)[0] - bottom) / scale)

    ends = (value(a) + value(b)) / 2
    dip = 1 - value((a + b) / 2) / ends if ends > 0 else 0.0
    return Dumbbell(float(np.hypot(*(a - b))), float(dip))
