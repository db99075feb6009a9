"""What work costs: FFT units, n log2 n for a transform of n pixels, and how many of them a core does in a second."""

from __future__ import annotations

import math
import time

import numpy as np

START_S = 3.0  # of a job: imports, loading compiled code


def fft_rate(seconds: float = 0.15) -> float:
    """FFT units per second of one core, measured with transforms of 128 x 128 pixels that stay in cache.

    In processor time, which other work on the machine doesn't lengthen.
    """
    from scipy.fft import fft2

    waves = np.random.default_rng(0).random((4, 128, 128)).astype(np.complex64)
    fft2(waves, workers=1)
    count, start = 0, time.process_time()
    while (passed := time.process_time() - start) < seconds:
        fft2(waves, workers=1)
        count += len(waves)
    return count * transform(128**2) / passed


def duration(minutes: float) -> str:
    """A time in words."""
    if minutes < 90:
        return f"{max(1, round(minutes))} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"


def transform(pixels: float) -> float:
    """Work of a Fourier transform, in FFT units."""
    return pixels * math.log2(pixels)
