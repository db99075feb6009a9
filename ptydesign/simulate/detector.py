"""The detector: its rules, what blurs its patterns, and counts."""

from __future__ import annotations

import math

import numpy as np

from ptydesign import losses
from ptydesign.errors import InputError
from ptydesign.mtf import Transfer, mtf
from ptydesign.types import Detector, Experiment
from ptydesign.units import wavelength_a

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


def blurred(patterns: np.ndarray, experiment: Experiment) -> np.ndarray:
    """Patterns (..., ny, nx) blurred by energy losses (`losses`) and by the detector (`mtf`), counts conserved.
    Electrons are counted one by one (the blur precedes the Poisson noise)."""
    for transfer in (losses_of(experiment), mtf(experiment.detector.pixels, experiment.detector.mtf_nyquist)):
        if transfer is not None:
            patterns = _multiplied(patterns, transfer)
    return patterns


def losses_of(experiment: Experiment) -> Transfer | None:
    """What energy losses do to an experiment's patterns (`losses.transfer`)."""
    grid, wavelength = experiment.detector.grid, wavelength_a(experiment.optics.voltage_kv)
    part, angle = experiment.inelastic_part, experiment.inelastic_angle_rad
    return losses.transfer(grid.shape, grid.pixel_a, wavelength, part, angle)


def _multiplied(patterns: np.ndarray, transfer: Transfer) -> np.ndarray:
    blurred = np.fft.irfft2(np.fft.rfft2(patterns) * transfer, s=patterns.shape[-2:])
    return np.maximum(blurred, 0).astype(patterns.dtype)  # rounding may leave -1e-9


def readout(mean: np.ndarray, electrons: float, background_e_per_px: float, rng: np.random.Generator) -> np.ndarray:
    """Poisson counts (..., ny, nx), float32, of patterns given as fractions of `electrons` incident electrons."""
    return rng.poisson(np.asarray(mean, np.float64) * electrons + background_e_per_px).astype(np.float32)
