"""The `experiment` section in an operator's units, and its one conversion into `types.Experiment`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from ptydesign import units
from ptydesign.config import Strict, cause_of, rule_and_mend
from ptydesign.errors import InputError, nearest

if TYPE_CHECKING:
    from ptydesign.types import Experiment

Dose = float
DOSE_LIMIT = 1e9  # e/A^2; far above what any specimen or detector survives


class ExperimentConfig(Strict):
    """One acquisition as an operator sets it. Any single number here can be varied by a search."""

    voltage_kv: float = Field(80.0, ge=10, le=1000)
    """Voltage in kV by which the electrons are accelerated."""
    step_a: PositiveFloat
    """Scan step in angstrom; electrons per pattern are dose times step squared."""
    semiangle_mrad: PositiveFloat = Field(le=200)
    """Convergence semi-angle of the aperture in mrad; it must lie inside the detector's edge."""
    defocus_nm: float = Field(ge=-10_000, le=10_000)
    """Defocus in nm; positive is underfocus. It makes the probe larger, so that steps may be larger."""
    detector_pixels: PositiveInt = Field(ge=8, le=4096)
    """Pixels on a side of the square detector; more of them at the same `pixel_a` have finer angles and a larger
    window."""
    pixel_a: PositiveFloat
    """Pixel of the reconstruction in angstrom; the detector's edge is at wavelength / (2 pixel_a)."""
    field_of_view_a: tuple[PositiveFloat, PositiveFloat]
    """[y, x] size in angstrom of the region that is imaged and scored; the scan covers it and a margin. In studies of
    thick samples and of tuning it is all that is scanned."""
    scan_margin_a: float | None = Field(None, ge=0, le=1000)
    """Margin in angstrom by which the scan goes beyond the field on each side; null follows from the design: twice the
    radius of the probe, its diffraction, a step, drift and jitter, so that the whole field gets its dose, and what its
    patterns show beyond it is seen from all sides. Studies of thick samples and of tuning have none."""
    astigmatism_nm: float = 0.0
    """Twofold astigmatism C12 in nm."""
    astigmatism_deg: float = 0.0
    """Angle of the astigmatism in degrees, from +x towards +y."""
    coma_um: float = 0.0
    """Axial coma C21 in micrometres."""
    coma_deg: float = 0.0
    """Angle of the coma in degrees, from +x towards +y."""
    cs_mm: float = 0.0
    """Spherical aberration C3 in mm."""
    trefoil_nm: float = 0.0
    """Threefold astigmatism C23 (Haider's A2) in nm."""
    trefoil_deg: float = 0.0
    """Angle of the threefold astigmatism in degrees, from +x towards +y."""
    star_um: float = 0.0
    """Star aberration C32 (four times Haider's S3) in micrometres."""
    star_deg: float = 0.0
    """Angle of the star aberration in degrees, from +x towards +y."""
    fourfold_um: float = 0.0
    """Fourfold astigmatism C34 (Haider's A3) in micrometres."""
    fourfold_deg: float = 0.0
    """Angle of the fourfold astigmatism in degrees, from +x towards +y."""
    c5_mm: float = 0.0
    """Spherical aberration of fifth order, C50 (Haider's C5), in mm."""
    position_jitter_a: float = Field(0.0, ge=0)
    """Random error of each scan position along y and x in angstrom, 1-D rms."""
    drift_a: tuple[float, float] = (0.0, 0.0)
    """[y, x] drift of the specimen in angstrom from the first to the last position, linear in time."""
    rotation_deg: float = 0.0
    """Angle in degrees that turns the scan from +x towards +y about its centre; the reconstruction knows it."""
    rotation_error_deg: float = 0.0
    """Angle in degrees by which the true scan is turned beyond the nominal one; the reconstruction doesn't know it."""
    scale_error: float = Field(0.0, gt=-0.5, lt=0.5)
    """Fraction by which the true scan is larger than the nominal one; 0.01 is 1 % too large."""
    aspect_error: float = Field(0.0, gt=-0.5, lt=0.5)
    """Fraction by which the true scan is larger along y beyond `scale_error`."""
    shear_error: float = Field(0.0, gt=-0.5, lt=0.5)
    """By how much the true scan is sheared: what is added to x for each unit of y."""
    line_noise_a: float = Field(0.0, ge=0)
    """Random error along y and x that all positions of a line have together, in angstrom, 1-D rms."""
    source_size_a: float = Field(0.0, ge=0)
    """Size of the demagnified source at the specimen in angstrom, 1-D rms; more than 0 is slower to simulate."""
    focal_spread_nm: float = Field(0.0, ge=0)
    """Focal spread in nm, 1-D rms; more than 0 is slower to simulate."""
    mtf_nyquist: float = Field(1.0, gt=0, le=1)
    """Modulation transfer of the detector at its Nyquist frequency; 1 is ideal."""
    background_e_per_px: float = Field(0.0, ge=0)
    """Mean background in electrons of every pixel of every pattern."""
    point_sampled: bool = False
    """Whether a detector pixel takes the intensity at its centre, and each pattern is scaled to all of its electrons,
    as some published simulations have it; a real detector's pixels integrate."""
    applied_dose_e_per_a2: float | None = Field(None, gt=0, le=DOSE_LIMIT)
    """Dose in e/A^2, instead of the study's; for studies that vary the dose itself."""
    intensity_rms: float = Field(0.0, ge=0, le=0.5)
    """Rms of the patterns' independent intensity factors, whose mean is 1."""
    defocus_drift_nm: float = 0.0
    """Change of the defocus in nm from the first to the last position, linear in time and zero at mid-scan."""
    astigmatism_drift_nm: float = 0.0
    """Change of the astigmatism in nm along its own angle from the first to the last position, zero at mid-scan."""

    inelastic_part: float = Field(0.0, ge=0, lt=1)
    """Part of the electrons that lose energy in the specimen and are counted all the same, in patterns that are
    slightly blurred."""
    inelastic_angle_mrad: float = Field(0.1, gt=0, lt=20)
    """Characteristic angle in mrad of that blur, a Lorentzian that ends at 20 mrad; some 0.1 at 80 kV, 0.06 at 200."""

    elsewhere: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("C1", "C10"), "defocus_nm"),
        **dict.fromkeys(("C3", "C30", "CS"), "cs_mm"),
        **dict.fromkeys(("A1", "C12"), "astigmatism_nm"),
        **dict.fromkeys(("A2", "C23"), "trefoil_nm"),
        **dict.fromkeys(("A3", "C34"), "fourfold_um"),
        **dict.fromkeys(("C5", "C50"), "c5_mm"),
        "C21": "coma_um",
        "B2": "coma_um, three times as much",
        "C32": "star_um",
        "S3": "star_um, four times as much",
    }
    """Names of aberrations -> what they are called here."""

    @classmethod
    def instead_of(cls, key: str, value: Any) -> str:
        """What an aberration is called here."""
        name = cls.elsewhere.get(re.sub("_(nm|um|mm)$", "", key.lower()).upper())
        return f"Write {name}." if name else ""

    quiet: ClassVar[tuple[str, ...]] = (
        *("scan_margin_a", "point_sampled", "intensity_rms", "defocus_drift_nm", "astigmatism_drift_nm"),
        *("trefoil_nm", "trefoil_deg", "star_um", "star_deg", "fourfold_um", "fourfold_deg", "c5_mm"),
        *("inelastic_part", "inelastic_angle_mrad"),
        *("aspect_error", "shear_error", "line_noise_a"),
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """An experiment without them is written as it was before they existed: stored trials stay valid."""
        default = {name: type(self).model_fields[name].default for name in self.quiet}
        return {name: value for name, value in handler(self).items() if name not in default or value != default[name]}

    @field_validator("detector_pixels", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return int(value) if isinstance(value, float) and value.is_integer() else value

    @property
    def detector_edge_mrad(self) -> float:
        """Largest angle along an axis that the detector sees: lambda/(2 pixel_a)."""
        return units.wavelength_a(self.voltage_kv) / (2 * self.pixel_a) / units.MRAD

    @property
    def probe_diameter_a(self) -> float:
        """Geometric diameter 2 |defocus| alpha plus that of the Airy disc, 1.22 lambda/alpha."""
        alpha = self.semiangle_mrad * units.MRAD
        return 2 * abs(self.defocus_nm) * units.NM * alpha + 1.22 * units.wavelength_a(self.voltage_kv) / alpha

    @property
    def window_a(self) -> float:
        """Real-space side of the detector's window."""
        return self.detector_pixels * self.pixel_a

    @property
    def margin_a(self) -> float:
        """Angstrom by which the scan goes beyond the field on each side."""
        if self.scan_margin_a is not None:
            return self.scan_margin_a
        from ptydesign.simulate.field import scan_margin_a

        return scan_margin_a(_experiment(self, 1.0, self.field_of_view_a))

    @property
    def scanned_a(self) -> tuple[float, float]:
        """(y, x) size of the scan in angstrom: the field and its margin."""
        from ptydesign.simulate.field import scanned_a

        return scanned_a(self.field_of_view_a, math.radians(self.rotation_deg), self.margin_a)

    @property
    def positions(self) -> int:
        """Number of scan positions, those of the margin included."""
        return self.positions_in(self.scanned_a)

    def positions_in(self, extent_a: tuple[float, float]) -> int:
        """Number of positions of a scan of this size (y, x) in angstrom."""
        return math.prod(math.ceil(size / self.step_a - 1e-9) + 1 for size in extent_a)


VARIABLE = tuple(
    name
    for name in ExperimentConfig.model_fields
    if name not in ("field_of_view_a", "scan_margin_a", "drift_a", "point_sampled")
)  # what a search can vary: all single numbers of a design


def some_numbers(*more: str) -> Callable[[dict[str, Any]], None]:
    """Gives the schema of a section the numbers of an experiment, and allows no other keys beside its own.

    more: fields of the experiment that are no single numbers.
    """

    def extend(schema: dict[str, Any]) -> None:
        known = ExperimentConfig.model_json_schema()["properties"]
        for name in (*VARIABLE, *more):
            said = {key: value for key, value in known[name].items() if key not in ("default", "title")}
            schema.setdefault("properties", {})[name] = said
        schema["additionalProperties"] = False

    return extend


def at_point(base: ExperimentConfig, point: Mapping[str, Any], where: str = "point") -> ExperimentConfig:
    """`base` with the values of a point of the search space. Raises InputError naming the parameter, in `where` if the
    point has it."""
    for name in point:
        if name not in VARIABLE:
            raise InputError(
                f"{where}.{name}", "is not a number of the experiment", point[name], nearest(name, VARIABLE)
            )
    try:
        return ExperimentConfig.model_validate({**base.model_dump(), **point})
    except ValidationError as error:
        first = error.errors()[0]
        cause = cause_of(first)
        if cause is not None:
            raise InputError(field_at(where, cause.field, point), cause.rule, cause.value, cause.mend) from None
        rule, mend = rule_and_mend(first, "Correct it in the study file.")
        raise InputError(field_at(where, str(first["loc"][0]), point), rule, first["input"], mend) from None


def field_at(where: str, name: str, point: Mapping[str, Any]) -> str:
    """The field of the study that a value of the experiment comes from: the point's section, or `experiment`."""
    return f"{where}.{name}" if name in point else f"experiment.{name}"


# Fields of `types.Experiment`, as its checks name them -> those of this section.
OPERATOR_NAMES = {
    "optics.semiangle_rad": "semiangle_mrad",
    "experiment.semiangle": "semiangle_mrad",
    "optics.defocus_a": "defocus_nm",
    "optics.voltage_kv": "voltage_kv",
    "optics.cs_a": "cs_mm",
    "scan.step_a": "step_a",
    "scan.field_of_view_a": "field_of_view_a",
    "scan.jitter_a": "position_jitter_a",
    "scan.scale_error": "scale_error",
    "scan.line_noise_a": "line_noise_a",
    "detector.pixels": "detector_pixels",
    "detector.pixel_a": "pixel_a",
    "detector.pixel_a[y]": "pixel_a",
    "detector.pixel_a[x]": "pixel_a",
    "detector.mtf_nyquist": "mtf_nyquist",
    "detector.background_e_per_px": "background_e_per_px",
    "dose_e_per_a2": "applied_dose_e_per_a2",
    "source_size_a": "source_size_a",
    "experiment.source_size_a": "source_size_a",
    "focal_spread_a": "focal_spread_nm",
    "experiment.focal_spread_a": "focal_spread_nm",
    "experiment.focal_spread_nm": "focal_spread_nm",
    "inelastic_part": "inelastic_part",
    "inelastic_angle_rad": "inelastic_angle_mrad",
}


def to_experiment(config: ExperimentConfig, dose_e_per_a2: Dose, margin: bool = True) -> Experiment:
    """The one conversion from an operator's units into angstrom and radian.

    margin: whether the scan goes beyond the field, so that the whole field gets its dose. Without it the field is all
    that is scanned, for studies that score a part of it.
    """
    return _experiment(config, dose_e_per_a2, config.scanned_a if margin else config.field_of_view_a)


def whole_scan(config: ExperimentConfig, where: str) -> None:
    """Raises InputError if a scan margin is given in a study whose field of view is all that is scanned."""
    if config.scan_margin_a is not None:
        rule = "is not used here: field_of_view_a is all that is scanned"
        raise InputError(f"{where}.scan_margin_a", rule, config.scan_margin_a, "Leave it out, and scan a larger field.")


def _experiment(config: ExperimentConfig, dose_e_per_a2: Dose, scanned_a: tuple[float, float]) -> Experiment:
    from ptydesign.types import Detector, Experiment, Optics, Scan

    return Experiment(
        optics=Optics(
            voltage_kv=config.voltage_kv,
            semiangle_rad=config.semiangle_mrad * units.MRAD,
            defocus_a=config.defocus_nm * units.NM,
            astigmatism_a=config.astigmatism_nm * units.NM,
            astigmatism_angle_rad=math.radians(config.astigmatism_deg),
            coma_a=config.coma_um * units.UM,
            coma_angle_rad=math.radians(config.coma_deg),
            cs_a=config.cs_mm * units.MM,
            trefoil_a=config.trefoil_nm * units.NM,
            trefoil_angle_rad=math.radians(config.trefoil_deg),
            star_a=config.star_um * units.UM,
            star_angle_rad=math.radians(config.star_deg),
            fourfold_a=config.fourfold_um * units.UM,
            fourfold_angle_rad=math.radians(config.fourfold_deg),
            c5_a=config.c5_mm * units.MM,
        ),
        scan=Scan(
            step_a=config.step_a,
            field_of_view_a=scanned_a,
            rotation_rad=math.radians(config.rotation_deg),
            scale_error=config.scale_error,
            rotation_error_rad=math.radians(config.rotation_error_deg),
            jitter_a=config.position_jitter_a,
            drift_a=config.drift_a,
            line_noise_a=config.line_noise_a,
            aspect_error=config.aspect_error,
            shear_error=config.shear_error,
        ),
        detector=Detector(
            pixels=(config.detector_pixels, config.detector_pixels),
            pixel_a=(config.pixel_a, config.pixel_a),
            mtf_nyquist=config.mtf_nyquist,
            background_e_per_px=config.background_e_per_px,
            point_sampled=config.point_sampled,
        ),
        dose_e_per_a2=config.applied_dose_e_per_a2 or dose_e_per_a2,
        source_size_a=config.source_size_a,
        focal_spread_a=config.focal_spread_nm * units.NM,
        intensity_rms=config.intensity_rms,
        defocus_drift_a=config.defocus_drift_nm * units.NM,
        astigmatism_drift_a=config.astigmatism_drift_nm * units.NM,
        inelastic_part=config.inelastic_part,
        inelastic_angle_rad=config.inelastic_angle_mrad * units.MRAD,
    )
