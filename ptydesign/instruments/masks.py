"""Masks of detectors: which pixels are good, in the convention that the user means."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ptydesign.errors import InputError
from ptydesign.instruments.files import read_array

MARKS = ("good", "bad")


def read_mask(source: str | Path, pixels: tuple[int, int], marks: str | None = None) -> np.ndarray:
    """(ky, kx) True where a pixel is good, of a file with an array of the detector's own pixels.

    marks: what a 1 in the file means: good, or bad (DECTRIS, pyFAI; there any number but 0). None: good, and refused
    where the mask would leave less than half of the pixels, since then it is more likely the other way round.
    """
    mask = np.asarray(read_array(source))
    if mask.dtype.kind not in "buif" or mask.shape != tuple(pixels):
        value = mask.shape if mask.dtype.kind in "buif" else str(mask.dtype)
        raise InputError("mask", f"must be a number for each of the {tuple(pixels)} pixels", value, "Correct it.")
    if mask.dtype.kind == "f" and not np.all(np.isfinite(mask)):
        raise InputError("mask", "must be finite", "NaN or infinity", "Write 0 or 1 for each pixel.")
    if marks == "bad":
        good = mask == 0
    else:
        others = ~np.isin(mask, (0, 1))
        if others.any():
            raise InputError(
                "mask",
                "must be 0 or 1",
                mask[others][0].item(),
                "If numbers other than 0 mark bad pixels (DECTRIS), give --mask-marks bad.",
            )
        good = mask == 1
    number = int(np.sum(good))
    if number == 0:
        other = "good" if marks == "bad" else "bad"
        mend = f"If 1 means {other}, give --mask-marks {other}."
        raise InputError("mask", "must leave good pixels", number, mend)
    if marks is None and number < good.size / 2:
        raise InputError(
            "mask",
            "leaves less than half of the detector, if 1 means good",
            f"{number} of {good.size} pixels",
            "If 1 means bad (DECTRIS, pyFAI), give --mask-marks bad; if it is as you want it, --mask-marks good.",
        )
    return good
