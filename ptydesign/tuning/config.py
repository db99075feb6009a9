"""The file of a tuning study: `kind: tuning`. Sections that other layers own are theirs; this module puts them
together.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from ptydesign.config import Count, Strict
from ptydesign.design.settings import SearchConfig
from ptydesign.design.space import SpaceConfig
from ptydesign.errors import InputError, nearest
from ptydesign.reconstruct.plan import Plan
from ptydesign.score.compare import ScoreConfig
from ptydesign.simulate.potential import PotentialConfig
from ptydesign.simulate.specimen import SampleConfig
from ptydesign.study.acquisition import DOSE_LIMIT, VARIABLE, ExperimentConfig, some_numbers, whole_scan
from ptydesign.study.file import StudyFile

DoseValue = Annotated[float, Field(gt=0, le=DOSE_LIMIT)]

# What a search may maximise -> +1 if more is better, -1 if less is. Those of TRUTH need a simulation.
OBJECTIVES = {"frc_area": 1, "heldout_misfit": -1, "ssim": 1, "psnr_db": 1, "mse_rad2": -1}
TRUTH = ("ssim", "psnr_db", "mse_rad2")
FOUND = "found"  # name of the plan that the search found


class Nominal(Strict):
    """What the reconstruction is told of a simulated probe where that isn't the truth."""

    defocus_nm: float | None = Field(None, ge=-10_000, le=10_000)
    """Defocus in nm that the reconstruction is told, positive is underfocus; null is the true one."""
    semiangle_mrad: PositiveFloat | None = Field(None, le=200)
    """Convergence semi-angle in mrad that the reconstruction is told; null is the true one."""


class SimulatedData(Strict):
    """Two independent scans of the same area of a sample, at one or several doses.

    The reconstruction is told the nominal optics and positions only: no errors of positions, source, focal spread,
    background, intensities or drifts.
    """

    kind: Literal["simulated"]
    """Where the data come from; `simulated` makes them, and knows the truth."""
    sample: SampleConfig
    """The specimen that is simulated."""
    potential: PotentialConfig = PotentialConfig()
    """How the specimen's potential is computed."""
    experiment: ExperimentConfig
    """The first scan, with all that is imperfect in it."""
    second: dict[str, Any] = Field(default_factory=dict, json_schema_extra=some_numbers("drift_a"))
    """Values of `experiment` that differ in the second scan, as its drift."""
    nominal: Nominal = Nominal()
    """Optics that the reconstruction is told where they aren't the true ones."""
    dose_e_per_a2: DoseValue
    """Dose in e/A^2 of the data that the search sees."""
    doses_e_per_a2: tuple[DoseValue, ...] = ()
    """Doses in e/A^2 at which the plans are compared after the search."""

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
        whole_scan(self.experiment, "experiment")
        return self

    @property
    def positions(self) -> int:
        """Number of positions of a scan."""
        return self.experiment.positions_in(self.experiment.field_of_view_a)


class TwoFiles(Strict):
    """Two scans of the same area, as `ptydesign import` writes them, in the same frame."""

    kind: Literal["two_files"]
    """Where the data come from; `two_files` are two scans of the same area."""
    first: Path
    """First scan, as `ptydesign import` writes it; the path counts from the study's folder."""
    second: Path
    """Second scan of the same area, in the same frame."""


class OneFile(Strict):
    """One scan, split into halves."""

    kind: Literal["file"]
    """Where the data come from; `file` is one scan that is split."""
    file: Path
    """The scan, as `ptydesign import` writes it; the path counts from the study's folder."""
    split: Literal["positions", "counts"] = "positions"
    """What is divided between the halves: positions (neighbours go to different halves) or the counts of each
    pattern."""


DataConfig = Annotated[SimulatedData | TwoFiles | OneFile, Field(discriminator="kind")]


class BudgetConfig(Strict):
    """What every trial may spend on each of its two reconstructions."""

    unit: Literal["work_gflop", "seconds"] = "work_gflop"
    """Work in 1e9 operations of Fourier transforms, which is reproducible, or wall-clock seconds without
    compilation."""
    values: tuple[PositiveFloat, ...] = Field(min_length=1)
    """Rising budgets in that unit; searches are compared at the last."""

    @field_validator("values")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in itertools.pairwise(values)):
            raise InputError("values", "must rise", list(values), "List each budget once, the smallest first.")
        return values


class TunedBy(SearchConfig):
    """How a search chooses plans: as in Cao et al. 5 random points, then 45 by Bayesian optimisation, one at a time."""

    initial: int = Field(5, ge=1)
    """Number of first points of a search."""
    initial_design: Literal["random", "hammersley", "halton", "sobol", "latin"] = "random"
    """How the first points of Bayesian searches are spread; random searches start at the same ones if it is random."""
    points: int = Field(45, ge=0)
    """Number of points after the first ones."""
    batch: int = Field(1, ge=1)
    """Points of a round, for limits only: a tuning study chooses one plan at a time."""
    repeats: Count = 10
    """Independent searches of each method at the last budget."""
    random: bool = True
    """Whether as many random searches are done, for comparison."""
    smaller: int = Field(1, ge=0, le=10_000)
    """Bayesian searches at each smaller budget."""
    segment: Count = 25
    """Trials of one job; no number depends on it."""


class ClockConfig(Strict):
    """Searches under a wall-clock budget beside those under work, for comparison."""

    seconds: PositiveFloat
    """Wall-clock seconds of each of a trial's two reconstructions."""
    repeats: Count = 2
    """Independent searches of each method under this budget."""


class ObjectiveConfig(Strict):
    """What searches maximise. With several metrics, each trial is chosen for a random weighting of them, which traces
    the Pareto front (ParEGO: Knowles, IEEE Trans. Evol. Comput. 10:50, 2006)."""

    metrics: tuple[Literal["frc_area", "heldout_misfit", "ssim", "psnr_db", "mse_rad2"], ...] = ("frc_area",)
    """One or more of: ring correlation of the two reconstructions, misfit of patterns that no reconstruction saw, and
    against the truth of simulated data SSIM, PSNR and mean squared error."""
    q_max_per_a: PositiveFloat
    """Largest spatial frequency in 1/A that `frc_area` counts: the resolution that you care for."""
    ssim_width_px: PositiveFloat = 1.5
    """Standard deviation of SSIM's Gaussian window in reconstruction pixels."""

    @field_validator("metrics")
    @classmethod
    def _different(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        if not metrics or len(set(metrics)) < len(metrics):
            raise InputError(
                "metrics", "must be one or more different ones", list(metrics), "Use for example [frc_area]."
            )
        return metrics


class AgreementConfig(Strict):
    """How the two reconstructions are registered and compared."""

    max_shift_a: PositiveFloat = 1.5
    """Largest shift between the two in angstrom that is removed."""
    taper: float = Field(0.25, ge=0, le=1)
    """Part of the image that fades at its edges before the ring correlation."""
    heldout: float = Field(0.05, gt=0, lt=0.5)
    """Part of the positions that is kept from both reconstructions, to be predicted."""


class PruneConfig(Strict):
    """When a trial ends early, without the second reconstruction, because its first one diverges."""

    factor: float = Field(1.5, ge=0)
    """How many times the smallest loss so far the loss must be, above 1; 0 switches this off (ten times the first loss
    always ends a trial)."""

    @field_validator("factor")
    @classmethod
    def _above_one(cls, factor: float) -> float:
        if 0 < factor <= 1:
            raise InputError("factor", "must be above 1, or 0", factor, "Use for example 1.5.")
        return factor


class ExampleConfig(Strict):
    """An example of what the ring correlation rewards: one path varied on top of a plan."""

    path: str
    """Which number or choice of the plan is varied, as `engines.0.constraints.0.qmax`."""
    values: tuple[float | int | str | bool, ...] = Field(min_length=2)
    """Values to try at the path, two or more."""
    changes: dict[str, Any] = Field(default_factory=dict)
    """Other values by path, laid over the plan first."""
    plan: dict[str, Any] | None = None
    """Has no effect: what is varied is the plan that the search found."""


class ValidationConfig(Strict):
    """Fresh data, with other noise and other position errors, on which the plans are compared after the search."""

    repeats: int = Field(0, ge=0, le=10_000)
    """Fresh simulations on which the plans are compared after the search; 0 for measured data."""


class TuningConfig(StudyFile):
    """A tuning study at one scale."""

    data: DataConfig
    """The two scans: simulated, from two files, or halves of one file."""
    plan: Plan
    """What every trial starts from; the space changes it."""
    space: SpaceConfig
    """Paths in the plan and the values to search, as `engines.0.group`."""
    grid: str = ""
    """A remark on the space for figures and report."""
    references: dict[str, dict[str, Any]] = Field(default_factory=lambda: {"default": {}})
    """Plans to compare with, by name, each as values by path."""
    budget: BudgetConfig
    """What each of a trial's two reconstructions may spend."""
    clock: ClockConfig | None = None
    """Searches under seconds as well; null does none."""
    search: TunedBy = TunedBy()
    """How many plans are tried, and how they are chosen."""
    objective: ObjectiveConfig
    """What searches maximise."""
    agreement: AgreementConfig = AgreementConfig()
    """How the two reconstructions are compared."""
    score: ScoreConfig = ScoreConfig()
    """How reconstructions are scored against the truth of simulated data; widths and largest frequency are the
    objective's."""
    prune: PruneConfig = PruneConfig()
    """When a trial that diverges is given up."""
    effects: tuple[str, ...] | Literal["all"] = "all"
    """Paths of the space that are varied one at a time about the found plan, at every budget."""
    example: ExampleConfig | None = None
    """One path varied to show what the ring correlation rewards; null shows none."""
    validation: ValidationConfig = ValidationConfig()
    """Fresh data, with other noise and other position errors, for the comparison after the search."""

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
