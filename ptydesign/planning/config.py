"""The plan file: a sample, an instrument, a detector, a goal; and how much is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from ptydesign.config import Strict
from ptydesign.design.settings import SearchConfig
from ptydesign.errors import InputError
from ptydesign.planning.detectors import DetectorNumbers
from ptydesign.reconstruct.plan import Plan
from ptydesign.simulate.specimen import SampleConfig
from ptydesign.study.file import FOLDER_NAME

Dose = Annotated[float, Field(gt=0, le=1e9)]
Voltage = Annotated[float, Field(ge=10, le=1000)]
Aperture = Annotated[float, Field(gt=0, le=200)]
LEAST_CURRENT_PA = 0.2  # below, the largest of a list is in nanoampere
LEAST_APERTURE_MRAD = 1.0  # below, a list of apertures is in radian
DEFOCUS_NM = (1.0, 1e5)  # the largest defocus of a range: less is finer than one can focus, more is no probe
NM_PER = {"um": 1e3, "angstrom": 0.1, "mm": 1e6, "pm": 1e-3, "m": 1e9}


class Range(Strict):
    """A range that can be set continuously."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.low > self.high:
            raise InputError("low", "must not exceed high", (self.low, self.high), "Exchange them.")
        return self

    @property
    def largest(self) -> float:
        """The largest magnitude in it."""
        return max(abs(self.low), abs(self.high))

    def if_in(self, unit: str, factor: float) -> str:
        """What to write instead of a range in another unit."""
        return f"If it is in {unit}, write {{low: {factor * self.low:g}, high: {factor * self.high:g}}}."


class PositiveRange(Range):
    """A range of positive numbers."""

    low: PositiveFloat
    high: PositiveFloat


class Conventions(Strict):
    """How the microscope's software counts. ptydesign's own: underfocus is positive, angles turn from +x towards +y
    (clockwise on a screen whose y points down)."""

    defocus_positive: Literal["underfocus", "overfocus"] = Field(
        "underfocus", description="what a positive number means on the microscope's defocus display"
    )
    rotation_positive: Literal["clockwise", "counterclockwise"] = Field(
        "clockwise", description="how a positive scan rotation turns the scan, seen on the screen"
    )
    scan_rotation_deg: float = Field(
        0.0, description="rotation between scan and detector as the microscope shows it; goes into the plan for the day"
    )


def _if_in(unit: str, values: Sequence[float], factor: float) -> str:
    """What to write instead of values in another unit."""
    return f"If they are in {unit}, write [{', '.join(f'{factor * v:g}' for v in values)}]."


class InstrumentConfig(Strict):
    """What the microscope can do. Lists are what exists: nothing between two entries can be set."""

    name: str = "microscope"
    voltages_kv: tuple[Voltage, ...] = Field(min_length=1, description="accelerating voltages that are aligned")
    apertures_mrad: tuple[Aperture, ...] = Field(min_length=1, description="semi-angles of the apertures that exist")
    defocus_nm: Range = Field(
        description="range of defocus, in the microscope's own sign; {low: 0, high: 0}: in focus only"
    )
    step_a: PositiveRange = Field(description="scan steps that the scan generator can do")
    camera_lengths_mm: tuple[PositiveFloat, ...] | None = Field(
        None, description="camera lengths that exist; the angle of a pixel is pitch / camera length"
    )
    pixels_mrad: tuple[PositiveFloat, ...] | None = Field(
        None, description="instead of camera_lengths_mm: calibrated angle of a physical detector pixel, for each"
    )
    currents_pa: tuple[PositiveFloat, ...] = Field(min_length=1, description="beam currents that can be set")
    dwell_us: PositiveRange = Field(
        PositiveRange(low=0.5, high=1e5), description="dwell times that the scan generator can do"
    )
    flyback_us: float = Field(0.0, ge=0, le=1e6, description="after each line of the scan")
    drift_a_per_min: float = Field(0.0, ge=0, description="of the stage, after it has settled")
    source_size_a: float = Field(0.0, ge=0, le=5, description="demagnified, 1-D rms")
    focal_spread_nm: float = Field(0.0, ge=0, description="1-D rms")
    cs_mm: float = Field(0.0, ge=-10, le=10, description="spherical aberration")
    defocus_error_nm: float = Field(2.0, ge=0, description="how well the defocus is known, 1 standard deviation")
    position_jitter_a: float = Field(0.0, ge=0, description="of the scan, 1-D rms")
    conventions: Conventions = Conventions()

    @field_validator("voltages_kv", "apertures_mrad", "currents_pa", "camera_lengths_mm", "pixels_mrad")
    @classmethod
    def _rising(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if values is not None and len(set(values)) < len(values):
            raise InputError("list", "must hold each value once", list(values), "Remove the repeated one.")
        return values if values is None else tuple(sorted(values))

    @field_validator("defocus_nm")
    @classmethod
    def _in_nm(cls, limits: Range) -> Range:
        (least, most), largest = DEFOCUS_NM, limits.largest
        if largest and not least <= largest <= most:
            rule = f"must be in nm, and reach {least:g} to {most:g} nm from focus"
            units = [unit for unit, factor in NM_PER.items() if least <= factor * largest <= most]
            mend = limits.if_in(units[0], NM_PER[units[0]]) if units else ""
            focus = "In focus only is {low: 0, high: 0}." if largest < least else ""
            raise InputError("defocus_nm", rule, [limits.low, limits.high], f"{mend} {focus}".strip() or "Give nm.")
        return limits

    @field_validator("apertures_mrad")
    @classmethod
    def _not_in_radian(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if min(values) < LEAST_APERTURE_MRAD:
            rule = f"must be semi-angles in mrad, {LEAST_APERTURE_MRAD:g} or more"
            raise InputError("apertures_mrad", rule, list(values), _if_in("rad", values, 1e3))
        return values

    @field_validator("currents_pa")
    @classmethod
    def _not_in_nanoampere(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if max(values) < LEAST_CURRENT_PA:
            rule = f"must be in pA, the largest {LEAST_CURRENT_PA:g} pA or more"
            raise InputError("currents_pa", rule, list(values), _if_in("nA", values, 1e3))
        return values

    @field_validator("voltages_kv", mode="before")
    @classmethod
    def _not_in_volt(cls, values: Any) -> Any:
        given = values if isinstance(values, list | tuple) else []
        if any(isinstance(v, int | float) and v > 1000 for v in given):
            raise InputError("voltages_kv", "must be in kV", list(given), _if_in("V", given, 1e-3))
        return values

    @model_validator(mode="after")
    def _one_camera(self) -> InstrumentConfig:
        if (self.camera_lengths_mm is None) == (self.pixels_mrad is None):
            rule = "one of camera_lengths_mm and pixels_mrad is needed, and only one"
            given, mend = ("both", "Keep the one that is calibrated.") if self.pixels_mrad else ("neither", "Add one.")
            raise InputError("camera_lengths_mm", rule, given, mend)
        return self


class DetectorChoice(Strict):
    """A detector of the data file by name; `override` replaces its numbers. bin: pixels summed along an axis, on the
    detector or before the reconstruction; it must divide both sides of the detector."""

    name: str
    bin: PositiveInt = 1
    override: DetectorNumbers = DetectorNumbers()


class GoalConfig(Strict):
    """What is wanted. doses: the largest is the limit that the specimen stands; smaller ones are planned too, for the
    front of quality against dose. field_of_view_a: [y, x] of the scan on the day."""

    doses_e_per_a2: tuple[Dose, ...] = Field(min_length=1)
    resolution_a: PositiveFloat = 1.0
    time_limit_s: PositiveFloat | None = None
    field_of_view_a: tuple[PositiveFloat, PositiveFloat] = (200.0, 200.0)
    depth: bool = Field(False, description="is the structure along the beam wanted? (several slices)")

    @field_validator("doses_e_per_a2")
    @classmethod
    def _sorted(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(doses)) < len(doses):
            raise InputError("doses_e_per_a2", "must differ", list(doses), "List each dose once.")
        return tuple(sorted(doses))

    @property
    def dose_limit(self) -> float:
        """The largest dose: the plan that the sheet is written for."""
        return self.doses_e_per_a2[-1]


class SettingConfig(Strict):
    """A setting in the microscope's units and sign; what is left out is filled by the rule of thumb."""

    voltage_kv: float | None = None
    semiangle_mrad: float | None = None
    defocus_nm: float | None = None
    step_a: float | None = None
    camera: float | None = Field(None, description="camera length in mm, or angle of a pixel in mrad, as in the lists")


class SimulationConfig(Strict):
    """The piece that is simulated: small, since the best settings don't depend on the size of the scan."""

    field_of_view_a: tuple[PositiveFloat, PositiveFloat] = (20.0, 20.0)
    slice_thickness_a: PositiveFloat | None = Field(
        None, description="of the simulation; none: a projected, single slice"
    )
    parametrization: Literal["kirkland", "lobato"] = "kirkland"
    thermal_sigma_a: float = Field(0.0, ge=0, description="1-D rms thermal displacement of all atoms")


class RobustnessConfig(Strict):
    """How candidates are tried again under errors that nobody sets on purpose.

    A draw has its own noise, a defocus error (normal, instrument.defocus_error_nm), drift (0 to 2 times the
    instrument's, any direction), the source (0.5 to 1.5 times its size) and focal spread, and for a specimen in slices
    a mistilt (normal) and a thickness (thinner, as planned, thicker).
    """

    candidates: PositiveInt = Field(3, description="designs that are tried again: the winner and its neighbours")
    repeats: PositiveInt = Field(3, description="fresh noise and fresh starts without any error")
    tolerance_repeats: PositiveInt = Field(1, description="fresh noise for each value that is tried for a tolerance")
    draws: PositiveInt = Field(8, description="draws of all errors together; how often a design fails is of these")
    thickness_error: float = Field(0.2, ge=0, lt=1, description="fraction by which the specimen may differ")
    tilt_mrad: float = Field(5.0, ge=0, description="mistilt of a specimen in slices, 1-D rms")
    failed_below: float = Field(0.5, gt=0, lt=1, description="fraction of the design's own score that counts as failed")


class PlanningStudy(Strict):
    """A plan. `study` and `scale` are set when it is loaded."""

    study: str = Field(pattern=FOLDER_NAME)
    scale: Literal["smoke", "preview", "paper"] = "preview"
    title: str
    seed: int = Field(0, ge=0, lt=2**31)
    sample: SampleConfig
    instrument: InstrumentConfig
    detector: DetectorChoice
    goal: GoalConfig
    expert: SettingConfig = SettingConfig()
    simulation: SimulationConfig = SimulationConfig()
    search: SearchConfig = SearchConfig(initial=12, points=24, batch=8)
    reconstruction: Plan | None = None
    robustness: RobustnessConfig = RobustnessConfig()
    chunk: PositiveInt = Field(4, description="trials of one job; no number depends on it")
