"""Slices of a reconstruction against the truth: the error that a projection doesn't show."""

from __future__ import annotations

import numpy as np

from ptydesign.score.align import region_slices, sample_truth
from ptydesign.types import Truth


def overlap(true_a: np.ndarray, slices_a: np.ndarray) -> np.ndarray:
    """(slice, true slice) part of each of the truth's slices that lies in a reconstruction's slice.

    Both start at the entrance face; thicknesses in angstrom. What lies beyond the last slice belongs to none.
    """
    edges, true_edges = (np.concatenate([[0.0], np.cumsum(t)]) for t in (slices_a, true_a))
    low = np.maximum(edges[:-1, None], true_edges[None, :-1])
    high = np.minimum(edges[1:, None], true_edges[None, 1:])
    return np.clip(high - low, 0, None) / np.asarray(true_a)[None, :]


def true_slices(truth: Truth, slices_a: np.ndarray) -> np.ndarray:
    """Phase (slice, y, x) of the truth, projected into a reconstruction's slices, on the truth's pixels."""
    return np.tensordot(overlap(truth.thickness_a, slices_a), truth.phase_rad, axes=1)


def slice_error(
    phase_rad: np.ndarray,
    pixel_a: tuple[float, float],
    origin_a: tuple[float, float],
    true_rad: np.ndarray,
    true_pixel_a: tuple[float, float],
    region_a: tuple[float, float, float, float],
    shift_a: tuple[float, float],
) -> float:
    """Root of the mean squared difference in rad over all pixels of a region and all slices.

    phase_rad: (slice, y, x) of the reconstruction. true_rad: (slice, Y, X) from `true_slices`, periodic. shift_a:
    (y, x) by which the reconstruction is displaced (from `compare`). The constant of each slice is free and removed;
    the truth is band-limited to the reconstruction's pixels.
    """
    rows, columns = region_slices(phase_rad.shape[-2:], pixel_a, origin_a, region_a)
    start = tuple(o + s.start * p - d for o, s, p, d in zip(origin_a, (rows, columns), pixel_a, shift_a, strict=True))
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    total = 0.0
    for image, true in zip(phase_rad[:, rows, columns], true_rad, strict=True):
        difference = image - sample_truth(true, true_pixel_a, start, pixel_a, shape)
        total += float(np.mean((difference - difference.mean()) ** 2))
    return float(np.sqrt(total / len(phase_rad)))
