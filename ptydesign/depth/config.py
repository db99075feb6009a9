"""The study file of a study of depth."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from ptydesign.config import Strict
from ptydesign.errors import InputError, nearest
from ptydesign.reconstruct.plan import Plan
from ptydesign.simulate.defects import Interstitial
from ptydesign.study.acquisition import VARIABLE, ExperimentConfig, some_numbers
from ptydesign.thick.config import BASE, NAME, ThickStudy, varied

TABLES = ("interstitials", "columns", "summary", "thickness")


class Variant(Strict):
    """Another experiment on the same specimen: a name, and the numbers of `experiment` that differ."""

    model_config = ConfigDict(extra="allow", json_schema_extra=some_numbers())
    name: str = Field(pattern=NAME)
    """What the variant is called in tables, figures and file names: lower-case letters, digits and underscores."""

    @model_validator(mode="after")
    def _known(self) -> Variant:
        for name, value in self.point.items():
            if name not in VARIABLE:
                raise InputError(name, "is not a number of the experiment", value, nearest(name, VARIABLE))
        if self.name == BASE or re.fullmatch(NAME, self.name) is None:
            raise InputError("name", "must differ from the experiment's own", self.name, "Choose another name.")
        return self

    @property
    def point(self) -> dict[str, Any]:
        """The values, by name of the experiment's field."""
        return dict(self.__pydantic_extra__ or {})


class MeasureConfig(Strict):
    """How interstitials are looked for; the rules were set before any result was seen.

    Every free site of the interstitials' kind in the scanned field is a place to look. In each slice the potential is
    averaged over a disc, and a Gaussian is fitted to it against depth.
    """

    radius_a: float = Field(0.2, gt=0)
    """Radius in angstrom of the disc in which the potential of a slice is averaged."""
    margin_a: float = Field(1.5, ge=0)
    """How far in angstrom from the edge of the scanned field sites are looked at."""
    least_area: float = Field(0.5, gt=0)
    """Least area of the Gaussian for a find, as a fraction of that of one isolated atom at the reconstruction's
    resolution."""
    widest_a: float = Field(60.0, gt=0)
    """Largest full width at half maximum of the Gaussian in angstrom for a find."""
    match_a: float = Field(10.0, gt=0)
    """A find within this distance in angstrom of a true depth is a detection, any other a false positive."""


class ThicknessConfig(Strict):
    """Reconstructions with an assumed thickness or number of slices, of the same data: where is the misfit least?"""

    thickness_a: tuple[float, ...] = ()
    """Assumed thicknesses of the whole sample in angstrom; the true one is tried too."""
    hold: Literal["slice_thickness", "slices"] = "slice_thickness"
    """What stays the same while the thickness varies: the thickness of the study's slices, so that their (whole) number
    follows, or the number of slices."""
    slices: tuple[int, ...] = ()
    """Numbers of slices that are tried at the true thickness."""
    sweeps: int = Field(20, ge=1)
    """Passes over all positions of each of these reconstructions."""
    held_out: float = Field(0.1, gt=0, lt=0.5)
    """Part of the patterns that these reconstructions don't see, drawn by the study's seed; the misfit of these is what
    counts."""

    @field_validator("thickness_a", "slices")
    @classmethod
    def _rising(cls, values: tuple, info: ValidationInfo) -> tuple:
        if any(v <= 0 for v in values):
            raise InputError(info.field_name, "must be positive", list(values), "Give numbers greater than 0.")
        if len(set(values)) < len(values):
            raise InputError(info.field_name, "must differ", list(values), "List each value once.")
        return tuple(sorted(values))


class DepthStudy(ThickStudy):
    """A study of depth at one scale: one sample, an experiment with variants, one plan of reconstruction."""

    slices: int = Field(ge=5, le=1000)
    """How many equal slices the whole sample is reconstructed in; the plan says nothing of that."""
    reconstruction: Plan
    """Plan of reconstruction, the same for all variants; its slices are set by the study."""
    variants: tuple[Variant, ...] = ()
    """Further experiments on the same specimen, as other doses or semi-angles."""
    measure: MeasureConfig = MeasureConfig()
    """How interstitials are found in the reconstruction."""
    thickness: ThicknessConfig | None = None
    """Wrong thicknesses and numbers of slices to try; null tries none."""

    @model_validator(mode="after")
    def _consistent(self) -> DepthStudy:
        names = [variant.name for variant in self.variants]
        for name in names:
            if names.count(name) > 1:
                raise InputError("variants", "must have different names", name, "Rename one.")
        if not any(isinstance(defect, Interstitial) for defect in self.sample.defects):
            rule = "must place interstitials: they are what is looked for"
            raise InputError("sample.defects", rule, [d.kind for d in self.sample.defects], "Add kind: interstitial.")
        if self.reconstruction.object.slices != 1:
            rule = "is set by the study's key slices"
            raise InputError("reconstruction.object.slices", rule, self.reconstruction.object.slices, "Remove it.")
        if any(engine.resample is not None for engine in self.reconstruction.engines):
            raise InputError(
                "reconstruction.engines",
                "must not resample: depths refer to one set of slices",
                "resample",
                "Remove resample.",
            )
        for variant in self.variants:
            self.experiment_of(variant.name)
        return self

    def experiment_of(self, name: str) -> ExperimentConfig:
        """The experiment of a variant, or of `base`."""
        return varied(self.experiment, self.point_of(name), f"variants.{name}")

    def point_of(self, name: str) -> dict[str, Any]:
        """What a variant changes."""
        return {} if name == BASE else next(v.point for v in self.variants if v.name == name)

    @property
    def names(self) -> list[str]:
        """The base and all variants."""
        return [BASE, *(variant.name for variant in self.variants)]

    def plan_of(self, slices: int, thickness_a: float) -> Plan:
        """The plan with slices of a thickness."""
        content = self.reconstruction.model_dump(mode="json")
        content["object"] = {**content["object"], "slices": slices, "slice_thickness_a": thickness_a}
        return Plan.model_validate(content)
