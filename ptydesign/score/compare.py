"""Score a reconstruction: crop to the region, align, then every metric, kept with what is needed to repeat it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from pydantic import Field, field_validator, model_serializer

from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.score import metrics
from ptydesign.score.align import Projected, align
from ptydesign.score.metrics import Image, Rings
from ptydesign.score.own import METRICS
from ptydesign.score.register import affine_part
from ptydesign.types import Score, Truth

Pair = Sequence[float] | Float[np.ndarray, " 2"]


class ScoreConfig(Strict):
    """How reconstructions are scored; one set for a whole study, or scores don't compare."""

    ssim_widths_px: tuple[float, ...] = (0.5, 1.5, 5.0)
    """Standard deviations of SSIM's Gaussian window, in reconstruction pixels; each gives a score."""
    ssim_range_rad: float | None = Field(None, gt=0)
    """Range in rad that SSIM's constants are parts of, the same for all truths; null is the truth's own range."""
    frc_qmax: float = Field(1.0, gt=0)
    """Spatial frequency in 1/A up to which the rings of the FRC are averaged to its area, and information counts."""
    frc_taper: float = Field(0.25, ge=0, le=1)
    """Part of the image that fades at its edges before the FRC."""
    max_shift_a: float = Field(1.0, gt=0)
    """Largest shift in angstrom that is removed; less than half a lattice spacing."""
    registration_px: float = Field(0.01, gt=0, le=0.5)
    """Precision of the registration in reconstruction pixels."""
    functions: tuple[METRICS.own_annotation, ...] = ()
    """Functions of your own, named as file.py:name, that give further scores, the greater the better."""

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Written as before there were functions and ranges where there are none: stored trials stay valid."""
        return {k: v for k, v in handler(self).items() if k not in ("functions", "ssim_range_rad") or v}

    @field_validator("ssim_widths_px")
    @classmethod
    def _widths(cls, widths: tuple[float, ...]) -> tuple[float, ...]:
        if not widths or min(widths) < 0.3:
            raise InputError(
                "ssim_widths_px",
                "needs at least one width, each 0.3 px or more",
                widths,
                "The usual width is 1.5.",
            )
        if len(set(widths)) != len(widths):
            raise InputError("ssim_widths_px", "holds a width twice", widths, "List each width once.")
        return widths


@dataclass(frozen=True)
class Comparison:
    """A score and the images it was computed from, on the reconstruction's pixels of the region, float64.

    image, truth_image: (y, x) phase in rad, aligned. frc: the ring correlation of the two, with its thresholds.
    """

    score: Score
    image: Image
    truth_image: Image
    frc_curve: metrics.FrcCurve

    @property
    def frc_q(self) -> Rings:
        """(rings,) in 1/angstrom."""
        return self.frc_curve.q

    @property
    def frc(self) -> Rings:
        """(rings,) Fourier ring correlation with the truth."""
        return self.frc_curve.frc


def compare(
    object_: Shaped[np.ndarray, "..."],
    pixel_a: Pair,
    origin_a: Pair,
    truth: Truth | Projected,
    region_a: tuple[float, float, float, float],
    config: ScoreConfig | None = None,
) -> Comparison:
    """Score a reconstructed object against the truth inside `region_a`.

    object_: (y, x) or (slices, y, x) complex transmission; several slices are scored by their summed phase.
    pixel_a: (y, x) of the object. origin_a: specimen coordinates (y, x) of its pixel (0, 0).
    truth: of several scores of one reconstruction best as `Projected`, once for all.
    region_a: (y0, x0, y1, x1) in the specimen's frame, y0 <= y < y1; usually the scanned region.
    config: defaults to ScoreConfig().

    Global phase, affine ramp and shift are removed (see `align`), the contrast's scale is not. SSIM and PSNR use the
    range of the band-limited truth in the region, SSIM another one if `config` gives it.
    Raises metrics.ScoreFailure if the reconstruction can't be scored (NaN, constant phase), InputError for a region,
    width or q_max that doesn't fit.
    """
    config = config or ScoreConfig()
    pixel_a, origin_a = _pair(pixel_a, "pixel_a"), _pair(origin_a, "origin_a")
    if min(pixel_a) <= 0:
        raise InputError("pixel_a", "must be positive", pixel_a, "Give (y, x) in angstrom.")
    region_a = tuple(float(edge) for edge in region_a)
    truth = truth if isinstance(truth, Projected) else Projected(truth)
    aligned = align(
        object_,
        pixel_a,
        origin_a,
        truth,
        region_a,
        config.max_shift_a,
        config.registration_px,
    )
    image, target = aligned.image, aligned.truth
    data_range = truth.range(pixel_a, region_a)
    ssim_range = config.ssim_range_rad or data_range
    flat_image, flat_target = image - affine_part(image), target - affine_part(target)
    # Of the ramp, the image has the truth's; with another contrast that would be a disagreement of its own.
    curve = metrics.radial_frc(flat_image, flat_target, pixel_a, config.frc_taper)
    score = Score(
        ssim={width: metrics.ssim(image, target, width, ssim_range) for width in config.ssim_widths_px},
        psnr_db=metrics.psnr(image, target, data_range),
        mse_rad2=metrics.mse(image, target),
        frc_area=curve.area(config.frc_qmax),
        frc_qmax=config.frc_qmax,
        information=curve.information(config.frc_qmax),
        contrast=float(np.sum(flat_image * flat_target) / np.sum(flat_target**2)),
        region_a=region_a,
        data_range=data_range,
        pixel_a=pixel_a,
        shift_a=aligned.shift_a,
        own={name: METRICS[name](image, target, pixel_a) for name in config.functions},
    )
    return Comparison(score, image, target, curve)


def scanned_region(
    positions_a: Float[np.ndarray, "position 2"], inset_a: float = 0.0
) -> tuple[float, float, float, float]:
    """(y0, x0, y1, x1) of the box around positions (position, 2), less `inset_a` on every side.

    Raises InputError if nothing is left.
    """
    low, high = np.min(positions_a, axis=0) + inset_a, np.max(positions_a, axis=0) - inset_a
    if not np.all(low < high):
        raise InputError("inset_a", "leaves nothing of the scanned region", inset_a, "Scan more, or inset less.")
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _pair(values: Pair, field: str) -> tuple[float, float]:
    pair = tuple(float(value) for value in np.ravel(values))
    if len(pair) != 2 or not np.all(np.isfinite(pair)):
        raise InputError(field, "needs two finite numbers (y, x)", values, "Give (y, x) in angstrom.")
    return pair
