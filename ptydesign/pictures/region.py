"""The scanned part of a reconstruction, and its phase as a picture."""

from __future__ import annotations

import numpy as np

from ptydesign.reconstruct.live import scanned_corners
from ptydesign.score.align import flat_object
from ptydesign.types import Reconstruction


def scanned(reconstruction: Reconstruction) -> tuple[slice, slice]:
    """Pixels (y, x) of the object between the outermost probe positions; the whole object if that is a line, or if a
    diverged run left positions that are not finite."""
    return scanned_part(np.asarray(reconstruction.state.positions_px), reconstruction.state.object.shape[-2:])


def scanned_part(positions: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """`scanned`, of positions (n, 2) in pixels of an object of this shape."""
    low, high = scanned_corners(positions, shape)
    return slice(low[0], high[0]), slice(low[1], high[1])


def flattened(transmission: np.ndarray) -> np.ndarray:
    """Transmission (slice, y, x) without each slice's mean phase slope and mean phase: angles wrap less."""
    return np.abs(transmission) * flat_object(transmission)


def phase_rad(transmission: np.ndarray) -> np.ndarray:
    """(slice, y, x) phase in rad of a flattened transmission, unwrapped where it spans more than pi.

    A diverged reconstruction's NaN are kept: unwrapping would not come to an end.
    """
    phase = np.angle(transmission)
    if not np.all(np.isfinite(phase)) or np.ptp(phase) < np.pi:
        return phase
    from skimage.restoration import unwrap_phase

    return np.stack([unwrap_phase(p, rng=0) for p in phase])
