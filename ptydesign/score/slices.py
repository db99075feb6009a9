"""Slices of a reconstruction against the truth: the error that a projection doesn't show."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Real

from ptydesign.score.align import region_slices, sample_truth
from ptydesign.types import Truth


def overlap(true_a: Real[np.ndarray, " true"], slices_a: Real[np.ndarray, " slice"]) -> Float[np.ndarray, "slice true"]:
    """(slice, true slice) part of each of the truth's slices that lies in a reconstruction's slice.

    Both start at the entrance face; thicknesses in angstrom. What lies beyond the last slice belongs to none.
    """
    edges, true_edges = (np.concatenate([[0.0], np.cumsum(t)]) for t in (slices_a, true_a))
    low = np.maximum(edges[:-1, None], true_edges[None, :-1])
    high = np.minimum(edges[1:, None], true_edges[None, 1:])
    return np.clip(high - low, 0, None) / np.asarray(true_a)[None, :]


def depth_bins(truth: Truth, count: int) -> Float[np.ndarray, " {count}"]:
    """(bin,) thickness in angstrom of equal bins that share the true thickness."""
    return np.full(count, float(np.sum(truth.thickness_a)) / count)


def in_bins(
    phase_rad: Real[np.ndarray, "slice y x"], slices_a: Real[np.ndarray, " slice"], bins_a: Real[np.ndarray, " bin"]
) -> Float[np.ndarray, "bin y x"]:
    """Phase (bin, y, x) of slices (slice, y, x), each spread evenly over its thickness.

    Where the slices end before the bins there is none; what lies beyond the last bin belongs to the last one. So
    reconstructions with other numbers of slices, or of another thickness, are compared with the truth in the same bins.
    """
    reach = np.array(bins_a, float)
    reach[-1] += max(float(np.sum(slices_a) - np.sum(bins_a)), 0.0)
    return np.tensordot(overlap(slices_a, reach), phase_rad, axes=1)


def slice_error(
    phase_rad: Real[np.ndarray, "slice y x"],
    slices_a: Real[np.ndarray, " slice"],
    pixel_a: tuple[float, float],
    origin_a: tuple[float, float],
    truth: Truth,
    bins_a: Real[np.ndarray, " bin"],
    region_a: tuple[float, float, float, float],
    shift_a: tuple[float, float],
) -> float:
    """Root of the mean squared difference in rad over all pixels of a region and all bins of depth.

    phase_rad: (slice, y, x) of the reconstruction, slices_a: (slice,) their thickness. truth: periodic. bins_a: of
    `depth_bins`. shift_a: (y, x) by which the reconstruction is displaced (from `compare`). The constant of each bin is
    free and removed; the truth is band-limited to the reconstruction's pixels.
    """
    found, true_rad = in_bins(phase_rad, slices_a, bins_a), in_bins(truth.phase_rad, truth.thickness_a, bins_a)
    rows, columns = region_slices(found.shape[-2:], pixel_a, origin_a, region_a)
    start = tuple(o + s.start * p - d for o, s, p, d in zip(origin_a, (rows, columns), pixel_a, shift_a, strict=True))
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    total = 0.0
    for image, true in zip(found[:, rows, columns], true_rad, strict=True):
        difference = image - sample_truth(true, truth.pixel_a, start, pixel_a, shape)
        total += float(np.mean((difference - difference.mean()) ** 2))
    return float(np.sqrt(total / len(found)))
