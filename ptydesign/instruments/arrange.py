"""Turning, centring, cropping and binning of patterns (..., ky, kx): plain functions on arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptydesign.errors import InputError


def turned(patterns: np.ndarray, transpose: bool, flip_ky: bool, flip_kx: bool) -> np.ndarray:
    """The last two axes swapped, then reversed."""
    if transpose:
        patterns = np.swapaxes(patterns, -1, -2)
    if flip_ky:
        patterns = patterns[..., ::-1, :]
    return patterns[..., ::-1] if flip_kx else patterns


@dataclass(frozen=True)
class Box:
    """The part of a detector that is kept. start: (ky, kx) first pixel, may lie outside. shape: binned pixels."""

    start: tuple[int, int]
    shape: tuple[int, int]
    bin: int


def centred_box(
    detector: tuple[int, int], centre: tuple[float, float], crop: tuple[int, int] | None, binning: int
) -> Box:
    """The box whose pixel (ny//2, nx//2), after binning, is nearest to `centre`; crop: its size before binning.

    Raises InputError if it is smaller than 8 pixels, or the centre is not on the detector.
    """
    size = detector if crop is None else crop
    shape = tuple(n // binning for n in size)
    if min(shape) < 8:
        raise InputError("crop_px", "must leave 8 pixels or more after binning", shape, "Crop or bin less.")
    if any(not 0 <= c <= n - 1 for c, n in zip(centre, detector, strict=True)):
        raise InputError("centre_px", f"must lie on the detector of {detector} pixels", centre, "Correct it.")
    start = tuple(round(c - (n // 2) * binning - (binning - 1) / 2 + 1e-9) for c, n in zip(centre, shape, strict=True))
    return Box(start, shape, binning)


def check_bin(kept: tuple[int, int], binning: int) -> None:
    """Raises InputError unless bins of so many pixels divide the detector's kept pixels: the rest would be lost."""
    if all(n % binning == 0 for n in kept) or min(kept) < binning:  # `centred_box` refuses what leaves nothing
        return
    divide = [n for n in range(1, min(kept) + 1) if all(size % n == 0 for size in kept)]
    near = min(divide, key=lambda n: (abs(n - binning), n))
    crop = tuple(n // binning * binning for n in kept)
    raise InputError(
        "bin",
        f"must divide the {kept[0]} x {kept[1]} pixels that are kept",
        binning,
        f"Give {near}, or crop_px {crop[0]},{crop[1]} with it.",
    )


def cut(patterns: np.ndarray, box: Box) -> np.ndarray:
    """The box of each pattern, (..., *box.shape), summed into bins; what lies outside the detector is 0."""
    ny, nx = (n * box.bin for n in box.shape)
    whole = np.zeros((*patterns.shape[:-2], ny, nx), np.result_type(patterns.dtype, np.float32))
    (y, x), (height, width) = box.start, patterns.shape[-2:]
    y0, y1, x0, x1 = max(y, 0), min(y + ny, height), max(x, 0), min(x + nx, width)
    whole[..., y0 - y : y1 - y, x0 - x : x1 - x] = patterns[..., y0:y1, x0:x1]
    if box.bin == 1:
        return whole
    binned = whole.reshape(*whole.shape[:-2], box.shape[0], box.bin, box.shape[1], box.bin)
    return binned.sum(axis=(-3, -1))


def cut_mask(mask: np.ndarray, box: Box) -> np.ndarray:
    """The mask's box: a bin is good (1) if all its pixels are good and lie on the detector."""
    return (cut(np.asarray(mask, np.float32), box) >= box.bin**2).astype(np.float32)


def to_corner(patterns: np.ndarray) -> np.ndarray:
    """Zero frequency from pixel (ny//2, nx//2) to (0, 0)."""
    return np.fft.ifftshift(patterns, axes=(-2, -1))


def from_corner(patterns: np.ndarray) -> np.ndarray:
    """Zero frequency from pixel (0, 0) to (ny//2, nx//2)."""
    return np.fft.fftshift(patterns, axes=(-2, -1))
