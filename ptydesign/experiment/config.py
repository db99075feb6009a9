"""The study file: sections owned by the layers they describe, put together, scaled and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from ptydesign.config import Strict
from ptydesign.design.settings import SearchConfig
from ptydesign.design.space import SpaceConfig
from ptydesign.errors import InputError, nearest
from ptydesign.reconstruct.plan import Plan
from ptydesign.score.compare import ScoreConfig
from ptydesign.simulate.potential import PotentialConfig
from ptydesign.simulate.specimen import SampleConfig
from ptydesign.study.acquisition import DOSE_LIMIT, VARIABLE, ExperimentConfig
from ptydesign.study.file import DEFAULT_SCALE, FOLDER_NAME

OPTIMISED = "optimised"

DoseValue = Annotated[float, Field(gt=0, le=DOSE_LIMIT)]


def _check_names(names: Mapping[str, Any], prefix: str = "") -> None:
    for name, value in names.items():
        if name not in VARIABLE:
            rule = "is not a number of the experiment"
            raise InputError(f"{prefix}{name}", rule, value, nearest(str(name), VARIABLE))


class RandomConfig(Strict):
    """Random search at one dose, with as many points as the search proper, for comparison."""

    dose_e_per_a2: DoseValue


class ReferenceConfig(Strict):
    """The design to compare with: a name, and values of the experiment that differ from the `experiment` section."""

    model_config = ConfigDict(extra="allow")
    name: str = Field("expert", pattern=r"^[A-Za-z0-9_ ]+$")

    @model_validator(mode="after")
    def _known(self) -> ReferenceConfig:
        _check_names(self.point)
        if self.name == OPTIMISED:
            raise InputError("name", "must differ from the optimised design's", self.name, "Call it expert.")
        return self

    @property
    def point(self) -> dict[str, Any]:
        """The values, by name of the experiment's field."""
        return dict(self.__pydantic_extra__ or {})


class ValidationConfig(Strict):
    """How winners are re-simulated: `repeats` fresh noise seeds, and once by the abTEM simulator."""

    repeats: PositiveInt = 5
    abtem: bool = True


class MapAxis(Strict):
    """One axis of a parameter-space map."""

    name: str
    values: tuple[float | int, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _known(self) -> MapAxis:
        _check_names({self.name: self.values})
        if len(set(self.values)) < len(self.values):
            raise InputError("values", "must differ", self.values, "List each value once.")
        return self


class MapConfig(Strict):
    """A regular grid over two parameters at one dose; `at` fixes others, the rest is as in `experiment`."""

    dose_e_per_a2: DoseValue
    x: MapAxis
    y: MapAxis
    at: dict[str, float | int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _two(self) -> MapConfig:
        _check_names(self.at)
        if self.x.name == self.y.name:
            raise InputError("y.name", "must differ from x.name", self.y.name, "Choose another parameter.")
        return self


class ObjectiveConfig(Strict):
    """What the search maximises: ssim (of one Gaussian width), psnr_db, frc_area, or mse_rad2 (its negative)."""

    metric: Literal["ssim", "psnr_db", "frc_area", "mse_rad2"] = "ssim"
    width_px: float = Field(1.5, gt=0)


class JobsConfig(Strict):
    """How work is cut into jobs; no number depends on it. chunk: points that one process evaluates."""

    chunk: PositiveInt = 8


class StudyConfig(Strict):
    """A study at one scale. `study` and `scale` are set when it is loaded.

    specimen_a: (y, x) extent of the simulated specimen; by default the smallest that holds scan and window of every
    experiment the study may ask for, and never less. compare_with: published trends that the report compares with.
    """

    study: str = Field(pattern=FOLDER_NAME)
    title: str
    question: str
    scale: Literal["smoke", "preview", "paper"] = DEFAULT_SCALE
    seed: int = Field(0, ge=0, lt=2**31)
    sample: SampleConfig
    potential: PotentialConfig = PotentialConfig()
    specimen_a: tuple[PositiveFloat, PositiveFloat] | None = None
    experiment: ExperimentConfig
    doses_e_per_a2: tuple[DoseValue, ...] = Field(min_length=1)
    space: SpaceConfig
    search: SearchConfig
    random: RandomConfig | None = None
    reference: ReferenceConfig = ReferenceConfig()
    validation: ValidationConfig = ValidationConfig()
    map: MapConfig | None = None
    reconstruction: Plan
    score: ScoreConfig = ScoreConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    jobs: JobsConfig = JobsConfig()
    compare_with: Literal["cao2022"] | None = None

    @field_validator("doses_e_per_a2")
    @classmethod
    def _rising(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(doses)) < len(doses):
            raise InputError("doses_e_per_a2", "must differ", list(doses), "List each dose once.")
        return tuple(sorted(doses))

    @model_validator(mode="after")
    def _consistent(self) -> StudyConfig:
        _check_names({n: d.model_dump(exclude_defaults=True) for n, d in self.space.root.items()}, "space.")
        if "applied_dose_e_per_a2" in self.space.root and len(self.doses_e_per_a2) > 1:
            rule = "must be one dose when the search varies applied_dose_e_per_a2"
            raise InputError("doses_e_per_a2", rule, list(self.doses_e_per_a2), "Keep one, or don't vary the dose.")
        for name in ("random", "map"):
            section = getattr(self, name)
            if section is not None and section.dose_e_per_a2 not in self.doses_e_per_a2:
                rule = f"must be one of the study's doses {list(self.doses_e_per_a2)}"
                raise InputError(f"{name}.dose_e_per_a2", rule, section.dose_e_per_a2, "Choose one of them.")
        objective, widths = self.objective, self.score.ssim_widths_px
        if objective.metric == "ssim" and objective.width_px not in widths:
            rule = f"must be one of score.ssim_widths_px {list(widths)}"
            raise InputError("objective.width_px", rule, objective.width_px, "Choose one of them, or add it there.")
        return self
