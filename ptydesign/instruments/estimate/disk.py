"""The bright-field disk of a mean pattern: its centre, radius and stretch, from the edge of the aperture.

A threshold finds a disk only where it is evenly bright. A thick crystal's is not, and a gap between chips or a beam
stop cuts it in two. So circles are tried: the one across whose edge the pattern falls most, on average over the angles
that can be seen, is refined by a fit of an edge with a width, a sloping inside and a decaying outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

ANGLES = 120
SECTORS = 6
SEEN = 0.35  # of the circle at least, for an edge that is believed
LEAST_PX = 1.5  # radius


@dataclass(frozen=True)
class Disk:
    """centre_px: (ky, kx). radius_px: mean of both axes. stretch: radius along ky over that along kx. error_px: of the
    radius and centre, from sectors of the edge. contrast: fall across the edge over the level inside, 0 to 1."""

    centre_px: tuple[float, float]
    radius_px: float
    stretch: float
    error_px: float
    contrast: float

    @property
    def radii_px(self) -> tuple[float, float]:
        """Along ky and kx."""
        root = np.sqrt(self.stretch)
        return float(self.radius_px * root), float(self.radius_px / root)

    @property
    def known(self) -> bool:
        """Whether there is an edge at all."""
        return self.contrast > 0.3 and self.error_px < 0.1 * self.radius_px + 0.3


def find_disk(mean: np.ndarray, good: np.ndarray, told_radius_px: float | None = None) -> Disk | None:
    """The disk of a mean pattern (ky, kx) with a mask (ky, kx); None for patterns without counts.

    told_radius_px: one more circle to start from; it isn't believed.
    """
    mean = np.where(good, mean, 0.0).astype(np.float64)
    if not mean.max() > 0:
        return None
    filled, seen = _filled(mean, good)
    starts = _starts(filled, told_radius_px)
    if not starts:
        return None
    root = np.sqrt(np.maximum(filled, 0))
    fall = -np.stack(np.gradient(ndimage.gaussian_filter(root, 0.7, mode="nearest")))
    best = max((_climbed(fall, seen, start) for start in starts), key=lambda found: found[0])
    return _refined(mean, good & (mean >= 0), *best[1])


def _filled(mean: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pattern with masked and single bright pixels replaced by what is around them, and where it can be trusted."""
    clean = np.where(good, mean, np.nan)
    around = np.stack([np.roll(clean, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)])
    highest = np.partition(np.where(np.isnan(around), -np.inf, around), -2, axis=0)[-2]
    clean = np.where((clean > 3 * highest) & (highest >= 0), highest, clean)
    good = good & np.isfinite(clean)
    values, weight, filled = np.where(good, clean, 0), good.astype(float), np.zeros_like(mean)
    left = np.ones(mean.shape, bool)
    for sigma in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0):
        smooth, share = (ndimage.gaussian_filter(a, sigma) if sigma else a for a in (values, weight))
        take = left & (share > (0.5 if sigma == 0 else 0.15))
        filled[take] = smooth[take] / share[take]
        left &= ~take
    near = ndimage.gaussian_filter(weight, 1.0, mode="nearest")
    return filled, near > 0.6


def _starts(filled: np.ndarray, told: float | None) -> list[tuple[float, float, float]]:
    """Circles (ky, kx, radius) from patches above several levels."""
    smooth = ndimage.median_filter(filled, 3, mode="nearest")
    top = np.partition(smooth.ravel(), -max(4, smooth.size // 500))[-max(4, smooth.size // 500)]
    starts = []
    for level in (0.1, 0.25, 0.5, 0.75):
        labels, number = ndimage.label(smooth > level * top)
        if not number:
            continue
        largest = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
        largest = ndimage.binary_fill_holes(largest)
        y, x = ndimage.center_of_mass(largest)
        radius = np.sqrt(largest.sum() / np.pi)
        if LEAST_PX < radius < 0.7 * max(filled.shape):
            starts += [(y, x, radius)]
        if told is not None:
            starts += [(y, x, told)]
    if starts:
        y, x, radius = starts[len(starts) // 2]
        starts += [(y, x, radius * factor) for factor in (0.7, 0.85, 1.2, 1.45) if radius * factor > LEAST_PX]
    return starts


def _edges(fall: np.ndarray, seen: np.ndarray, circles: np.ndarray) -> np.ndarray:
    """Of each circle (n, 3): mean fall of the root of the intensity across it, the strongest fifth of the angles left
    out; 0 for one that is too small, or too little of which is seen."""
    y, x, radius = circles.T[..., None]
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    sin, cos = np.sin(angle), np.cos(angle)
    where = np.stack([y + radius * sin, x + radius * cos])
    shape = np.array(seen.shape)[:, None, None]
    inside = np.all((where >= 0) & (where <= shape - 1), axis=0)
    inside &= seen[tuple(np.clip(np.round(where).astype(int), 0, shape - 1))]
    along_y, along_x = (ndimage.map_coordinates(part, where, order=1, mode="nearest") for part in fall)
    across = np.sort(np.where(inside, along_y * sin + along_x * cos, np.inf), axis=1)
    number = inside.sum(axis=1)
    kept = np.maximum(1, (0.8 * number).astype(int))
    mean = np.sum(across, axis=1, where=np.arange(ANGLES) < kept[:, None]) / kept
    believed = (circles[:, 2] >= LEAST_PX) & (number / ANGLES >= SEEN)
    return np.where(believed, mean, 0.0) * np.sqrt(np.maximum(circles[:, 2], 0) * number / ANGLES)


def _climbed(fall: np.ndarray, seen: np.ndarray, start: tuple[float, float, float]) -> tuple[float, np.ndarray]:
    """(score, circle) of the best circle near a start."""
    best, value = np.asarray(start, float), -np.inf
    size = start[2]
    for reach in (0.35 * size, 0.12 * size, max(0.04 * size, 0.4)):  # coarse, then finer
        steps = np.array([-1.0, -0.5, 0, 0.5, 1.0]) * reach
        tried = best + np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)[:, [1, 2, 0]]
        scores = _edges(fall, seen, tried)
        if scores.max() >= value:
            value, best = scores.max(), tried[np.argmax(scores)]
    found = optimize.minimize(
        lambda c: -_edges(fall, seen, c[None])[0], best, method="Nelder-Mead",
        options={"initial_simplex": best + 0.3 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
                 "xatol": 0.02, "fatol": 1e-6 * max(value, 1e-12), "maxfev": 200},
    )  # fmt: skip
    return (-found.fun, found.x) if -found.fun > value else (value, best)


def _refined(mean: np.ndarray, good: np.ndarray, y: float, x: float, radius: float) -> Disk:
    """A fit of the edge: level inside with a slope along the radius, an erf of some width, an exponential outside."""
    rows, columns = np.indices(mean.shape)
    near = good & (np.abs(np.hypot(rows - y, columns - x) - radius) < max(0.35 * radius, 2.5))
    py, px, values = rows[near], columns[near], mean[near]
    scale = max(float(np.percentile(values, 90)), 1e-30)

    def model(p: np.ndarray, py: np.ndarray, px: np.ndarray) -> np.ndarray:
        cy, cx, r, stretch, width, level, slope, tail, decay = p
        distance = np.hypot((py - cy) / np.exp(stretch / 2), (px - cx) * np.exp(stretch / 2)) - r
        from scipy.special import erf

        step = 0.5 * (1 - erf(distance / (np.sqrt(2) * width)))
        outside = tail * np.exp(-np.maximum(distance, 0) / decay)
        return step * (level + slope * np.minimum(distance, 0) / r) + (1 - step) * outside

    def fitted(start: np.ndarray, part: np.ndarray, free: slice) -> np.ndarray:
        low = np.array([-np.inf, -np.inf, LEAST_PX / 2, -0.7, 0.15, 0, -5, 0, 0.2])
        high = np.array([np.inf, np.inf, np.inf, 0.7, max(0.3 * radius, 1.0), 5, 5, 2, 10 * radius])

        def residual(q: np.ndarray) -> np.ndarray:
            p = start.copy()
            p[free] = q
            return model(p, py[part], px[part]) - values[part] / scale

        begin = np.clip(start[free], low[free] + 1e-6, high[free] - 1e-6)
        done = optimize.least_squares(residual, begin, bounds=(low[free], high[free]), loss="soft_l1", f_scale=0.1,
                                      max_nfev=60)  # fmt: skip
        result = start.copy()
        result[free] = done.x
        return result

    inner = np.hypot(py - y, px - x) < radius
    level = float(np.median(values[inner]) / scale) if inner.any() else 1.0
    outer = float(np.median(values[~inner]) / scale) if (~inner).any() else 0.0
    start = np.array([y, x, radius, 0.0, 0.6, level, 0.0, max(outer, 1e-3), max(radius / 2, 1.0)])
    everything = np.ones(len(values), bool)
    if len(values) < 30:
        return Disk((float(y), float(x)), float(radius), 1.0, 0.5, max(0.0, 1 - outer / max(level, 1e-9)))
    whole = fitted(start, everything, slice(None))
    angle = np.arctan2(py - whole[0], px - whole[1])
    sector = np.floor((angle / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    radii = [
        fitted(whole, sector == s, slice(2, 3))[2] for s in range(SECTORS) if np.sum(sector == s) > 0.05 * len(values)
    ]
    scatter = np.abs(np.array(radii) - np.median(radii)) if radii else np.ones(1)
    error = float(1.4826 * np.median(scatter) / np.sqrt(len(scatter)))
    fall = float(np.clip(1 - whole[7] / max(whole[5], 1e-9), 0, 1))
    return Disk((float(whole[0]), float(whole[1])), float(whole[2]), float(np.exp(whole[3])), max(error, 0.02), fall)
