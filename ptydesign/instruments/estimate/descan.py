"""The beam's centre in each pattern over the scan: what descan coils leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SURFACES = {"plane": 1, "quadratic": 2}


@dataclass(frozen=True)
class Descan:
    """A smooth surface through the patterns' centres. shift_px: (n, 2) of each pattern's beam from the mean (ky, kx).
    range_px: from end to end, the larger of both axes. error_px: standard error of the surface's slope over the scan.
    residual_px: rms of single patterns about it, from noise and specimen."""

    shift_px: np.ndarray
    range_px: float
    error_px: float
    residual_px: float

    @property
    def known(self) -> bool:
        """Whether the surface stands out of what single patterns scatter."""
        return self.range_px > 5 * self.error_px


def fitted(centres_px: np.ndarray, places: np.ndarray, surface: str = "plane") -> Descan | None:
    """The surface through centres (n, 2) at places (n, 2) of the scan; NaN are left out, outliers have little weight.
    None for too few places, or a scan along a line.

    A long-range field of the specimen, or its mean slope, looks the same: the data can't tell it from descan.
    """
    there = np.all(np.isfinite(centres_px), axis=1)
    span = np.ptp(places, axis=0)
    if there.sum() < 30 or min(span) <= 0:
        return None
    u, v = ((places - places.mean(axis=0)) / span).T
    terms = [np.ones_like(u), u, v] + ([u * u, u * v, v * v] if SURFACES[surface] == 2 else [])
    basis = np.stack(terms, axis=1)
    weight = there.astype(float)
    values = np.where(there[:, None], centres_px, 0)
    for _ in range(10):
        found = np.linalg.lstsq(basis * weight[:, None], values * weight[:, None], rcond=None)[0]
        rest = np.hypot(*(values - basis @ found).T)
        scale = 1.4826 * np.median(rest[there]) + 1e-12
        weight = there / np.sqrt(1 + (rest / (2 * scale)) ** 2)
    smooth = basis @ found
    shift = smooth - smooth.mean(axis=0)
    # neighbours share what the specimen does to them: count few independent patterns
    error = float(scale * np.sqrt(12 / there.sum()) * 3)
    return Descan(shift, float(np.max(np.ptp(smooth, axis=0))), error, float(scale))


def centres(counts: np.ndarray, centre: tuple[float, float], reach_px: float, good: np.ndarray) -> np.ndarray:
    """(n, 2) centres of mass (ky, kx) in pixels of frames (n, ky, kx) within a circle; NaN without counts.

    Masked pixels inside the circle leave out their mirror images too, so that a gap doesn't pull."""
    y, x = np.indices(counts.shape[-2:])
    cy, cx = centre
    inside = good & (np.hypot(y - cy, x - cx) < reach_px)
    mirror_y, mirror_x = (np.round(2 * c - i).astype(int) for c, i in ((cy, y), (cx, x)))
    ny, nx = good.shape
    there = (mirror_y >= 0) & (mirror_y < ny) & (mirror_x >= 0) & (mirror_x < nx)
    inside &= there & good[np.clip(mirror_y, 0, ny - 1), np.clip(mirror_x, 0, nx - 1)]
    seen = counts[:, inside].astype(np.float64)
    total = seen.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([seen @ y[inside] / total, seen @ x[inside] / total], axis=1)
