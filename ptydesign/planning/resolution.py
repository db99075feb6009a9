"""The resolution to expect: how far the prediction's correlation with the truth reaches.

A crystal has hardly any power between its diffraction spots, and a ring without power correlates by chance alone. So
rings are averaged with their neighbours, each weighted by the truth's power in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ptydesign.score.metrics import ring_power

NEARLY = 1.02  # times the resolution that is wanted: rings are no finer
THRESHOLD = 0.5  # of a correlation with the truth (Rosenthal & Henderson, J. Mol. Biol. 333:721, 2003)
NEIGHBOURS = 2  # rings on each side


def smoothed(arrays: Mapping[str, Any], pixel_a: tuple[float, float]) -> np.ndarray:
    """(rings,) correlation with the truth, averaged over 2 NEIGHBOURS + 1 rings with the truth's power as weight.

    arrays: `truth`, `frc`, `frc_q` of a trial's images.
    """
    frc = np.asarray(arrays["frc"], float)
    power = ring_power(np.asarray(arrays["truth"], float), pixel_a)
    box = np.ones(2 * NEIGHBOURS + 1)
    return np.convolve(frc * power, box, "same") / np.maximum(np.convolve(power, box, "same"), 1e-30)


def is_reached(reached_a: float | None, wanted_a: float) -> bool:
    """Whether a resolution is the one that is wanted, or finer. reached_a: None, if none is reached."""
    return reached_a is not None and reached_a <= NEARLY * wanted_a


def reached_resolution_a(arrays: Mapping[str, Any], pixel_a: tuple[float, float]) -> float | None:
    """1 / the last frequency up to which the averaged correlation stays at THRESHOLD or above; None if it never is.

    The lowest rings may lie below it: phases that vary slowly are hardly transferred. No finer than the last ring.
    """
    good = smoothed(arrays, pixel_a) >= THRESHOLD
    if not good.any():
        return None
    start = int(np.argmax(good))
    count = len(good) - start if good[start:].all() else int(np.argmin(good[start:]))
    return float(1 / np.asarray(arrays["frc_q"])[start + count - 1])
