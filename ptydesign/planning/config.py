"""The plan file: a sample, an instrument, a detector, a goal; and how much is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ptydesign.config import Count, Strict
from ptydesign.design.settings import SearchConfig
from ptydesign.errors import InputError, nearest
from ptydesign.planning.aberrations import Aberrations, place_of
from ptydesign.planning.detectors import DetectorNumbers, check_known
from ptydesign.planning.goal import GoalConfig
from ptydesign.planning.gun import GunConfig, SourceAt
from ptydesign.reconstruct.plan import Plan
from ptydesign.simulate.specimen import SampleConfig
from ptydesign.study.file import FOLDER_NAME, Title

Voltage = Annotated[float, Field(ge=10, le=1000)]
Aperture = Annotated[float, Field(gt=0, le=200)]
LEAST_CURRENT_PA = 0.2  # below, the largest of a list is in nanoampere
LEAST_APERTURE_MRAD, MOST_APERTURE_MRAD = 1.0, 90.0  # below, a list is in radian; above, it has diameters in um
LEAST_PIXEL_MRAD = 0.004  # below, the largest angle of a pixel is in radian
DEFOCUS_NM = (1.0, 1e5)  # the largest defocus of a range: less is finer than one can focus, more is no probe
NM_PER = {"um": 1e3, "angstrom": 0.1, "mm": 1e6, "pm": 1e-3, "m": 1e9}


class Range(Strict):
    """A range that can be set continuously."""

    low: float
    """Lower end of the range."""
    high: float
    """Upper end of the range; not below `low`."""

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
        return f"If it is in {unit}, write {self.as_in(factor)}."

    def as_in(self, factor: float) -> str:
        """As it would be written in a unit that is `factor` times as large."""
        return f"{{low: {factor * self.low:g}, high: {factor * self.high:g}}}"


class PositiveRange(Range):
    """A range of positive numbers."""

    low: PositiveFloat
    """Lower end of the range, above zero."""
    high: PositiveFloat
    """Upper end of the range; not below `low`."""


class Conventions(Strict):
    """How the microscope's software counts. ptydesign's own: underfocus is positive, angles turn from +x towards +y
    (clockwise on a screen whose y points down)."""

    defocus_positive: Literal["underfocus", "overfocus"] = "underfocus"
    """What a positive number means on the microscope's defocus display."""
    rotation_positive: Literal["clockwise", "counterclockwise"] = "clockwise"
    """How a positive scan rotation turns the scan, seen on the screen."""
    scan_rotation_deg: float = 0.0
    """Rotation between scan and detector in degrees, as the microscope shows it; it goes into the files for the day."""


def _if_in(unit: str, values: Sequence[float], factor: float) -> str:
    """What to write instead of values in another unit."""
    return f"If they are in {unit}, write [{', '.join(f'{factor * v:g}' for v in values)}]."


class InstrumentConfig(Strict):
    """What the microscope can do. Lists are what exists: nothing between two entries can be set."""

    name: str = "microscope"
    """What the sheet calls the microscope."""
    voltages_kv: tuple[Voltage, ...] = Field(min_length=1)
    """Accelerating voltages in kV that are aligned."""
    apertures_mrad: tuple[Aperture, ...] = Field(min_length=1)
    """Convergence semi-angles in mrad of the apertures that exist."""
    defocus_nm: Range
    """Range of defocus in nm, in the microscope's own sign; `{low: 0, high: 0}` is in focus only."""
    step_a: PositiveRange
    """Range of scan steps in angstrom that the scan generator can do."""
    camera_lengths_mm: tuple[PositiveFloat, ...] | None = None
    """Camera lengths in mm that exist; the angle of a pixel is its pitch divided by the camera length."""
    pixels_mrad: tuple[PositiveFloat, ...] | None = None
    """Instead of `camera_lengths_mm`: the calibrated angle of a physical detector pixel in mrad, for each camera
    length."""
    currents_pa: tuple[PositiveFloat, ...] = Field(min_length=1)
    """Beam currents in pA that can be set and measured."""
    dwell_us: PositiveRange = PositiveRange(low=0.5, high=1e5)
    """Range of dwell times in microseconds that the scan generator can do."""
    flyback_us: float = Field(0.0, ge=0, le=1e6)
    """Time in microseconds that is lost after each line of the scan."""
    beam_blanked_in_flyback: bool = True
    """Whether the beam is off while the scan flies back; if it isn't, the flyback is part of the dose."""
    drift_a_per_min: float = Field(0.0, ge=0)
    """Drift of the stage in angstrom per minute, after it has settled."""
    drift_direction_deg: float | None = Field(None, ge=-360, le=360)
    """Direction in which the stage drifts, in degrees from +x towards +y of the scan; null is not known, and every draw
    of errors has its own."""
    gun: GunConfig | None = None
    """The electron gun: source size and focal spread then follow from it for each voltage, aperture and current."""
    source_size_a: float = Field(0.0, ge=0, le=5)
    """Size of the demagnified source at the specimen in angstrom, 1-D rms, as it was measured; instead of the gun's
    brightness."""
    source_at: SourceAt | None = None
    """The setting at which `source_size_a` was measured: it then scales to other currents, apertures and voltages as
    that of a gun does. null: it is the same at all settings."""
    focal_spread_nm: float = Field(0.0, ge=0)
    """Focal spread in nm, 1-D rms; from energy spread and chromatic aberration."""
    cc_mm: float = Field(0.0, ge=0, le=20)
    """Chromatic aberration Cc of the probe in mm, instead of `focal_spread_nm`: the spread follows from it and the
    gun's energies."""
    cs_mm: float = Field(0.0, ge=-10, le=10)
    """Spherical aberration C3 in mm; 0 for a corrected microscope."""
    aberrations: Aberrations = Aberrations()
    """Other aberrations: what is known of them, and what is left unknown after alignment."""
    defocus_error_nm: float = Field(2.0, ge=0)
    """How well the defocus is known, one standard deviation in nm; draws of errors have it."""
    position_jitter_a: float = Field(0.0, ge=0)
    """Random error of each scan position along y and x in angstrom, 1-D rms."""
    line_noise_a: float = Field(0.0, ge=0)
    """Random error along y and x of whole lines of the scan, as from mains hum, in angstrom, 1-D rms."""
    affine_error: float = Field(0.0, ge=0, le=0.1)
    """How well the scan's calibration is known: one standard deviation of its scale, of y against x, and of its shear,
    as fractions; draws of errors have all three."""
    rotation_error_deg: float = Field(0.0, ge=0, le=20)
    """How well the rotation between scan and detector is known, one standard deviation in degrees; draws of errors have
    it."""
    energy_filter: bool | None = None
    """Whether electrons that lost energy in the specimen are filtered out (true), or are counted in slightly blurred
    patterns (false); how many follows from its density and thickness. null leaves energy losses out."""
    conventions: Conventions = Conventions()
    """How the microscope's software counts defocus and rotation."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Where numbers are from, by the names of their fields; for an instrument that is kept as a file."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Written as before there was `energy_filter`: what was planned stays valid."""
        return {name: value for name, value in handler(self).items() if name != "energy_filter" or value is not None}

    @classmethod
    def instead_of(cls, key: str, value: Any) -> str:
        """Where an aberration belongs."""
        return place_of(key)

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
        if max(values) > MOST_APERTURE_MRAD:
            rule = f"must be semi-angles in mrad, at most {MOST_APERTURE_MRAD:g}"
            mend = "If they are the apertures' diameters in um, give the semi-angles that they make on your microscope."
            raise InputError("apertures_mrad", rule, list(values), mend)
        return values

    @field_validator("pixels_mrad")
    @classmethod
    def _pixels_not_in_radian(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if values is not None and max(values) < LEAST_PIXEL_MRAD:
            rule = f"must be in mrad, the largest {LEAST_PIXEL_MRAD:g} or more"
            raise InputError("pixels_mrad", rule, list(values), _if_in("rad", values, 1e3))
        return values

    @field_validator("currents_pa")
    @classmethod
    def _not_in_nanoampere(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if max(values) < LEAST_CURRENT_PA:
            rule = f"must be in pA, the largest {LEAST_CURRENT_PA:g} pA or more"
            unit, factor = ("nA", 1e3) if 1e3 * max(values) >= LEAST_CURRENT_PA else ("A", 1e12)
            raise InputError("currents_pa", rule, list(values), _if_in(unit, values, factor))
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

    @field_validator("sources")
    @classmethod
    def _of_fields(cls, sources: dict[str, str]) -> dict[str, str]:
        for name in sources:
            if name not in cls.model_fields:
                raise InputError("sources", "must name fields of the instrument", name, nearest(name, cls.model_fields))
        return sources

    @model_validator(mode="after")
    def _one_source(self) -> InstrumentConfig:
        """The size of the source and the focal spread, each from one place."""
        if self.source_at is not None and not self.source_size_a:
            rule = "is where source_size_a was measured, which isn't given"
            raise InputError(
                "source_at", rule, self.source_at.model_dump(), "Give source_size_a too, or a gun instead."
            )
        if self.gun is not None and self.source_size_a and self.source_at is None:
            rule = "must say with a gun at which setting it was measured: it depends on the current"
            mend = "Add source_at: {voltage_kv: ..., semiangle_mrad: ..., current_pa: ...}, or leave source_size_a out."
            raise InputError("source_size_a", rule, self.source_size_a, mend)
        if self.gun is not None and self.source_at is not None and self.gun.reduced_brightness_a_per_m2_sr_v:
            rule = "must be left out where a source was measured, from which it follows"
            mend = "Keep it, or source_size_a with source_at."
            value = self.gun.reduced_brightness_a_per_m2_sr_v
            raise InputError("gun.reduced_brightness_a_per_m2_sr_v", rule, value, mend)
        if self.cc_mm and self.focal_spread_nm:
            rule = "must be left out where focal_spread_nm is given, which follows from it"
            raise InputError("cc_mm", rule, self.cc_mm, "Keep the one that was measured.")
        if self.cc_mm and self.gun is None:
            rule = "needs a gun, whose energies it spreads"
            raise InputError("cc_mm", rule, self.cc_mm, "Add gun: {kind: schottky}, or give focal_spread_nm instead.")
        return self


class DetectorChoice(Strict):
    """A detector of the data file by name; `ptydesign detectors` lists them."""

    name: str
    """Name from `ptydesign detectors`; another one needs its numbers in `override`."""
    bin: PositiveInt = 1
    """Pixels summed along each axis, on the detector or before the reconstruction; it must divide both sides of the
    detector."""
    override: DetectorNumbers = DetectorNumbers()
    """Numbers of your detector that differ from the data file's."""

    @model_validator(mode="after")
    def _known(self) -> DetectorChoice:
        try:
            check_known(self.name, self.override)
        except InputError as error:
            raise error.at("name") from None
        return self


class SettingConfig(Strict):
    """A setting in the microscope's units and sign; what is left out is filled by the rule of thumb."""

    voltage_kv: float | None = None
    """Accelerating voltage in kV, one of the instrument's."""
    semiangle_mrad: float | None = None
    """Convergence semi-angle in mrad, one of the instrument's apertures."""
    defocus_nm: float | None = None
    """Defocus in nm, in the microscope's own sign."""
    step_a: float | None = None
    """Scan step in angstrom."""
    camera: float | None = None
    """Camera length in mm, or angle of a pixel in mrad, as in the instrument's list."""


class SimulationConfig(Strict):
    """The piece that is simulated: small, and scanned with a margin that gives each of its parts the whole dose."""

    field_of_view_a: tuple[PositiveFloat, PositiveFloat] = (20.0, 20.0)
    """[y, x] size in angstrom of the piece that is scored; larger pieces take longer, and the scan has a margin that
    follows from the setting."""
    slice_thickness_a: PositiveFloat | None = None
    """Thickness in angstrom of the simulation's slices; null projects the sample into a single one."""
    parametrization: Literal["kirkland", "lobato"] = "kirkland"
    """Table of the atoms' scattering factors."""
    thermal_sigma_a: float = Field(0.0, ge=0)
    """Thermal displacement of all atoms in angstrom, 1-D rms; 0 is atoms at rest."""
    phonons: int = Field(0, ge=0, le=64)
    """Snapshots of the displaced atoms whose patterns are averaged, with diffuse scattering; time and memory grow with
    them. 0 is their time average, a Debye-Waller factor."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Written as before there were `phonons`: what was planned stays valid."""
        return {name: value for name, value in handler(self).items() if name != "phonons" or value}

    @model_validator(mode="after")
    def _moving(self) -> SimulationConfig:
        if self.phonons and not self.thermal_sigma_a:
            mend = "Give it, as 0.08, or leave phonons out."
            raise InputError("thermal_sigma_a", "must be greater than 0 for phonons", self.thermal_sigma_a, mend)
        return self


class RobustnessConfig(Strict):
    """How candidates are tried again under errors that nobody sets on purpose.

    A draw has its own noise, a defocus error (normal, instrument.defocus_error_nm), drift (0 to 2 times the
    instrument's, any direction unless it is known), source size and focal spread (each 0.5 to 1.5 times as large as
    planned), what alignment leaves of aberrations, errors of the scan's scale, aspect, shear and rotation (normal), and
    for a specimen in slices a mistilt (normal) and a thickness (thinner, as planned, thicker). What is known, source
    size and focal spread as planned among it, is in every trial.
    """

    candidates: Annotated[int, Field(ge=1, le=100)] = 3
    """How many designs are tried again: the winner and those next to it."""
    repeats: Count = 3
    """Simulations of each design as it is planned, with fresh noise; two or more give a spread."""
    tolerance_repeats: Count = 1
    """Simulations with fresh noise of each value that is tried for a tolerance."""
    draws: Count = 30
    """Draws of all errors together, the same for every design; designs are compared draw by draw, and how often one
    fails is counted in these. With fewer than 30 the failures are a count, not a rate."""
    zone: float = Field(0.01, ge=0)
    """Indifference zone in SSIM: the rule of thumb is recommended where no design is better by more, as far as the
    draws tell."""
    thickness_error: float = Field(0.2, ge=0, lt=1)
    """Fraction by which the specimen may be thinner or thicker; for structures in slices with a `thickness_a`."""
    tilt_mrad: float = Field(5.0, ge=0)
    """Mistilt of the specimen along y and along x in mrad, 1-D rms; for specimens in slices."""
    failed_below: float = Field(0.5, gt=0, lt=1)
    """A draw counts as failed below this fraction of the rule of thumb's score without errors."""
    least_score: float | None = Field(None, gt=0, lt=1)
    """A draw counts as failed below this SSIM, instead of `failed_below`: the worst picture that still serves."""


def _or_a_name(schema: dict[str, Any]) -> None:
    """The schema of a section that a plan may also include by name."""
    schema["anyOf"] = [{"$ref": schema.pop("$ref")}, {"type": "string"}]


class PlanningStudy(Strict):
    """An experiment that is planned before beam time, at one scale."""

    study: str = Field(pattern=FOLDER_NAME)
    """Name of the study's folder; not in the file."""
    scale: Literal["smoke", "preview", "paper"] = "preview"
    """Scale of the run; not in the file."""
    title: Title
    """What heads the sheet and the report."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Start of all random numbers; another seed repeats the study with other noise."""
    sample: SampleConfig
    """The specimen, as you expect it."""
    instrument: InstrumentConfig = Field(json_schema_extra=_or_a_name)
    """The microscope: what can be set, and what is wrong with it. A name is that of a file in `instruments/`, beside
    the plan or in the folder that one works in, or of an example; a path counts from the plan's folder."""
    detector: DetectorChoice
    """The detector and its binning."""
    goal: GoalConfig
    """Doses, resolution, time and field of view."""
    expert: SettingConfig = SettingConfig()
    """The rule of thumb to compare with; what is left out is filled by the built-in one."""
    simulation: SimulationConfig = SimulationConfig()
    """The piece of the sample that trials simulate."""
    search: SearchConfig = SearchConfig(initial=12, points=24, batch=8)
    """How many settings are tried and how they are chosen."""
    errors: Literal["all", "none"] = "all"
    """What every trial of the search has beside its noise and what is known of the instrument (source size, focal
    spread, drift): `all` a draw of `robustness`'s errors of its own, so that the search's model learns the mean score
    on a real day; `none`: all is as planned, the objective of Cao et al."""
    reconstruction: Plan | None = None
    """Plan of reconstruction of the trials, and of the day; null searches the defocus by the data, within 2.5 times
    `instrument.defocus_error_nm`, and takes LSQ-ML, or gradient descent in slices of 20 A for a thick sample, which
    refine the positions if the instrument has drift, jitter or any other error of the scan, and have as many probe
    modes as the card asks for."""
    robustness: RobustnessConfig = RobustnessConfig()
    """How the best designs are tried again under errors."""
    chunk: Count = 4
    """Trials of one job; no number depends on it."""
    meant: tuple[str, ...] = Field((), exclude=True)
    """Fields, as `instrument.defocus_nm`, whose numbers are right although they look like another unit: nothing is
    asked about them. No result depends on it."""
