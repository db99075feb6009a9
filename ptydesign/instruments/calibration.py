"""What an operator knows of a measurement and a file doesn't say: energy, optics, scan, camera, orientation."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from ptydesign.config import Strict
from ptydesign.errors import NOTHING, InputError
from ptydesign.types import LEAST_KV, MOST_KV, MOST_RAD, Optics
from ptydesign.units import MM, MRAD, NM, wavelength_a


class Calibration(Strict):
    """Calibration of a 4D dataset. Transposition and flips come first: all that follows is in turned patterns.

    Pairs are (y, x); one number is both. Pixels are the detector's own, before binning.
    """

    voltage_kv: float = Field(gt=0)
    """Acceleration voltage of the microscope in kV."""
    semiangle_mrad: float | None = Field(None, gt=0)
    """Semi-angle of the aperture in mrad; needed without a guess of the probe."""
    defocus_nm: float = Field(0.0)
    """Defocus in nm; positive is underfocus."""
    cs_mm: float = Field(0.0)
    """Spherical aberration in mm."""
    step_a: tuple[float, float] | None = Field(None)
    """Scan step in angstrom, one number or (y, x); needed without a file of positions."""
    scan_shape: tuple[int, int] | None = Field(None)
    """Rows and columns, where the file doesn't say."""
    rotation_deg: float = Field(0.0)
    """Turn of the scan's x axis from the detector's kx towards ky, in degrees."""
    reshape: bool = Field(False)
    """Whether scan_shape overrules the shape that the file has."""
    reciprocal_pixel: tuple[float, float] | None = Field(None)
    """Detector pixel in 1/angstrom, q and not 2 pi q; one number or (y, x)."""
    pixel_mrad: tuple[float, float] | None = Field(None)
    """Angle of a detector pixel in mrad, instead of reciprocal_pixel; one number or (y, x)."""
    scan_last: bool = Field(False)
    """Whether the array's last two axes are the scan."""
    transpose: bool = Field(False)
    """Whether to swap ky and kx."""
    flip_ky: bool = Field(False)
    """Whether to reverse the axis ky."""
    flip_kx: bool = Field(False)
    """Whether to reverse the axis kx."""
    corner: bool = Field(False)
    """Whether zero frequency is at pixel (0, 0), as after an FFT."""
    centre_px: tuple[float, float] | None = Field(None)
    """Zero frequency in turned pixels; found from the data by default."""
    crop_px: tuple[int, int] | None = Field(None)
    """Detector pixels (y, x) to keep around the centre."""
    bin: int = Field(1, ge=1)
    """Detector pixels to sum along each axis."""
    counts_per_electron: float = Field(1.0, gt=0)
    """Gain of the detector: what it reads for one electron."""
    threshold: float | None = Field(None)
    """Readings below it are set to 0: dark noise."""
    skip_frames: str | None = Field(None)
    """Frames to leave out, as 0,5:9,16::17, or bad: those found bad."""
    scan_crop: str | None = Field(None)
    """Rows and columns to keep, as y0:y1,x0:x1."""
    mask_marks: Literal["good", "bad"] | None = Field(None)
    """What a 1 in the mask says of a pixel."""
    repair_pixels: Literal["mask", "fill"] | None = Field(None)
    """What to do with hot and dead ones: mask or fill them."""
    descan: Literal["plane", "quadratic"] | None = Field(None)
    """Surface of the beam's centre over the scan that is taken out."""

    @field_validator(
        "step_a",
        "reciprocal_pixel",
        "pixel_mrad",
        mode="before",
        json_schema_input_type=float | tuple[float, float] | None,
    )
    @classmethod
    def _square(cls, value: Any) -> Any:
        """One number is the same along y and x."""
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
        for name in ("step_a", "scan_shape", "crop_px", "reciprocal_pixel", "pixel_mrad"):
            pair = getattr(self, name)
            if pair is not None and min(pair) <= 0:
                raise InputError(name, "must be positive in y and x", pair, "Correct the values.")
        pixel = max(self.detector_pixel) * wavelength_a(self.voltage_kv) / MRAD
        if angle is not None and angle < pixel:
            rule = f"must be in mrad, and not less than a detector pixel, {pixel:.3g} mrad"
            raise InputError("semiangle_mrad", rule, angle, "Write 20 for 20 mrad, or correct the detector's pixel.")
        if self.corner and self.centre_px is not None:
            raise InputError("centre_px", "has no meaning with `corner`", self.centre_px, "Give one of the two.")
        return self

    @property
    def detector_pixel(self) -> tuple[float, float]:
        """A detector pixel (ky, kx) in 1/angstrom, of turned patterns."""
        if self.reciprocal_pixel is not None:
            return self.reciprocal_pixel
        first, second = (angle * MRAD / wavelength_a(self.voltage_kv) for angle in self.pixel_mrad)
        return first, second

    @property
    def optics(self) -> Optics | None:
        """Nominal optics, None without an aperture."""
        if self.semiangle_mrad is None:
            return None
        return Optics(self.voltage_kv, self.semiangle_mrad * MRAD, self.defocus_nm * NM, cs_a=self.cs_mm * MM)

    def positions_a(self, scan_shape: tuple[int, int]) -> np.ndarray:
        """Nominal (position, 2) as (y, x) in angstrom, row by row, the scan's centre at (0, 0)."""
        if self.step_a is None:
            raise InputError("step_a", "is needed without positions", NOTHING, "Give the scan step in angstrom.")
        rows, columns = scan_shape
        y = (np.arange(rows) - (rows - 1) / 2)[:, None] * self.step_a[0] + np.zeros(columns)
        x = (np.arange(columns) - (columns - 1) / 2)[None, :] * self.step_a[1] + np.zeros((rows, 1))
        cos, sin = np.cos(np.radians(self.rotation_deg)), np.sin(np.radians(self.rotation_deg))
        return np.stack([x * sin + y * cos, x * cos - y * sin], axis=-1).reshape(-1, 2)
