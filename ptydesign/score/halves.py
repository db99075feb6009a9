"""Agreement of two reconstructions of the same specimen from independent halves of the data: no truth is needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ptydesign.errors import InputError
from ptydesign.score.align import flat_object
from ptydesign.score.metrics import FrcCurve, Image, radial_frc
from ptydesign.score.register import affine_part, move_patch, patch_margin, register
from ptydesign.types import ReconState


@dataclass(frozen=True)
class HalvesAgreement:
    """first, second: (y, x) phases in rad on the pixels of the first half, registered, without planes.

    frc_curve: their ring correlation. It measures precision, not accuracy: a shared start or too much smoothing raises
    it. shift_a: (y, x) of the first against the second, removed.
    """

    first: Image
    second: Image
    frc_curve: FrcCurve
    shift_a: tuple[float, float]


def compare_halves(
    first: ReconState, second: ReconState, max_shift_a: float = 1.0, taper: float = 0.25
) -> HalvesAgreement:
    """Register two reconstructions and correlate them ring by ring, over the region that both scanned.

    max_shift_a: largest shift that is removed. taper: part of the image that fades at its edges.
    Raises InputError for other pixels or too little in common.
    """
    pixel = tuple(float(p) for p in np.asarray(first.pixel_a))
    if not np.allclose(pixel, np.asarray(second.pixel_a), rtol=1e-6):
        raise InputError("halves", "must have the same pixels", (pixel, second.pixel_a), "Use one plan for both.")
    margin = patch_margin(pixel, max_shift_a)
    low = np.maximum(*(s.positions_a.min(axis=0) for s in (first, second)))
    high = np.minimum(*(s.positions_a.max(axis=0) for s in (first, second)))
    shape = np.floor((high - low) / pixel).astype(int)
    starts = [np.rint((low - np.asarray(s.origin_a)) / pixel).astype(int) for s in (first, second)]
    if shape.min() < 16:
        raise InputError("halves", "must scan 16 pixels or more in common", shape.tolist(), "Scan a larger field.")
    image = _phase(first, starts[0], shape)
    patch = _phase(second, starts[1] - np.asarray(margin), shape + 2 * np.asarray(margin))
    shift = register(image, patch, margin, pixel, max_shift_a)
    image = image - affine_part(image)
    other = move_patch(patch, margin, shift, image.shape)
    where = [np.asarray(s.origin_a) + start * pixel for s, start in zip((first, second), starts, strict=True)]
    total = np.asarray(shift) * pixel + where[0] - where[1]
    return HalvesAgreement(image, other, radial_frc(image, other, pixel, taper), (float(total[0]), float(total[1])))


def _phase(
    state: ReconState, start: Int[np.ndarray, " 2"], shape: Int[np.ndarray, " 2"]
) -> Float[np.ndarray, "{shape[0]} {shape[1]}"]:
    """(y, x) phase of all slices together, without slope, of the part that begins at pixel `start`.

    Beyond the object its edge is repeated: only the margin of a patch, which fades anyway, may reach there.
    """
    size = np.asarray(state.object.shape[-2:])
    low, high = np.maximum(start, 0), np.minimum(start + shape, size)
    part = np.asarray(state.object)[:, low[0] : high[0], low[1] : high[1]]
    phase = np.sum(np.angle(flat_object(part.astype(np.complex128))), axis=0)
    return np.pad(phase, np.stack([low - start, start + shape - high], axis=1), mode="edge")
