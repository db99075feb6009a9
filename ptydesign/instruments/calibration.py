"""What an operator knows of a measurement and a file doesn't say: energy, optics, scan, camera, orientation."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.types import LEAST_KV, MOST_KV, MOST_RAD, Optics
from ptydesign.units import MM, MRAD, NM, wavelength_a


class Calibration(Strict):
    """Calibration of a 4D dataset. Transposition and flips come first: all that follows is in turned patterns.

    Pairs are (y, x). Pixels are the detector's own, before binning.
    """

    voltage_kv: float = Field(gt=0)
    """Voltage in kV by which the electrons are accelerated."""
    semiangle_mrad: float | None = Field(None, gt=0)
    """Convergence semi-angle of the aperture in mrad; needed without a probe guess."""
    defocus_nm: float = 0.0
    """Defocus in nm; positive is underfocus."""
    cs_mm: float = 0.0
    """Spherical aberration C3 in mm."""
    step_a: tuple[float, float] | None = None
    """Scan step in angstrom, one number or [y, x]; needed without positions."""
    scan_shape: tuple[int, int] | None = None
    """[rows, columns] of the scan, where the file doesn't say."""
    rotation_deg: float = 0.0
    """Angle in degrees from the detector's kx to the scan's x axis, towards ky."""
    reciprocal_pixel: float | None = Field(None, gt=0)
    """Detector pixel in 1/A (q, not 2 pi q)."""
    pixel_mrad: float | None = Field(None, gt=0)
    """Detector pixel in mrad, instead of `reciprocal_pixel`."""
    scan_last: bool = False
    """Whether the array's last two axes are the scan, not the detector."""
    transpose: bool = False
    """Whether ky and kx are swapped, before everything else."""
    flip_ky: bool = False
    """Whether ky is reversed, after `transpose`."""
    flip_kx: bool = False
    """Whether kx is reversed, after `transpose`."""
    corner: bool = False
    """Whether zero frequency is at pixel (0, 0), as after an FFT."""
    centre_px: tuple[float, float] | None = None
    """[ky, kx] pixel of zero frequency; null finds the middle of the bright-field disc."""
    crop_px: tuple[int, int] | None = None
    """[ky, kx] pixels to keep around the centre, before binning; null keeps all."""
    bin: int = Field(1, ge=1)
    """Detector pixels to sum along each axis."""
    counts_per_electron: float = Field(1.0, gt=0)
    """The detector's gain: readings are divided by it."""
    threshold: float | None = None
    """Readings below it are set to 0, as dark noise; null keeps them."""

    @field_validator("step_a", mode="before", json_schema_input_type=float | tuple[float, float] | None)
    @classmethod
    def _square(cls, value: Any) -> Any:
        """One number is the same step along y and x."""
        return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _check(self) -> Calibration:
        if (self.reciprocal_pixel is None) == (self.pixel_mrad is None):
            raise InputError(
                "reciprocal_pixel",
                "either it (in 1/A) or pixel_mrad is needed",
                (self.reciprocal_pixel, self.pixel_mrad),
                "Give one of the two.",
            )
        if not LEAST_KV <= self.voltage_kv <= MOST_KV:
            rule = f"must be in kV, {LEAST_KV:g} to {MOST_KV:g}"
            raise InputError("voltage_kv", rule, self.voltage_kv, "Write 200 for 200 kV.")
        angle = self.semiangle_mrad
        if angle is not None and angle >= MOST_RAD / MRAD:
            rule = f"must be in mrad, below {MOST_RAD / MRAD:g}"
            raise InputError("semiangle_mrad", rule, angle, "Write 20 for 20 mrad.")
        if angle is not None and angle * MRAD < self.detector_pixel * wavelength_a(self.voltage_kv):
            pixel = self.detector_pixel * wavelength_a(self.voltage_kv) / MRAD
            rule = f"must be in mrad, and not less than a detector pixel, {pixel:.3g} mrad"
            raise InputError("semiangle_mrad", rule, angle, "Write 20 for 20 mrad, or correct the detector's pixel.")
        for name in ("step_a", "scan_shape", "crop_px"):
            pair = getattr(self, name)
            if pair is not None and min(pair) <= 0:
                raise InputError(name, "must be positive in y and x", pair, "Correct the values.")
        if self.corner and self.centre_px is not None:
            raise InputError("centre_px", "has no meaning with `corner`", self.centre_px, "Give one of the two.")
        return self

    @property
    def detector_pixel(self) -> float:
        """A detector pixel in 1/angstrom."""
        if self.reciprocal_pixel is not None:
            return self.reciprocal_pixel
        return self.pixel_mrad * MRAD / wavelength_a(self.voltage_kv)

    @property
    def optics(self) -> Optics | None:
        """Nominal optics, None without an aperture."""
        if self.semiangle_mrad is None:
            return None
        return Optics(self.voltage_kv, self.semiangle_mrad * MRAD, self.defocus_nm * NM, cs_a=self.cs_mm * MM)

    def positions_a(self, scan_shape: tuple[int, int]) -> np.ndarray:
        """Nominal (position, 2) as (y, x) in angstrom, row by row, the scan's centre at (0, 0)."""
        if self.step_a is None:
            raise InputError("step_a", "is needed without positions", None, "Give the scan step in angstrom.")
        rows, columns = scan_shape
        y = (np.arange(rows) - (rows - 1) / 2)[:, None] * self.step_a[0] + np.zeros(columns)
        x = (np.arange(columns) - (columns - 1) / 2)[None, :] * self.step_a[1] + np.zeros((rows, 1))
        cos, sin = np.cos(np.radians(self.rotation_deg)), np.sin(np.radians(self.rotation_deg))
        return np.stack([x * sin + y * cos, x * cos - y * sin], axis=-1).reshape(-1, 2)
