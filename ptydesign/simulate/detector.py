"""The detector: its rules, its MTF, and counts."""

from __future__ import annotations

import math

import numpy as np

from ptydesign.errors import InputError
from ptydesign.mtf import mtf
from ptydesign.types import Detector

MAX_MEAN_COUNTS = 2.0**24  # float32 holds whole counts up to here


def check_detector(detector: Detector) -> None:
    """Raises InputError for a detector that cannot be."""
    ny, nx = detector.pixels
    for rule, value, good, mend in (
        ("pixels must be 2 or more along y and x", detector.pixels, min(ny, nx) >= 2, "Give (ny, nx)."),
        ("pixel_a must be positive", detector.pixel_a, min(detector.pixel_a) > 0, "Give (y, x) in angstrom."),
        ("mtf_nyquist must lie in (0, 1]", detector.mtf_nyquist, 0 < detector.mtf_nyquist <= 1, "Give 1 for ideal."),
        (
            "background_e_per_px must be finite and not negative",
            detector.background_e_per_px,
            0 <= detector.background_e_per_px < math.inf,
            "Give 0 for none.",
        ),
    ):
        if not good:
            name, rest = rule.split(" ", 1)
            raise InputError(f"detector.{name}", rest, value, mend)


def apply_mtf(patterns: np.ndarray, detector: Detector) -> np.ndarray:
    """Patterns (..., ny, nx) blurred by the detector (`mtf.mtf`), counts conserved. Electrons are counted one by one
    (the blur precedes the Poisson noise)."""
    transfer = mtf(detector.pixels, detector.mtf_nyquist)
    if transfer is None:
        return patterns
    blurred = np.fft.irfft2(np.fft.rfft2(patterns) * transfer, s=detector.pixels)
    return np.maximum(blurred, 0).astype(patterns.dtype)  # rounding may leave -1e-9


def readout(mean: np.ndarray, electrons: float, background_e_per_px: float, rng: np.random.Generator) -> np.ndarray:
    """Poisson counts (..., ny, nx), float32, of patterns given as fractions of `electrons` incident electrons."""
    return rng.poisson(np.asarray(mean, np.float64) * electrons + background_e_per_px).astype(np.float32)
