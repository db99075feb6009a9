"""What the data were told, corrected: optics, scan and camera as a plan says they are, not as the file has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import ConfigDict, Field, model_serializer, model_validator

from ptydesign import waves
from ptydesign.config import Strict
from ptydesign.errors import NOTHING, InputError
from ptydesign.grids import Grid
from ptydesign.types import Dataset, Optics
from ptydesign.units import MM, MRAD, NM, wavelength_a

# Fields that replace one of the optics in angstrom or radian -> (its field of `Optics`, its unit).
PLAIN = {"defocus_nm": ("defocus_a", NM), "cs_mm": ("cs_a", MM), "semiangle_mrad": ("semiangle_rad", MRAD)}
# Aberrations with a direction: two components each, which unlike a direction mean something at 0.
# (components, field of `Optics`, field of its direction, directions in a turn)
DIRECTED = (
    (("astigmatism_0_nm", "astigmatism_45_nm"), "astigmatism_a", "astigmatism_angle_rad", 2),
    (("coma_x_nm", "coma_y_nm"), "coma_a", "coma_angle_rad", 1),
)
OPTICS = (*PLAIN, *(name for names, *_ in DIRECTED for name in names))


class Correction(Strict):
    """What the data were told, corrected; what isn't given stays as the dataset has it.

    The scan is first stretched and sheared, and then turned, about its centre.
    """

    model_config = ConfigDict(title="correction")
    defocus_nm: float | None = Field(None, ge=-100_000, le=100_000)
    """Defocus in nm, instead of the dataset's; positive is underfocus."""
    astigmatism_0_nm: float | None = None
    """Component of twofold astigmatism along x in nm: amplitude times cos(2 angle); instead of the dataset's."""
    astigmatism_45_nm: float | None = None
    """Component along 45 degrees from x towards y in nm: amplitude times sin(2 angle)."""
    coma_x_nm: float | None = None
    """Component of axial coma along x in nm: amplitude times cos(angle); instead of the dataset's."""
    coma_y_nm: float | None = None
    """Component of axial coma along y in nm: amplitude times sin(angle)."""
    cs_mm: float | None = None
    """Spherical aberration in mm, instead of the dataset's."""
    semiangle_mrad: float | None = Field(None, gt=0, lt=200)
    """Semi-angle of the aperture in mrad, instead of the dataset's; not with a guess of the probe."""
    rotation_deg: float = 0.0
    """Angle in degrees by which the scan's positions are turned further, as `--rotation-deg` of import."""
    scan_scale: float = Field(1.0, gt=0.1, lt=10)
    """Factor of the distances between positions."""
    scan_aspect: float = Field(1.0, gt=0.1, lt=10)
    """Further factor of distances along y."""
    scan_shear: float = Field(0.0, gt=-1, lt=1)
    """What is added to x for each unit of y."""
    pixel_scale: float = Field(1.0, gt=0.1, lt=10)
    """Factor of the detector pixel's angle; the real-space pixel shrinks by it."""
    tilt_y_mrad: float = Field(0.0, gt=-200, lt=200)
    """Tilt along y of a specimen of several slices, in mrad, at the start."""
    tilt_x_mrad: float = Field(0.0, gt=-200, lt=200)
    """Tilt along x of a specimen of several slices, in mrad, at the start."""
    mtf_nyquist: float = Field(1.0, gt=0, le=1)
    """The detector's MTF at the Nyquist frequency of its pixels, by which patterns are blurred; 1 is a detector that
    blurs nothing. It takes more time."""

    @model_serializer(mode="wrap")
    def _only_what_is_given(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        plain = Correction.model_fields
        return {name: value for name, value in handler(self).items() if getattr(self, name) != plain[name].default}

    @property
    def tilt_rad(self) -> Float[np.ndarray, " 2"]:
        """(y, x)."""
        return np.array([self.tilt_y_mrad, self.tilt_x_mrad]) * MRAD

    @property
    def scan_matrix(self) -> Float[np.ndarray, "2 2"]:
        """What the positions' distances (y, x) from their centre are multiplied by, from the left."""
        angle = np.radians(self.rotation_deg)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return self.scan_scale * turn @ np.array([[self.scan_aspect, 0.0], [self.scan_shear, 1.0]])

    def applied(self, dataset: Dataset) -> Dataset:
        """The dataset with these values. Raises InputError where it has nothing that they could correct."""
        if self == Correction():
            return dataset
        positions = np.asarray(dataset.positions_a, float)
        centre = (positions.min(axis=0) + positions.max(axis=0)) / 2
        matrix = self.scan_matrix
        if not np.array_equal(matrix, np.eye(2)):
            positions = centre + (positions - centre) @ matrix.T
        grid = Grid(dataset.grid.shape, tuple(p / self.pixel_scale for p in dataset.grid.pixel_a))
        given = {name: getattr(self, name) for name in OPTICS if getattr(self, name) is not None}
        optics, guess = dataset.optics, dataset.probe_guess
        if given:
            if optics is None:
                name = next(iter(given))
                mend = "Give semiangle_mrad when you import it."
                raise InputError(f"correction.{name}", "needs a dataset with optics", given[name], mend)
            optics = corrected_optics(optics, given)
            if guess is not None:
                guess = self._aberrated(np.asarray(guess), grid, dataset.optics, optics)
        return dataclasses.replace(
            dataset, positions_a=positions, grid=grid, optics=optics, probe_guess=guess, mtf_nyquist=self.mtf_nyquist
        )

    def _aberrated(self, guess: np.ndarray, grid: Grid, told: Optics, corrected: Optics) -> np.ndarray:
        """A guess of the probe with the aberrations by which the corrected optics differ from the told ones."""
        if corrected.semiangle_rad != told.semiangle_rad:
            rule = "can't be changed where a guess gives the probe"
            raise InputError("correction.semiangle_mrad", rule, self.semiangle_mrad, "Import without the guess.")
        wavelength = wavelength_a(told.voltage_kv)
        old, new = (waves.aberration_phase(grid, wavelength, **o.aberrations) for o in (told, corrected))
        spectrum = np.fft.fft2(np.fft.ifftshift(guess, axes=(-2, -1))) * np.exp(-1j * (new - old))
        return np.fft.fftshift(np.fft.ifft2(spectrum), axes=(-2, -1))


SHARED = ("pixel_scale", "mtf_nyquist", "tilt_y_mrad", "tilt_x_mrad")  # of one detector and one specimen


class ScanStart(Strict):
    """What is known of a further scan of the same object."""

    model_config = ConfigDict(title="scan")
    shift_y_a: float = 0.0
    """How far its positions are shifted along y in angstrom before anything is refined."""
    shift_x_a: float = 0.0
    """How far its positions are shifted along x in angstrom before anything is refined."""
    correction: Correction = Correction()
    """What this scan was told, corrected, where it differs from the plan's correction."""

    @model_validator(mode="after")
    def _own(self) -> ScanStart:
        for name in SHARED:
            if name in self.correction.model_fields_set:
                mend = "Give it in the plan's own correction."
                raise InputError(
                    f"correction.{name}", "is the same for all scans", getattr(self.correction, name), mend
                )
        return self

    def applied(self, dataset: Dataset, common: Correction) -> Dataset:
        """A further scan, corrected; common: of all scans."""
        own = {name: getattr(self.correction, name) for name in self.correction.model_fields_set}
        moved = common.model_copy(update=own).applied(dataset)
        return dataclasses.replace(moved, positions_a=moved.positions_a + np.array([self.shift_y_a, self.shift_x_a]))


def told(dataset: Dataset, name: str) -> float:
    """What a dataset was told of one of `OPTICS`. Raises InputError if it was told no optics."""
    optics = dataset.optics
    if optics is None:
        raise InputError(f"correction.{name}", "needs a dataset with optics", NOTHING, "Give semiangle_mrad to import.")
    if name in PLAIN:
        field, unit = PLAIN[name]
        return getattr(optics, field) / unit
    for names, field, direction, turns in DIRECTED:
        if name in names:
            part = (np.cos, np.sin)[names.index(name)](turns * getattr(optics, direction))
            return float(getattr(optics, field) * part / NM)
    raise KeyError(name)


def corrected_optics(optics: Optics, given: Mapping[str, float]) -> Optics:
    """Optics with some of `OPTICS` replaced."""
    changes = {PLAIN[name][0]: value * PLAIN[name][1] for name, value in given.items() if name in PLAIN}
    for names, field, direction, turns in DIRECTED:
        if any(name in given for name in names):
            size, angle = getattr(optics, field), turns * getattr(optics, direction)
            first = given.get(names[0], size * np.cos(angle) / NM) * NM
            second = given.get(names[1], size * np.sin(angle) / NM) * NM
            changes |= {field: float(np.hypot(first, second)), direction: float(np.arctan2(second, first)) / turns}
    return dataclasses.replace(optics, **changes)
