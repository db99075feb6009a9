"""One pass over the frames: what is needed to doubt them, and where the beam is, without keeping them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ptydesign.instruments.estimate.descan import centres
from ptydesign.instruments.estimate.disk import Disk
from ptydesign.instruments.frames import Frames

COARSE = 4  # blocks along each axis, by which frames are compared


@dataclass(frozen=True)
class Counting:
    """From a detector's readings to counts: what is below `threshold` is 0, then `gain` readings are a count."""

    threshold: float | None = None
    gain: float = 1.0

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(n, ky, kx) float32; NaN stay."""
        counts = frames.astype(np.float32)
        if self.threshold is not None:
            counts = np.where(counts < self.threshold, np.float32(0), counts)
        return counts if self.gain == 1 else counts / np.float32(self.gain)


@dataclass(frozen=True)
class Survey:
    """Sums over the frames of an order, in the detector's own orientation.

    total: (ky, kx) counts, not finite ones as 0. number: frames in it. totals: (n,) counts on good pixels. coarse: (n,
    COARSE^2) the same in blocks. lost: (n,) values on good pixels that are no numbers. lost_pixel: (ky, kx) the same
    over frames. full: (ky, kx) how often a pixel reads the largest value of its type. largest: (ky, kx). least: the
    smallest count on a good pixel. negative: how many are below 0. fractions: whether any reading isn't whole. centres:
    (n, 2) centre of mass of each frame's disk in pixels (ky, kx), NaN without one.
    """

    total: np.ndarray
    number: int
    totals: np.ndarray
    coarse: np.ndarray
    lost: np.ndarray
    lost_pixel: np.ndarray
    full: np.ndarray
    largest: np.ndarray
    least: float
    negative: int
    fractions: bool
    centres: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean pattern (ky, kx) in counts."""
        return self.total / max(self.number, 1)

    def without(self, frames: Frames, numbers: np.ndarray, counting: Counting, block_bytes: float) -> Survey:
        """The survey with some frames taken out of its mean."""
        total = self.total.copy()
        for _, block in frames.blocks(numbers, block_bytes):
            total -= np.sum(np.nan_to_num(counting(block), nan=0.0, posinf=0.0, neginf=0.0), axis=0, dtype=np.float64)
        return replace(
            self, total=np.maximum(total, 0) if self.least >= 0 else total, number=self.number - len(numbers)
        )


def surveyed(
    frames: Frames, numbers: np.ndarray, good: np.ndarray, counting: Counting, block_bytes: float, disk: Disk | None
) -> Survey:
    """The survey of these frames; good: (ky, kx) bool; disk: where the beam is, roughly."""
    pixels, count = frames.pixels, len(numbers)
    total, largest = np.zeros(pixels), np.full(pixels, -np.inf)
    lost_pixel, full = np.zeros(pixels, np.int64), np.zeros(pixels, np.int64)
    totals, lost = np.zeros(count), np.zeros(count, np.int64)
    coarse, where = np.zeros((count, COARSE**2), np.float32), np.full((count, 2), np.nan)
    edges = [np.linspace(0, n, COARSE + 1).astype(int)[:-1] for n in pixels]
    whole = frames.dtype.kind in "ui"
    top = np.iinfo(frames.dtype).max if whole else None
    least, negative, fractions = np.inf, 0, False
    for part, block in frames.blocks(numbers, block_bytes):
        if whole:
            full += np.sum(block == top, axis=0)
        counts = counting(block)
        if not whole:
            bad = ~np.isfinite(counts)
            lost_pixel += bad.sum(axis=0)
            lost[part] = np.sum(bad & good, axis=(1, 2))
            counts = np.where(bad, np.float32(0), counts)
            fractions = fractions or bool(np.any(counts != np.rint(counts)))
        np.maximum(largest, counts.max(axis=0), out=largest)
        total += counts.sum(axis=0, dtype=np.float64)
        counts = counts * good
        least = min(least, float(counts.min()))
        negative += int(np.sum(counts < 0))
        blocked = np.add.reduceat(np.add.reduceat(counts, edges[0], axis=1), edges[1], axis=2)
        coarse[part] = blocked.reshape(len(counts), -1)
        totals[part] = counts.sum(axis=(1, 2), dtype=np.float64)
        if disk is not None:
            where[part] = centres(counts, disk.centre_px, 1.25 * disk.radius_px + 3, good)
    lost = np.maximum(lost - int(np.sum(good & (lost_pixel > count / 2))), 0)  # a pixel that never counts is no value
    return Survey(total, count, totals, coarse, lost, lost_pixel, full, largest, least, negative, fractions, where)
