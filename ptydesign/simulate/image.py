"""Samples that exist only as an image: read it, take its centre, interpolate it to the simulation's pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy import fft

from ptydesign.errors import InputError, describe

TOLERANCE = 1e-6  # relative; pixel sizes that differ by less are equal


def read_image(path: Path) -> np.ndarray:
    """A real 2-D array (y, x), float64, from .npy or .tif/.tiff.

    Raises InputError for a missing or unreadable file, another format, complex values, other than two axes, NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("sample.file", "must exist", str(path), "Check the path.")
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        elif suffix in (".tif", ".tiff"):
            import tifffile

            array = tifffile.imread(path)
        else:
            raise InputError("sample.file", "must be .npy, .tif or .tiff", path.name, "Convert the image.")
    except InputError:
        raise
    except Exception as error:  # readers raise whatever they stumble over
        raise InputError(
            "sample.file",
            "must be a readable image",
            str(path),
            f"Reading stopped with {describe(error)}. Write it again, or give another file.",
        ) from None
    array = np.squeeze(array)
    if array.ndim != 2 or min(array.shape) < 2:
        raise InputError(
            "sample.file", "must have two axes (y, x)", array.shape, "Give one grey image, not a stack or colours."
        )
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise InputError("sample.file", "must be real numbers", array.dtype, "Give the phase or the potential itself.")
    if not np.all(np.isfinite(array)):
        count = int(np.sum(~np.isfinite(array)))
        raise InputError("sample.file", "must be finite", f"{count} bad pixels", "Replace NaN and infinity.")
    return array.astype(np.float64)


def check_covers(shape: tuple[int, int], pixel_a: float, extent_a: tuple[float, float]) -> None:
    """Raise InputError if an image of this shape and pixel does not cover extent_a (y, x)."""
    have = (shape[0] * pixel_a, shape[1] * pixel_a)
    if any(h < need * (1 - TOLERANCE) for h, need in zip(have, extent_a, strict=True)):
        raise InputError(
            "sample.file",
            f"the sample must cover scan and window, {extent_a[0]:.1f} x {extent_a[1]:.1f} A (y, x)",
            f"{have[0]:.1f} x {have[1]:.1f} A",
            "Give a larger image, correct pixel_a, or say how it goes on: sample.edge periodic, reflect or vacuum.",
        )


EDGES = {"periodic": "wrap", "reflect": "symmetric", "vacuum": "constant"}  # numpy's words for them


def continued(image: np.ndarray, pixel_a: float, extent_a: tuple[float, float], edge: str | None) -> np.ndarray:
    """An image (y, x) that goes on beyond its edges until it covers extent_a (y, x); as it is if it does or for edge
    None. The middle stays the middle. edge: periodic, reflect (mirrored) or vacuum (zero)."""
    if edge is None:
        return image
    missing = [max(0.0, need / pixel_a - have) for need, have in zip(extent_a, image.shape, strict=True)]
    pads = [(side, side) for side in (math.ceil(pixels / 2 - TOLERANCE) + 1 if pixels else 0 for pixels in missing)]
    return np.pad(image, pads, mode=EDGES[edge])


def crop_to(image: np.ndarray, pixel_a: float, shape: tuple[int, int], target_pixel_a: float) -> np.ndarray:
    """The central part of an image on another pixel: (ny, nx) -> shape, float64, values keep their scale.

    Pixel (ny//2, nx//2) of both arrays is the same point. With equal pixels the values are copied; otherwise the
    image is interpolated by its cosine series, which is exact for band-limited images, doesn't wrap at the edges, and
    drops what the new pixel can't hold. Raises InputError if the image is smaller than asked.
    """
    check_covers(image.shape, pixel_a, (shape[0] * target_pixel_a, shape[1] * target_pixel_a))
    if abs(pixel_a / target_pixel_a - 1) < TOLERANCE:
        start = [have // 2 - want // 2 for have, want in zip(image.shape, shape, strict=True)]
        return image[start[0] : start[0] + shape[0], start[1] : start[1] + shape[1]].copy()
    series = fft.dctn(image, type=2) / (4 * image.size)
    rows, columns = (
        _cosines(have, want, target_pixel_a / pixel_a) for have, want in zip(image.shape, shape, strict=True)
    )
    return rows @ series[: rows.shape[1], : columns.shape[1]] @ columns.T


def _cosines(have: int, want: int, ratio: float) -> np.ndarray:
    """Cosine series at the new pixels: (want, terms); ratio = new pixel / old pixel."""
    points = (np.arange(want) - want // 2) * ratio + have // 2
    order = np.arange(have)
    order = order[order * ratio < have]  # below the new pixel's Nyquist frequency
    weight = np.where(order == 0, 1.0, 2.0)
    return weight * np.cos(np.pi * order * (points[:, None] + 0.5) / have)
