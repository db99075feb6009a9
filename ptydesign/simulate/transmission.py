"""The specimen's transmission function on a window's pixel: all of it, or what a scan's windows cover.

Several slices are kept on the potential's pixel, and whole. One slice is cut out around the scan, which costs less, and
resampled: exact, since all that is beyond the coarser pixel's reach would be dropped later (`window`).
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy import fft

from ptydesign import waves
from ptydesign.grids import Grid, crop_spectrum
from ptydesign.simulate.window import Window
from ptydesign.types import Potential
from ptydesign.units import interaction_parameter

APRON_A = 16.0  # of specimen around all windows, so that none has the ringing of a cut edge


def transmissions(
    potential: Potential, voltage_kv: float, window: Window, positions_a: np.ndarray, periodic: bool
) -> Iterator[tuple[jax.Array, np.ndarray]]:
    """((slices, y, x) band-limited transmission, origin (y, x) in angstrom) of each configuration.

    All have one shape for one potential and window. A periodic specimen is continued by a window, from its origin on.
    """
    sigma = interaction_parameter(voltage_kv)
    if max(window.ratio) == 1:
        pad = window.grid.shape if periodic else (0, 0)
        limit = jnp.asarray(waves.band_limit(potential.grid), jnp.float32)
        for slices_va in potential.slices_va:
            whole = _limited(jnp.asarray(slices_va, jnp.float32), sigma, limit)
            yield jnp.pad(whole, ((0, 0), (0, pad[0]), (0, pad[1])), mode="wrap") if periodic else whole, np.zeros(2)
        return
    rows, columns = (_covered(potential, window, positions_a, axis) for axis in (0, 1))
    region = Grid((len(rows), len(columns)), potential.pixel_a)
    shape = tuple(int(n / ratio) for n, ratio in zip(region.shape, window.ratio, strict=True))
    limit = crop_spectrum(waves.band_limit(region), shape).astype(np.float32)
    limit *= shape[0] * shape[1] / (region.shape[0] * region.shape[1])
    # so that the number of shapes that are compiled doesn't depend on the scans
    room = tuple(max(n, m) for n, m in zip(shape, potential.grid.shape, strict=True))
    for slices_va in potential.slices_va:
        cut = np.zeros((len(slices_va), *room), np.complex64)
        for one, voltage in zip(cut, slices_va, strict=True):
            there = voltage[np.ix_(rows % voltage.shape[0], columns % voltage.shape[1])]
            spectrum = fft.fft2(np.exp(1j * np.float32(sigma) * there).astype(np.complex64))
            one[: shape[0], : shape[1]] = fft.ifft2(crop_spectrum(spectrum, shape) * limit)
        yield jnp.asarray(cut), np.array([rows[0], columns[0]]) * np.asarray(potential.pixel_a)


@jax.jit
def _limited(slices_va: jax.Array, sigma: float, limit: jax.Array) -> jax.Array:
    """Band-limited transmission (slices, y, x) of a projected potential in V A."""
    return jax.lax.map(lambda v: waves.ifft2(waves.fft2(jnp.exp(1j * sigma * v)) * limit), slices_va)


def _covered(potential: Potential, window: Window, positions_a: np.ndarray, axis: int) -> np.ndarray:
    """The potential's rows, or columns, around all windows: a whole number of the window's pixels.

    They may lie beyond its edge, where it is continued periodically, as its Fourier transforms have it.
    """
    pixel, ratio = potential.pixel_a[axis], window.ratio[axis]
    half = window.grid.extent_a[axis] / 2 + window.grid.pixel_a[axis] + APRON_A
    first = int(np.floor((positions_a[:, axis].min() - half) / pixel))
    last = int(np.ceil((positions_a[:, axis].max() + half) / pixel))
    parts = -(-(last - first) // ratio.numerator)
    while (quick := fft.next_fast_len(parts)) != parts:  # the ratio's own factors are small
        parts = quick
    return np.arange(first, first + parts * ratio.numerator)
