"""Bring the truth onto a reconstruction's pixels and remove what ptychography leaves free, and nothing else.

Free are the phase's constant, an affine ramp (both trade with the probe), and a shift (trades with the positions).
The contrast's scale is not free. The reconstruction is never interpolated: its values are compared as they are, and
the truth, periodic and band-limited, is evaluated at the shifted positions exactly.

Shift and ramp are found together (`register`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Shaped

from ptydesign.errors import InputError
from ptydesign.score.metrics import Image, ScoreFailure
from ptydesign.score.register import TAPER_PX, affine_part, faded, patch_margin, register
from ptydesign.types import Truth

Pair = tuple[float, float]
Slices = Complex[np.ndarray, "slice y x"]
Periodic = Float[np.ndarray, "Y X"]

_MIN_REGION_PX = 8


@dataclass(frozen=True)
class Aligned:
    """A reconstruction and the truth on the same pixels of the region, in rad, (y, x) float64.

    shift_a: (y, x) by which the reconstruction was displaced from the truth; the truth was moved by it.
    """

    image: Image
    truth: Image
    shift_a: tuple[float, float]


class Projected:
    """The truth as scores see it, the sum of its slices. What scores of one reconstruction have in common, from sweep
    to sweep, is evaluated once.

    phase_rad: (Y, X) float64, periodic, pixel (0, 0) at the specimen's origin. pixel_a: (Y, X).
    """

    def __init__(self, truth: Truth):
        self.phase_rad: Periodic = np.sum(truth.phase_rad, axis=0, dtype=np.float64)
        self.pixel_a = truth.pixel_a
        self._patches: dict[tuple, Image] = {}
        self._ranges: dict[tuple, float] = {}

    def at(self, start_a: Pair, step_a: Pair, shape: tuple[int, int]) -> Image:
        """Its values on other pixels, by `sample_truth`."""
        return sample_truth(self.phase_rad, self.pixel_a, start_a, step_a, shape)

    def patch(self, start_a: Pair, step_a: Pair, shape: tuple[int, int], margin: tuple[int, int]) -> Image:
        """Its values on pixels from start_a on, with `margin` more on each side: shape + 2 margin."""
        key = (*start_a, *step_a, *shape, *margin)
        if key not in self._patches:
            first = tuple(a - m * p for a, m, p in zip(start_a, margin, step_a, strict=True))
            self._patches[key] = self.at(first, step_a, (shape[0] + 2 * margin[0], shape[1] + 2 * margin[1]))
        return self._patches[key]

    def range(self, step_a: Pair, region_a: tuple[float, float, float, float]) -> float:
        """Range (maximum - minimum) in a region, band-limited to pixels `step_a`, in rad.

        Taken on pixels four times finer, so that it doesn't depend on where the reconstruction's pixels meet the peaks:
        one region and pixel give one range, whatever the canvas.
        """
        key = (*step_a, *region_a)
        if key not in self._ranges:
            shape = tuple(round((region_a[a + 2] - region_a[a]) / step_a[a]) for a in (0, 1))
            margin = (TAPER_PX + 2, TAPER_PX + 2)
            patch = self.patch((region_a[0], region_a[1]), step_a, shape, margin)
            fine = _finer(_finer(faded(patch - np.mean(patch)), 4).T, 4).T
            rows, columns = (slice(4 * m, 4 * (m + n)) for m, n in zip(margin, shape, strict=True))
            self._ranges[key] = float(np.ptp(fine[rows, columns]))
        return self._ranges[key]


def region_slices(
    shape: tuple[int, int],
    pixel_a: tuple[float, float],
    origin_a: tuple[float, float],
    region_a: tuple[float, float, float, float],
) -> tuple[slice, slice]:
    """Pixels (y, x) of a canvas whose positions p satisfy y0 <= p < y1 and x0 <= p < x1.

    shape: canvas. origin_a: position of pixel (0, 0). region_a: (y0, x0, y1, x1), in the specimen's frame.
    Raises InputError if the region is empty, smaller than 8 px, or leaves the canvas.
    """
    found = []
    for axis, name in enumerate("yx"):
        low, high = region_a[axis], region_a[axis + 2]
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise InputError("region_a", f"needs finite {name}0 < {name}1", tuple(region_a), "Give (y0, x0, y1, x1).")
        first, last = (int(np.ceil((edge - origin_a[axis]) / pixel_a[axis] - 1e-6)) for edge in (low, high))
        if first < 0 or last > shape[axis]:
            end = origin_a[axis] + shape[axis] * pixel_a[axis]
            raise InputError(
                "region_a",
                f"must lie inside the reconstruction, whose {name} runs from {origin_a[axis]:.4g} to {end:.4g} A",
                tuple(region_a),
                "Score a smaller region, or scan a larger field of view.",
            )
        if last - first < _MIN_REGION_PX:
            raise InputError(
                "region_a",
                f"must hold at least {_MIN_REGION_PX} px along {name}; it holds {last - first}",
                tuple(region_a),
                "Score a larger region.",
            )
        found.append(slice(first, last))
    return found[0], found[1]


def sample_truth(
    phase_rad: Periodic,
    pixel_a: tuple[float, float],
    start_a: tuple[float, float],
    step_a: tuple[float, float],
    shape: tuple[int, int],
) -> Float[np.ndarray, "{shape[0]} {shape[1]}"]:
    """Values of a periodic image at other pixels, band-limited to those: Fourier crop, shift and cut in one step.

    The Fourier series of `phase_rad` (Y, X) with pixels `pixel_a`, cut at the Nyquist frequency of `step_a`
    (exclusive), is evaluated exactly at start_a + step_a * index: (y, x) of `shape`, float64. The new pixels need not
    divide the period. On each axis that is a product with a matrix of periodic sinc (Dirichlet) kernels.
    """
    rows = _dirichlet(phase_rad.shape[0], pixel_a[0], start_a[0], step_a[0], shape[0])
    columns = _dirichlet(phase_rad.shape[1], pixel_a[1], start_a[1], step_a[1], shape[1])
    return rows @ np.asarray(phase_rad, np.float64) @ columns.T


def _dirichlet(size: int, pixel: float, start: float, step: float, count: int) -> Float[np.ndarray, "{count} {size}"]:
    """(count, size): sum over |m| < Nyquist of exp(2 pi i m u) / size = sin((2M+1) pi u) / (size sin(pi u))."""
    period = size * pixel
    # Highest harmonic strictly below both Nyquist frequencies; the tolerance is for periods like 1023.9999 px.
    highest = max(int(np.ceil(min(size, period / step) / 2 - 1e-6)) - 1, 0)
    terms = 2 * highest + 1
    u = (start + step * np.arange(count)[:, None] - pixel * np.arange(size)[None, :]) / period
    u -= np.rint(u)
    sine = np.sin(np.pi * u)
    close = np.abs(sine) < 1e-9
    return np.where(close, terms, np.sin(terms * np.pi * u) / np.where(close, 1.0, sine)) / size


def flat_object(region: Slices) -> Slices:
    """Remove from each slice its mean phase slope and then the phase of its complex mean, so that angles don't wrap.

    region: (slices, y, x) complex; returns the same shape with unit modulus (0 where the object is 0). The slope is
    the angle of the mean product of neighbours, right up to +-pi per pixel.
    """
    modulus = np.abs(region)
    unit = region / np.where(modulus > 0, modulus, 1.0)
    slope_y = np.angle(np.sum(unit[:, 1:] * unit[:, :-1].conj(), axis=(1, 2)))
    slope_x = np.angle(np.sum(unit[:, :, 1:] * unit[:, :, :-1].conj(), axis=(1, 2)))
    y = np.arange(region.shape[1]) - (region.shape[1] - 1) / 2
    x = np.arange(region.shape[2]) - (region.shape[2] - 1) / 2
    unit = unit * np.exp(-1j * slope_y[:, None] * y)[:, :, None] * np.exp(-1j * slope_x[:, None] * x)[:, None, :]
    mean = np.sum(unit, axis=(1, 2), keepdims=True)
    return unit * np.exp(-1j * np.angle(mean))


def region_of(object_: Shaped[np.ndarray, "..."], rows: slice, columns: slice) -> Slices:
    """The region (slices, y, x) complex128 of an object (y, x) or (slices, y, x).

    Raises InputError for an array that is not complex, ScoreFailure if the region has a NaN or no amplitude.
    """
    object_ = np.asarray(object_)
    if object_.ndim not in (2, 3) or not np.iscomplexobj(object_):
        raise InputError(
            "object",
            "must be a complex transmission (y, x) or (slices, y, x)",
            (object_.shape, str(object_.dtype)),
            "Give the object of a ReconState, or exp(1j * phase).",
        )
    region = object_[..., rows, columns].astype(np.complex128)
    region = region[None] if region.ndim == 2 else region
    bad = int(np.sum(~np.isfinite(region)))
    if bad:
        raise ScoreFailure(f"The reconstructed object has {bad} values that are not finite in the scored region.")
    if not np.all(np.any(region != 0, axis=(1, 2))):
        raise ScoreFailure("The reconstructed object has a slice without amplitude in the scored region.")
    return region


def align(
    object_: Shaped[np.ndarray, "..."],
    pixel_a: tuple[float, float],
    origin_a: tuple[float, float],
    truth: Projected,
    region_a: tuple[float, float, float, float],
    max_shift_a: float = 1.0,
    tolerance_px: float = 0.01,
) -> Aligned:
    """Phase of a reconstruction and the truth on the reconstruction's pixels, free of constant, ramp and shift.

    object_: (y, x) or (slices, y, x) complex transmission. pixel_a: (y, x). origin_a: position of its pixel (0, 0).
    region_a: (y0, x0, y1, x1) on the specimen; the pixels taken are those where the reconstruction shows it.
    max_shift_a: radius of the search; keep it below half a lattice spacing, since a
    periodic specimen correlates as well a lattice vector away. tolerance_px: precision of the registration.

    The phase of several slices is the sum of each slice's angle, which wraps only where one slice departs by more than
    pi from the plane through it (plus the middle of the truth's range). Nothing is unwrapped beyond that: a specimen
    of more than 2 pi must be reconstructed, and given here, in slices.
    Raises ScoreFailure for a reconstruction with NaN or without contrast, InputError for a region without specimen.
    """
    rows, columns = region_slices(np.shape(object_)[-2:], pixel_a, origin_a, region_a)
    object_ = np.asarray(object_)
    aligned = None
    for _ in range(2):
        guess = None if aligned is None else tuple(s / p for s, p in zip(aligned.shift_a, pixel_a, strict=True))
        unit = flat_object(region_of(object_, rows, columns))
        start = tuple(o + s.start * p for o, s, p in zip(origin_a, (rows, columns), pixel_a, strict=True))
        aligned = _align_pixels(unit, start, pixel_a, truth, max_shift_a, tolerance_px, guess)
        # The region belongs to the specimen: follow it to where the reconstruction has it, to the nearest pixel.
        moved = tuple(
            _moved(part, round(shift / p), size)
            for part, shift, p, size in zip(
                region_slices(object_.shape[-2:], pixel_a, origin_a, region_a),
                aligned.shift_a,
                pixel_a,
                object_.shape[-2:],
                strict=True,
            )
        )
        if moved == (rows, columns):
            break
        rows, columns = moved
    return aligned


def _moved(part: slice, pixels: int, size: int) -> slice:
    """The slice moved by whole pixels as far as the canvas goes."""
    pixels = min(max(pixels, -part.start), size - part.stop)
    return slice(part.start + pixels, part.stop + pixels)


def _align_pixels(
    unit: Slices,
    start_a: tuple[float, float],
    pixel_a: tuple[float, float],
    truth: Projected,
    max_shift_a: float,
    tolerance_px: float,
    guess_px: tuple[float, float] | None,
) -> Aligned:
    """`align` for given pixels: unit (slices, y, x) from `flat_object`, its pixel (0, 0) at start_a."""
    shape = unit.shape[1:]
    margin = patch_margin(pixel_a, max_shift_a)
    patch = truth.patch(start_a, pixel_a, shape, margin)
    inside = patch[margin[0] : margin[0] + shape[0], margin[1] : margin[1] + shape[1]]
    spread = float(np.std(inside - affine_part(inside)))
    if not spread > 1e-6:
        raise InputError(
            "region_a", "must hold some of the specimen; the truth is flat there", start_a, "Move the region."
        )

    image, target, shift_px = np.empty(shape), inside, guess_px
    for _ in range(3):  # once, unless angles wrapped: then again, about the plane that was found
        image = np.sum(np.angle(unit), axis=0)
        if not np.std(image - affine_part(image)) > 1e-5 * spread:
            raise ScoreFailure("The reconstructed phase is constant in the scored region.")
        shift_px = register(image, patch, margin, pixel_a, max_shift_a, tolerance_px, shift_px)
        moved = tuple(a - s * p for a, s, p in zip(start_a, shift_px, pixel_a, strict=True))
        target = truth.at(moved, pixel_a, shape)
        plane = affine_part(image - target)
        image = image - plane
        # Wrap about the middle of the truth's range, which leaves the most room; slices share the offset evenly.
        middle = 0.5 * (np.max(target) + np.min(target))
        unit = unit * np.exp(-1j * (plane + middle) / len(unit))
        again = np.sum(np.angle(unit), axis=0) + middle
        if np.max(np.abs(again - image)) < 1e-6:
            break
    return Aligned(image, target, (shift_px[0] * pixel_a[0], shift_px[1] * pixel_a[1]))


def _finer(image: Image, factor: int) -> Float[np.ndarray, "y X"]:
    """Periodic image (y, x) interpolated to `factor` times as many pixels along x, by its Fourier series."""
    count = image.shape[1]
    spectrum = np.fft.rfft(image)
    if count % 2 == 0:
        spectrum[:, -1] *= 0.5  # the Nyquist frequency, which becomes two
    return np.fft.irfft(spectrum, factor * count) * factor
