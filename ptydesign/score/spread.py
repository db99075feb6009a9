"""What repeats of one experiment say by ring of frequency: bias, scatter, and the spectral signal-to-noise ratio.

All amplitudes are rms amplitudes of unit waves of the phase in rad, as those of `design.limits`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.score.metrics import Image, Rings


@dataclass(frozen=True)
class Spread:
    """By ring (rings,). q_per_a: its middle. truth_rad, bias_rad, scatter_rad: rms amplitude of the truth, of what the
    repeats have in common beside it, and of what differs from repeat to repeat. ssnr: power of the signal of one image
    over that of its noise, zero where there is no signal."""

    q_per_a: Rings
    truth_rad: Rings
    bias_rad: Rings
    scatter_rad: Rings
    ssnr: Rings

    def carries_a(self) -> float | None:
        """The period in angstrom down to which the signal is at least as strong as the noise; None if nowhere."""
        return period_a(self.q_per_a, self.ssnr)


def spread(
    images: Float[np.ndarray, "n y x"], truth: Image, pixel_a: tuple[float, float], rings: int, qmax_per_a: float
) -> Spread:
    """Of n >= 2 images that differ in their noise alone. Raises InputError for fewer.

    Images fade towards their edges (Hann). Bias and signal are those of the mean image, less the part that the scatter
    has in it, v / n. The ratio is that of one image (Unser et al., Ultramicroscopy 23:39, 1987, eq. 10 and 12, there of
    the mean of n; as a measure of dose: arXiv:2507.19476).
    """
    n = len(images)
    if n < 2:
        raise InputError("images", "must be two or more, which differ in their noise", n, "Simulate another repeat.")
    window = np.outer(*(np.hanning(size + 2)[1:-1] for size in truth.shape))

    def spectra(values: np.ndarray) -> np.ndarray:
        flat = values - np.sum(values * window, axis=(-2, -1), keepdims=True) / np.sum(window)
        return np.fft.fft2(flat * window, norm="ortho") / np.sqrt(np.mean(window**2))

    found, target = spectra(np.asarray(images, float)), spectra(np.asarray(truth, float))
    mean = found.mean(axis=0)
    variance = np.sum(np.abs(found - mean) ** 2, axis=0) / (n - 1)
    ky, kx = Grid(truth.shape, tuple(pixel_a)).frequencies()
    ring = np.floor(np.hypot(ky, kx) / qmax_per_a * rings).astype(int)

    def averaged(power: np.ndarray) -> np.ndarray:
        return np.array([power[ring == i].mean() if np.any(ring == i) else 0.0 for i in range(rings)])

    noise = averaged(variance)
    own = np.maximum(averaged(np.abs(mean) ** 2) - noise / n, 0.0)
    off = np.maximum(averaged(np.abs(mean - target) ** 2) - noise / n, 0.0)
    ratio = np.divide(own, noise, out=np.full(rings, np.inf), where=noise > 0)
    middles = (np.arange(rings) + 0.5) / rings * qmax_per_a
    return Spread(middles, np.sqrt(averaged(np.abs(target) ** 2)), np.sqrt(off), np.sqrt(noise), ratio)


def period_a(q_per_a: Rings, ratio: Rings) -> float | None:
    """1 / the highest frequency up to which any ring has a ratio of signal to noise of 1 or more; None if it is below 1
    everywhere. A crystal has no signal between its reflections, so rings before it may lack it."""
    above = np.flatnonzero(np.asarray(ratio) >= 1)
    if len(above) == 0:
        return None
    width = float(q_per_a[1] - q_per_a[0])
    return 1 / (float(q_per_a[above[-1]]) + width / 2)


def rms_rad(q_per_a: Rings, amplitude_rad: Rings, pixel_a: float) -> float:
    """Of the phase, from amplitudes of unit waves up to the last ring: sqrt(pixel^2 x integral of a(q)^2 2 pi q dq)."""
    q = np.asarray(q_per_a)
    return float(pixel_a * np.sqrt(np.sum(np.square(amplitude_rad) * 2 * np.pi * q * (q[1] - q[0]))))
