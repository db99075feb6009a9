"""Pixels that don't count: hot, dead, or always at the largest value that they can have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

HOT = 3.0  # times what is around
ENOUGH = 50.0  # counts, below which nothing can be said


@dataclass(frozen=True)
class OddPixels:
    """(ky, kx) bool each. hot: far above their neighbours in the mean. dead: far below. full: at the type's largest
    value in most frames, as detectors mark what they don't measure. lost: no number in most frames."""

    hot: np.ndarray
    dead: np.ndarray
    full: np.ndarray
    lost: np.ndarray

    @property
    def unusable(self) -> np.ndarray:
        """Pixels that hold no counts at all."""
        return self.full | self.lost


def odd_pixels(
    total: np.ndarray, full: np.ndarray, lost: np.ndarray, number: int, good: np.ndarray, corner: bool = False
) -> OddPixels:
    """Odd ones among the `good` (ky, kx) pixels of a sum (ky, kx) over `number` frames.

    Neighbours are the 24 around a pixel. Hot: more than three times their median and twice the second brightest of the
    eight next to it, so that the edge of a disk or a sharp spot are not. Dead: less than a fifth of the median, and of
    the second darkest of the eight, where at least 50 counts were to be expected. corner: zero frequency is at pixel
    (0, 0), so that neighbours are found across the edges.
    """
    if corner:
        found = odd_pixels(*(np.fft.fftshift(a) for a in (total, full, lost)), number, np.fft.fftshift(good))
        return OddPixels(*(np.fft.ifftshift(a) for a in (found.hot, found.dead, found.full, found.lost)))
    always_full, always_lost = full > number / 2, lost > number / 2
    usable = good & ~always_full & ~always_lost
    hot, dead = np.zeros_like(good), np.zeros_like(good)
    for _ in range(3):  # neighbours that are odd themselves hide others
        left = usable & ~hot & ~dead
        around = _around(np.where(left, total, np.nan), 2)
        next_to = _around(np.where(left, total, np.nan), 1)
        with np.errstate(all="ignore"):
            median = _quietly(np.nanmedian, around)
            bright, faint = _second(next_to, -1), _second(next_to, 1)
            noise = np.sqrt(np.maximum(median, 1))
            now_hot = left & (total > HOT * median) & (total > 2 * bright) & (total - median > 10 * noise + ENOUGH)
            now_dead = left & (total < median / 5) & (total < faint / 5) & (median > ENOUGH)
        if not (now_hot.any() or now_dead.any()):
            break
        hot, dead = hot | now_hot, dead | now_dead
    return OddPixels(hot, dead, always_full & good, always_lost & good)


def never_counting(total: np.ndarray, good: np.ndarray) -> np.ndarray:
    """(ky, kx) good pixels without a single count between bright ones: gaps between chips, a beam stop, dead lines.

    Where bright pixels have at least 50 counts, none is no chance. Between: inside what closing by 8 pixels fills.
    """
    bright = good & (total > 0.2 * np.percentile(total[good], 99)) if good.any() else good
    if not bright.any() or np.median(total[bright]) < ENOUGH:
        return np.zeros_like(good)
    reach = 8
    padded = np.pad(bright, reach)
    near = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach
    closed = ndimage.binary_closing(padded, near)[reach:-reach, reach:-reach]
    return closed & good & (total <= 0)


def filled(frames: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Frames (n, ky, kx) with bad values (ky, kx) or (n, ky, kx) replaced by the mean of good ones next to them."""
    where = np.broadcast_to(bad, frames.shape)
    result = np.array(frames, np.float32)
    for index in np.flatnonzero(where.any(axis=(1, 2))):
        wrong = where[index]
        values, share = np.where(wrong, 0, frames[index]).astype(np.float64), (~wrong).astype(float)
        for size in (3, 5, 9):
            mean, weight = ndimage.uniform_filter(values, size), ndimage.uniform_filter(share, size)
            ready = wrong & (weight > 1e-6)
            mean = mean[ready] / weight[ready]
            result[index][ready] = np.clip(mean, values.min(), values.max())  # a running sum leaves traces below 0
            wrong = wrong & ~ready
            if not wrong.any():
                break
        result[index][wrong] = 0
    return result


def _around(image: np.ndarray, reach: int) -> np.ndarray:
    """(neighbours, ky, kx), NaN beyond the edge."""
    padded = np.pad(image, reach, constant_values=np.nan)
    ny, nx = image.shape
    return np.stack(
        [
            padded[dy : dy + ny, dx : dx + nx]
            for dy in range(2 * reach + 1)
            for dx in range(2 * reach + 1)
            if (dy, dx) != (reach, reach)
        ]
    )


def _second(stack: np.ndarray, side: int) -> np.ndarray:
    """The second largest (side -1) or second smallest (side 1) of each pixel's neighbours."""
    missing = -np.inf if side < 0 else np.inf
    ordered = np.sort(np.where(np.isnan(stack), missing, stack), axis=0)
    second = ordered[-2] if side < 0 else ordered[1]
    return np.where(np.isfinite(second), second, -missing)


def _quietly(function, stack: np.ndarray) -> np.ndarray:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pixel without any good neighbour
        return function(stack, axis=0)
