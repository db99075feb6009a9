"""The study file: sections owned by the layers they describe, put together, scaled and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ptydesign.config import Count, Strict, one_of
from ptydesign.design.settings import SearchConfig, check_sampler
from ptydesign.design.space import SpaceConfig
from ptydesign.errors import NOTHING, InputError, nearest
from ptydesign.experiment.points import is_path, of_experiment
from ptydesign.reconstruct.plan import Plan
from ptydesign.score.compare import ScoreConfig
from ptydesign.score.own import METRICS
from ptydesign.simulate.potential import PotentialConfig
from ptydesign.simulate.specimen import SampleConfig
from ptydesign.study.acquisition import DOSE_LIMIT, VARIABLE, ExperimentConfig, some_numbers
from ptydesign.study.decide import DecisionConfig
from ptydesign.study.file import StudyFile

OPTIMISED = "optimised"
STOPS = (10, 5, 3, 2, 1.4, 1)  # parts of a plan's sweeps after which a trial is scored

DoseValue = Annotated[float, Field(gt=0, le=DOSE_LIMIT)]


def _check_names(names: Mapping[str, Any], prefix: str = "") -> None:
    for name, value in names.items():
        if name not in VARIABLE:
            rule = "is not a number of the experiment"
            raise InputError(f"{prefix}{name}", rule, value, nearest(str(name), VARIABLE))


class RandomConfig(Strict):
    """Random search at one dose, with as many points as the search, those one by one included, for comparison."""

    dose_e_per_a2: DoseValue
    """Dose in e/A^2, one of the study's."""


class DesignConfig(Strict):
    """A design: values of the experiment that differ from the `experiment` section."""

    model_config = ConfigDict(extra="allow", json_schema_extra=some_numbers())

    @model_validator(mode="after")
    def _known(self) -> DesignConfig:
        _check_names(self.point)
        return self

    @property
    def point(self) -> dict[str, Any]:
        """The values, by name of the experiment's field."""
        return dict(self.__pydantic_extra__ or {})


class TunedConfig(Strict):
    """How the reference's reconstruction is tuned, as the search does for its own designs."""

    initial: int = Field(6, ge=1, le=1000)
    """Number of first plans, spread over the space's parameters of the reconstruction."""
    points: int = Field(8, ge=0, le=1000)
    """Number of plans after the first ones, in batches as the search's."""


class ReferenceConfig(DesignConfig):
    """The design to compare with: a name, and values of the experiment that differ from the `experiment` section."""

    name: str = Field("expert", min_length=1, max_length=40)
    """What tables and figures call the design."""
    tuned: TunedConfig = TunedConfig()
    """How its reconstruction is tuned at each dose, where the space has parameters of the reconstruction: a comparison
    is fair only if both designs have a reconstruction of their own."""

    @model_validator(mode="after")
    def _named(self) -> ReferenceConfig:
        if self.name == OPTIMISED:
            raise InputError("name", "must differ from the optimised design's", self.name, "Call it expert.")
        if "/" in self.name or self.name.strip(" .") != self.name or not self.name.isprintable():
            rule = "must be words in one line, without a slash, and without a dot or a space at its ends"
            raise InputError("name", rule, self.name, "Call it expert.")
        return self


class ValidationConfig(Strict):
    """How winners are simulated again, with noise that the search has not seen."""

    repeats: Count = 5
    """Simulations with fresh noise of each winner and of the reference; they give means and error bars."""
    abtem: bool = True
    """Whether winners are also simulated once by abTEM, an independent code."""


class MapAxis(Strict):
    """One axis of a parameter-space map."""

    name: Annotated[str, one_of(VARIABLE)]
    """Which number of the experiment the axis is."""
    values: tuple[float | int, ...] = Field(min_length=2)
    """Values along the axis, two or more."""

    @model_validator(mode="after")
    def _known(self) -> MapAxis:
        _check_names({self.name: self.values})
        if len(set(self.values)) < len(self.values):
            raise InputError("values", "must differ", self.values, "List each value once.")
        return self


class MapConfig(Strict):
    """A map of the score over a regular grid of two parameters at one dose."""

    dose_e_per_a2: DoseValue
    """Dose in e/A^2, one of the study's."""
    x: MapAxis
    """Parameter along the horizontal axis."""
    y: MapAxis
    """Parameter along the vertical axis."""
    at: dict[str, float | int] = Field(default_factory=dict, json_schema_extra=some_numbers())
    """Values of other numbers of the experiment; the rest is as in `experiment`."""

    @model_validator(mode="after")
    def _two(self) -> MapConfig:
        _check_names(self.at)
        if self.x.name == self.y.name:
            raise InputError("y.name", "must differ from x.name", self.y.name, "Choose another parameter.")
        return self


class ObjectiveConfig(Strict):
    """What the search maximises."""

    metric: METRICS.annotation_of(("ssim", "psnr_db", "frc_area", "information", "mse_rad2")) = "ssim"
    """Score against the truth: SSIM, PSNR, area of the ring correlation, information (bits per square angstrom, the sum
    of log2(1 + signal/noise) up to `score.frc_qmax`), (its negative) mean squared error of the phase, or one of
    `score.functions`."""
    width_px: float = Field(1.5, gt=0)
    """Standard deviation of SSIM's window in reconstruction pixels that counts; one of `score.ssim_widths_px`."""


class SearchObjective(ObjectiveConfig):
    """What the search maximises, and what it costs."""

    against: tuple[Literal["dose", "time"], ...] = ()
    """Further objectives, to be minimised, which give a Pareto front: the dose, which the space must vary as
    applied_dose_e_per_a2, and the time of the scan. They need the search's method optuna or random."""
    current_pa: PositiveFloat | None = None
    """Current of the beam in pA, for the time: a position takes as long as its electrons do."""
    least_dwell_us: float = Field(0.0, ge=0)
    """Shortest dwell time in microseconds, for the time: what the detector's frame rate allows."""

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """One objective is written as it was before there could be more: rounds that are done stay valid."""
        more = {"against": (), "current_pa": None, "least_dwell_us": 0.0}
        return {k: v for k, v in handler(self).items() if k not in more or getattr(self, k) != more[k]}

    @model_validator(mode="after")
    def _complete(self) -> SearchObjective:
        if len(set(self.against)) < len(self.against):
            raise InputError("against", "must differ", list(self.against), "List each once.")
        if "time" in self.against and self.current_pa is None:
            raise InputError("current_pa", "is required for the time", NOTHING, "Give the beam's current in pA.")
        return self


def check_objective(objective: ObjectiveConfig, score: ScoreConfig) -> None:
    """Refuse an objective that isn't among the scores. Raises InputError."""
    widths = score.ssim_widths_px
    if objective.metric == "ssim" and objective.width_px not in widths:
        rule = f"must be one of score.ssim_widths_px {list(widths)}"
        raise InputError("objective.width_px", rule, objective.width_px, "Choose one of them, or add it there.")
    if ":" in objective.metric and objective.metric not in score.functions:
        rule = f"must be one of score.functions {list(score.functions)}"
        raise InputError("objective.metric", rule, objective.metric, "Choose one of them, or add it there.")


class JobsConfig(Strict):
    """How work is cut into jobs; no number depends on it."""

    chunk: Count = 8
    """Points of the search that one job evaluates."""


class SimulatedStudy(StudyFile):
    """What every study of simulated experiments has at one scale: a sample, an experiment, doses."""

    sample: SampleConfig
    """The specimen that is simulated."""
    potential: PotentialConfig = PotentialConfig()
    """How the specimen's potential is computed."""
    specimen_a: tuple[PositiveFloat, PositiveFloat] | None = None
    """[y, x] extent of the simulated specimen in angstrom; null is the smallest that holds scan and window of every
    experiment, and it may not be less."""
    experiment: ExperimentConfig
    """What an experiment is where the rest of the study doesn't say otherwise."""
    doses_e_per_a2: tuple[DoseValue, ...] = Field(min_length=1)
    """Doses in e/A^2; all else is done at each of them."""
    meant: tuple[str, ...] = Field((), exclude=True)
    """Fields, as `experiment.defocus_nm`, whose numbers are right although they look like another unit: nothing is
    asked about them. No result depends on it."""

    @field_validator("doses_e_per_a2")
    @classmethod
    def _rising(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(doses)) < len(doses):
            raise InputError("doses_e_per_a2", "must differ", list(doses), "List each dose once.")
        return tuple(sorted(doses))


class Decision(DecisionConfig):
    """How the winner of a dose is decided: by more trials of what its search may have missed, and then by draws with
    fresh noise of what can't be told from the best."""

    others: bool = True
    """Whether the doses' searches help each other: the first two contenders of each other one are tried, too, and so is
    the optimum of one model of the trials of all doses. The best design changes little from dose to dose, and one
    search of a few dozen points may miss it."""
    refine: int = Field(12, ge=0, le=1000)
    """Most trials before the contenders are chosen, one after another, each where a model of all trials so far expects
    the greatest improvement. They end when it expects less than a tenth of the zone. `draws: 0` makes none."""


class StudyConfig(SimulatedStudy):
    """A study of experiments at one scale: the best settings at each dose."""

    space: SpaceConfig = Field(
        json_schema_extra={"propertyNames": {"anyOf": [{"enum": list(VARIABLE)}, {"pattern": r"^reconstruction\."}]}}
    )
    """What is searched: numbers of the experiment, and paths in the plan as `reconstruction.engines.0.noise`, with
    their ranges or choices."""
    search: SearchConfig
    """How many experiments are tried at each dose, and how they are chosen."""
    random: RandomConfig | None = None
    """Random search at one dose, for comparison; null does none."""
    reference: ReferenceConfig = ReferenceConfig()
    """An expert's fixed design, which the optimised ones are compared with."""
    decision: Decision = Decision()
    """How the winner of a dose is decided among what its search found, by draws with fresh noise."""
    validation: ValidationConfig = ValidationConfig()
    """How winners are simulated again after the search."""
    map: MapConfig | None = None
    """A map of the score over two parameters; null draws none."""
    reconstruction: Plan
    """Plan of reconstruction of all trials, where the space doesn't vary it."""
    score: ScoreConfig = ScoreConfig()
    """How reconstructions are scored against the truth."""
    objective: SearchObjective = SearchObjective()
    """Which of the scores the search maximises, and against what."""
    scored_sweeps: tuple[PositiveInt, ...] | None = Field(None, min_length=1)
    """Numbers of sweeps after which a trial is scored, rising; the best of them by the objective counts, so that every
    design is judged by its own best stop. null is a series up to the plan's sweeps, in steps of 1.4 to 2 times."""
    patience: PositiveInt | None = None
    """Numbers of sweeps in a row with a score below the best, after which a trial ends, since more sweeps only fit
    noise; null goes on to the plan's end. `python -m benchmarks trials` shows what it saves and costs."""
    most_positions: PositiveInt | None = None
    """Most positions of a scan with its margin: what the camera's frame rate and the stage's drift leave time for.
    Designs that need more aren't tried; null tries all."""
    jobs: JobsConfig = JobsConfig()
    """How work is cut into jobs."""
    compare_with: Literal["cao2022"] | None = None
    """Published trends that the report compares with; null compares with none."""

    @model_validator(mode="after")
    def _consistent(self) -> StudyConfig:
        searched = {n: d.model_dump(exclude_defaults=True) for n, d in self.space.root.items()}
        _check_names(of_experiment(searched), "space.")
        if len(of_experiment(searched)) == 0:
            mend = "Add one; a study of kind tuning searches reconstructions alone."
            raise InputError("space", "needs a number of the experiment", list(searched), mend)
        if "applied_dose_e_per_a2" in self.space.root and len(self.doses_e_per_a2) > 1:
            rule = "must be one dose when the search varies applied_dose_e_per_a2"
            raise InputError("doses_e_per_a2", rule, list(self.doses_e_per_a2), "Keep one, or don't vary the dose.")
        for name in ("random", "map"):
            section = getattr(self, name)
            if section is not None and section.dose_e_per_a2 not in self.doses_e_per_a2:
                rule = f"must be one of the study's doses {list(self.doses_e_per_a2)}"
                raise InputError(f"{name}.dose_e_per_a2", rule, section.dose_e_per_a2, "Choose one of them.")
        check_objective(self.objective, self.score)
        against = self.objective.against
        check_sampler(self.search, [d.ordered for d in self.space.root.values()], len(against))
        if "dose" in against and "applied_dose_e_per_a2" not in self.space.root:
            mend = "Add applied_dose_e_per_a2 with its range to the space."
            raise InputError("objective.against", "needs a space that varies the dose", list(against), mend)
        self._check_scored_sweeps()
        return self

    def _check_scored_sweeps(self) -> None:
        counts = self.scored_sweeps or ()
        if list(counts) != sorted(set(counts)):
            raise InputError("scored_sweeps", "must rise", list(counts), "List each number once, the smallest first.")
        if counts and counts[-1] > self.reconstruction.sweeps:
            rule = f"must not exceed the sweeps of the reconstruction, {self.reconstruction.sweeps}"
            raise InputError("scored_sweeps", rule, counts[-1], "Lower it, or give an engine more sweeps.")

    @property
    def tuned_space(self) -> SpaceConfig | None:
        """The part of the space that can be tuned for a given experiment; None if there is none."""
        paths = {n: d for n, d in self.space.root.items() if is_path(n) and all(map(is_path, d.when or {}))}
        return SpaceConfig(paths) if paths else None

    @property
    def scored(self) -> tuple[int, ...]:
        """Numbers of sweeps after which a trial is scored, rising; the plan's last sweep is scored in any case."""
        if self.scored_sweeps is not None:
            return self.scored_sweeps
        last = self.reconstruction.sweeps
        return tuple(sorted({max(1, round(last / factor)) for factor in STOPS}))
