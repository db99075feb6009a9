"""Samples that exist only as an image: read it, take its centre, interpolate it to the simulation's pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

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


def centred(image: np.ndarray, pixel_a: float, centre_a: tuple[float, float], edge: str | None) -> np.ndarray:
    """The image (y, x) with the point centre_a (y, x), counted from the centre of its pixel (0, 0), in its middle.

    A periodic image is rolled; one that goes on otherwise is continued on its shorter sides, and for edge None cut on
    its longer ones. To the nearest pixel. Raises InputError for a point outside.
    """
    place = _pixel(image, pixel_a, centre_a)
    if edge == "periodic":
        return np.roll(image, [n // 2 - p for p, n in zip(place, image.shape, strict=True)], (0, 1))
    before, after = place, [n - 1 - p for p, n in zip(place, image.shape, strict=True)]
    if edge is None:
        half = [min(pair) for pair in zip(before, after, strict=True)]
        return image[tuple(slice(p - h, p + h + 1) for p, h in zip(place, half, strict=True))]
    half = [max(pair) for pair in zip(before, after, strict=True)]
    pads = [(h - b, h - a) for h, b, a in zip(half, before, after, strict=True)]
    return np.pad(image, pads, mode=EDGES[edge])


def _pixel(image: np.ndarray, pixel_a: float, centre_a: tuple[float, float]) -> tuple[int, int]:
    place = tuple(round(centre / pixel_a) for centre in centre_a)
    if any(not 0 <= p < n for p, n in zip(place, image.shape, strict=True)):
        size = ", ".join(f"{(n - 1) * pixel_a:.4g}" for n in image.shape)
        rule = f"must lie in the image, from [0, 0] to [{size}] A (y, x)"
        raise InputError("sample.centre_a", rule, list(centre_a), "Give a point of the image.")
    return place


EQUAL = 1e-6  # contrast over the largest value: rounding
FAINT = 0.1  # of the contrast of the best place: what is scored has less, so that there is nothing to see


def check_contrast(
    image: np.ndarray, pixel_a: float, field_a: tuple[float, float], centre_a: tuple[float, float] | None = None
) -> None:
    """Raise InputError, naming the best place, if field_a (y, x) about a point of an image has hardly any contrast.

    Contrast is the standard deviation in a field of this size. centre_a: (y, x) from pixel (0, 0); None: the middle."""
    place = tuple(n // 2 for n in image.shape) if centre_a is None else _pixel(image, pixel_a, centre_a)
    size = [min(n, max(1, round(extent / pixel_a))) for n, extent in zip(image.shape, field_a, strict=True)]
    mean, square = (ndimage.uniform_filter(values, size) for values in (image, image**2))
    contrast = np.sqrt(np.maximum(square - mean**2, 0))
    inside = tuple(slice(s // 2, n - (s - 1) // 2) for s, n in zip(size, image.shape, strict=True))
    places = contrast[inside]
    best = np.unravel_index(np.argmax(places), places.shape)
    if places[best] <= EQUAL * np.abs(image).max():
        rule = "must have some contrast: all of its pixels are equal"
        raise InputError("sample.file", rule, float(image.flat[0]), "Give another image.")
    here = contrast[place]
    if here < FAINT * places[best]:
        there = [float(f"{(p + s // 2) * pixel_a:.4g}") for p, s in zip(best, size, strict=True)]
        rule = f"the field that is scored must have at least {FAINT:g} of the contrast of the best place of the sample"
        raise InputError("sample.centre_a", rule, f"{here / places[best]:.2g} of it", f"Set centre_a: {there}.")


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
