"""Panels that several pictures share."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ptydesign import drawing

PER_ROW = 4  # images side by side


def image_in_a(axes: Axes, image: np.ndarray, pixel_a: tuple[float, float], **options) -> AxesImage:
    """An image (y, x) drawn in angstrom with a scale bar; colour limits leave out a thousandth at either end."""
    height, width = (n * p for n, p in zip(image.shape[:2], pixel_a, strict=True))
    options = limits(image, 0.1, 99.9) | options if image.ndim == 2 else options
    shown = axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest", **options)
    axes.set(xlim=(0, width), ylim=(height, 0))
    drawing.scale_bar(axes, width, height)
    drawing.bare(axes)
    return shown


def spectrum_extent(shape: tuple[int, int], pixel: tuple[float, float]) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of an image (ky, kx) with zero frequency at (ny//2, nx//2), for imshow: 0 is the
    middle of that pixel. pixel: (ky, kx), in the unit of the axes."""
    (top, bottom), (left, right) = (
        ((-(n // 2) - 0.5) * d, (n - n // 2 - 0.5) * d) for n, d in zip(shape, pixel, strict=True)
    )
    return left, right, bottom, top


def limits(image: np.ndarray, low: float, high: float) -> dict[str, float]:
    """vmin and vmax at percentiles of the finite values."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return {}
    vmin, vmax = np.percentile(finite, (low, high))
    return {"vmin": float(vmin), "vmax": float(vmax)} if vmax > vmin else {}


def colour_bar(figure: Figure, shown: AxesImage, axes: Axes, label: str) -> None:
    """A thin bar right of its image."""
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02)
    bar.outline.set_linewidth(0.4)
    bar.set_label(label)


def complex_colours(wave: np.ndarray) -> np.ndarray:
    """(..., 3) colours of complex values: hue is the phase, brightness the amplitude over its maximum."""
    from matplotlib.colors import hsv_to_rgb

    amplitude = np.abs(wave)
    value = amplitude / max(float(amplitude.max()), 1e-30)
    return hsv_to_rgb(np.stack([np.angle(wave) / (2 * np.pi) % 1.0, np.ones_like(value), value], axis=-1))


def grid_of(number: int, per_row: int = PER_ROW) -> tuple[int, int]:
    """(rows, columns) for a number of panels."""
    columns = min(number, per_row)
    return -(-number // columns), columns
