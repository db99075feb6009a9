"""The file of a tuning study: `kind: tuning`. Sections that other layers own are theirs; this module puts them
together.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

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

DoseValue = Annotated[float, Field(gt=0, le=DOSE_LIMIT)]

# What a search may maximise -> +1 if more is better, -1 if less is. Those of TRUTH need a simulation.
OBJECTIVES = {"frc_area": 1, "heldout_misfit": -1, "ssim": 1, "psnr_db": 1, "mse_rad2": -1}
TRUTH = ("ssim", "psnr_db", "mse_rad2")
FOUND = "found"  # name of the plan that the search found


class Nominal(Strict):
    """What the reconstruction is told of a simulated probe where that isn't the truth. defocus_nm > 0 is underfocus."""

    defocus_nm: float | None = Field(None, ge=-10_000, le=10_000)
    semiangle_mrad: PositiveFloat | None = Field(None, le=200)


class SimulatedData(Strict):
    """Two independent scans of the same area of a sample, at one or several doses.

    experiment: of the first scan, imperfections included. second: values of the experiment that differ in the second
    scan (its drift, for example). nominal: optics that the reconstruction is told; it is never told positions' errors,
    source, focal spread, background, intensities or drifts. dose_e_per_a2: of the search; doses_e_per_a2: at which the
    plans are compared afterwards.
    """

    kind: Literal["simulated"]
    sample: SampleConfig
    potential: PotentialConfig = PotentialConfig()
    experiment: ExperimentConfig
    second: dict[str, Any] = Field(default_factory=dict)
    nominal: Nominal = Nominal()
    dose_e_per_a2: DoseValue
    doses_e_per_a2: tuple[DoseValue, ...] = ()

    @field_validator("second")
    @classmethod
    def _known(cls, second: dict[str, Any]) -> dict[str, Any]:
        known = (*VARIABLE, "drift_a")
        for name, value in second.items():
            if name not in known:
                raise InputError(name, "is not a value of the experiment", value, nearest(name, known))
        return second

    @model_validator(mode="after")
    def _doses(self) -> SimulatedData:
        if len(set(self.doses_e_per_a2)) < len(self.doses_e_per_a2):
            raise InputError("doses_e_per_a2", "must differ", list(self.doses_e_per_a2), "List each dose once.")
        return self


class TwoFiles(Strict):
    """Two scans of the same area, as `ptydesign import` writes them, in the same frame."""

    kind: Literal["two_files"]
    first: Path
    second: Path


class OneFile(Strict):
    """One scan, split into halves: by positions (neighbours go to different halves) or by counts."""

    kind: Literal["file"]
    file: Path
    split: Literal["positions", "counts"] = "positions"


DataConfig = Annotated[SimulatedData | TwoFiles | OneFile, Field(discriminator="kind")]


class BudgetConfig(Strict):
    """What every trial may spend on each of its two reconstructions: Fourier transforms (`work_gflop`, reproducible) or
    wall-clock `seconds`, compilation not counted. The last value is the one that searches are compared at.
    """

    unit: Literal["work_gflop", "seconds"] = "work_gflop"
    values: tuple[PositiveFloat, ...] = Field(min_length=1)

    @field_validator("values")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in itertools.pairwise(values)):
            raise InputError("values", "must rise", list(values), "List each budget once, the smallest first.")
        return values


class TunedBy(SearchConfig):
    """How a search chooses plans: as in Cao et al. 5 random points, then 45 by Bayesian optimisation, one at a time.

    repeats: independent searches of each method. smaller: searches at each smaller budget. clock: searches of each
    method under a budget of seconds, for comparison. segment: trials of one job.
    """

    initial: int = Field(5, ge=1)
    initial_design: Literal["random", "hammersley", "halton", "sobol", "latin"] = "random"
    points: int = Field(45, ge=0)
    batch: int = Field(1, ge=1)
    repeats: PositiveInt = 10
    random: bool = True
    smaller: int = Field(1, ge=0)
    segment: PositiveInt = 25


class ClockConfig(Strict):
    """Searches under wall-clock budgets beside those under work, each of `trials` trials."""

    seconds: PositiveFloat
    repeats: PositiveInt = 2


class ObjectiveConfig(Strict):
    """What searches maximise. With several metrics, each trial is chosen for a random weighting of them, which traces
    the Pareto front (ParEGO: Knowles, IEEE Trans. Evol. Comput. 10:50, 2006).

    frc_area: mean ring correlation of the two reconstructions up to q_max_per_a. heldout_misfit: of patterns that no
    reconstruction saw. ssim (of ssim_width_px), psnr_db, mse_rad2: against the truth, for simulated data only.
    """

    metrics: tuple[Literal["frc_area", "heldout_misfit", "ssim", "psnr_db", "mse_rad2"], ...] = ("frc_area",)
    q_max_per_a: PositiveFloat
    ssim_width_px: PositiveFloat = 1.5

    @field_validator("metrics")
    @classmethod
    def _different(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        if not metrics or len(set(metrics)) < len(metrics):
            raise InputError(
                "metrics", "must be one or more different ones", list(metrics), "Use for example [frc_area]."
            )
        return metrics


class AgreementConfig(Strict):
    """How the two reconstructions are registered: as `score` for the truth. heldout: part of the positions that is kept
    from both reconstructions, to be predicted."""

    max_shift_a: PositiveFloat = 1.5
    taper: float = Field(0.25, ge=0, le=1)
    heldout: float = Field(0.05, gt=0, lt=0.5)


class PruneConfig(Strict):
    """A trial ends early, without the second reconstruction, once the loss of its first one is `factor` times the
    smallest loss so far: it diverges. 0 switches this off (a loss of ten times the first always ends a trial)."""

    factor: float = Field(1.5, ge=0)

    @field_validator("factor")
    @classmethod
    def _above_one(cls, factor: float) -> float:
        if 0 < factor <= 1:
            raise InputError("factor", "must be above 1, or 0", factor, "Use for example 1.5.")
        return factor


class ExampleConfig(Strict):
    """An example of what the ring correlation rewards: one path varied on top of the found plan (`changes` first)."""

    path: str
    values: tuple[float | int | str | bool, ...] = Field(min_length=2)
    changes: dict[str, Any] = Field(default_factory=dict)
    plan: dict[str, Any] | None = None


class ValidationConfig(Strict):
    """Fresh data, with other noise and other position errors, on which the plans are compared after the search."""

    repeats: int = Field(0, ge=0)


class TuningConfig(Strict):
    """A tuning study at one scale. `study` and `scale` are set when it is loaded.

    plan: what every trial starts from. space: paths in the plan and their values. references: plans to compare with, by
    name, as values at paths. grid: a remark on the space, for figures and report. effects: paths of the space that are
    varied one at a time about the found plan, at every budget.
    """

    study: str = Field(pattern=FOLDER_NAME)
    title: str
    question: str
    scale: Literal["smoke", "preview", "paper"] = DEFAULT_SCALE
    seed: int = Field(0, ge=0, lt=2**31)
    data: DataConfig
    plan: Plan
    space: SpaceConfig
    grid: str = ""
    references: dict[str, dict[str, Any]] = Field(default_factory=lambda: {"default": {}})
    budget: BudgetConfig
    clock: ClockConfig | None = None
    search: TunedBy = TunedBy()
    objective: ObjectiveConfig
    agreement: AgreementConfig = AgreementConfig()
    score: ScoreConfig = ScoreConfig()
    prune: PruneConfig = PruneConfig()
    effects: tuple[str, ...] | Literal["all"] = "all"
    example: ExampleConfig | None = None
    validation: ValidationConfig = ValidationConfig()

    @field_validator("references")
    @classmethod
    def _names(cls, references: Mapping[str, Any]) -> dict[str, Any]:
        for name in references:
            if not name.isidentifier() or name == FOUND:
                rule = f"must be a word of letters, digits and underscores, and not {FOUND!r}"
                raise InputError(str(name), rule, name, "Call it default, or simple.")
        return dict(references)

    @model_validator(mode="after")
    def _consistent(self) -> TuningConfig:
        for path in self.varied:
            if path not in self.space.root:
                raise InputError("effects", "must be paths of the space", path, nearest(path, self.space.root))
        if self.truth_known:
            return self
        for metric in self.objective.metrics:
            if metric in TRUTH:
                mend = f"Use {', '.join(m for m in OBJECTIVES if m not in TRUTH)}."
                raise InputError("objective.metrics", "needs a truth, which measured data don't have", metric, mend)
        if self.validation.repeats:
            raise InputError(
                "validation.repeats", "must be 0 for measured data", self.validation.repeats, "Fresh data is simulated."
            )
        return self

    @property
    def truth_known(self) -> bool:
        """Whether the data are simulated."""
        return isinstance(self.data, SimulatedData)

    @property
    def varied(self) -> tuple[str, ...]:
        """Paths that are varied one at a time."""
        return tuple(self.space.root) if self.effects == "all" else self.effects

    @property
    def budgets(self) -> tuple[float, ...]:
        """The budgets of one reconstruction, rising."""
        return self.budget.values
