"""Frames that are unlike their neighbours in time: too bright, too dark, torn, or without numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

NEIGHBOURS = 9
SIGMAS = 8.0
RATIO = 1.5  # a frame brighter than its neighbours by this, or darker, may be bad
LOST = 0.01  # part of a frame's pixels that may be no numbers: their neighbours stand in for them


@dataclass(frozen=True)
class OddFrames:
    """bad: (n,) bool. reasons: {words: numbers of positions}."""

    bad: np.ndarray
    reasons: dict[str, np.ndarray]


def odd_frames(totals: np.ndarray, coarse: np.ndarray, lost: np.ndarray, pixels: int) -> OddFrames:
    """What is odd among frames with `totals` (n,) counts, `coarse` (n, m) in blocks, `lost` (n,) values of `pixels`.

    A specimen's edge changes the counts too, but not for one frame alone: each is compared with the median of its
    neighbours in time, by the spread of all such differences; and frames with less than a twentieth of the median of
    all have no beam.
    """
    reasons: dict[str, np.ndarray] = {}
    without = lost > LOST * pixels
    usual = ndimage.median_filter(totals, min(NEIGHBOURS, len(totals)), mode="nearest")
    difference = totals - usual
    middle = float(np.median(totals))
    spread = max(1.4826 * float(np.median(np.abs(difference))), 0.01 * abs(middle), 1e-12)
    far = np.abs(difference) > SIGMAS * spread
    reasons["have no numbers in more than 1 % of their pixels"] = without
    bright = far & (totals > RATIO * usual) & ~without
    dark = (far & (totals < usual / RATIO)) | ((totals < middle / 20) & (middle > SIGMAS * spread))
    reasons[f"are more than {RATIO:g} times as bright as their neighbours"] = bright
    reasons["are dark"] = dark & ~without
    share = coarse / np.maximum(coarse.sum(axis=1, keepdims=True), 1e-30)
    usual_share = ndimage.median_filter(share, (min(NEIGHBOURS, len(totals)), 1), mode="nearest")
    apart = np.abs(share - usual_share).sum(axis=1)
    limit = max(float(np.median(apart) + SIGMAS * 1.4826 * np.median(np.abs(apart - np.median(apart)))), 0.4)
    torn = (apart > limit) & ~bright & ~dark & ~without
    reasons["are distributed over the detector unlike their neighbours (torn, or the beam jumped)"] = torn
    kept = {words: np.flatnonzero(where) for words, where in reasons.items() if where.any()}
    return OddFrames(without | bright | dark | torn, kept)
