"""The static shape of a tuning study: data, searches, assessments and file names. Nothing here depends on a score.

results/<study>[-<scale>]/
  plan.yaml
  data/repeat-<r>.json                  what was scanned: {data name: {folder, digest}}; the data beside it
  search/<method>-<budget>-<repeat>/segment-<s>.json
  best.json, best-<budget>.yaml         the plan found at each budget; a file for `ptydesign reconstruct`
  assess/<group>.json                   plans compared on other data, doses, budgets, one parameter at a time
  tables/, figures/, report.html, logs/
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptydesign.study.file import dose_name
from ptydesign.tuning.config import TuningConfig

BO, RANDOM = "bo", "random"
WORK, SECONDS = "work_gflop", "seconds"
MEASURED = "measured"


@dataclass(frozen=True)
class Budget:
    """What one reconstruction may spend."""

    unit: str
    value: float

    @property
    def name(self) -> str:
        """As part of a file name: w12.5, s3."""
        return f"{'s' if self.unit == SECONDS else 'w'}{self.value:g}"

    @property
    def words(self) -> str:
        """As 12.5 GFLOP, 3 s."""
        return f"{self.value:g} {'s' if self.unit == SECONDS else 'GFLOP'}"


@dataclass(frozen=True)
class Search:
    """One sequence of trials. total: number of trials; segment: trials of one job; main: part of the comparison."""

    method: str
    budget: Budget
    repeat: int
    total: int
    segment: int
    main: bool

    @property
    def name(self) -> str:
        """Folder name, as bo-w25-0."""
        return f"{self.method}-{self.budget.name}-{self.repeat}"

    @property
    def segments(self) -> int:
        """Number of jobs, one after the other."""
        return math.ceil(self.total / self.segment)

    def file(self, segment: int) -> str:
        """File of a segment, relative to the results folder."""
        return f"search/{self.name}/segment-{segment}.json"

    @property
    def last_file(self) -> str:
        """The last segment holds all trials."""
        return self.file(self.segments - 1)


def budgets(study: TuningConfig) -> list[Budget]:
    """The study's budgets, rising; the last one is the main one."""
    return [Budget(study.budget.unit, value) for value in study.budget.values]


def main_budget(study: TuningConfig) -> Budget:
    """The budget that searches are compared at."""
    return budgets(study)[-1]


def searches(study: TuningConfig) -> dict[str, Search]:
    """All searches by name: the comparison at the main budget, those at smaller budgets, those under the clock."""
    config = study.search
    total = config.initial + config.points
    methods = (BO, RANDOM) if config.random else (BO,)
    found = []
    for repeat in range(config.repeats):
        found += [Search(m, main_budget(study), repeat, total, config.segment, True) for m in methods]
    for budget in budgets(study)[:-1]:
        found += [Search(BO, budget, r, total, config.segment, False) for r in range(config.smaller)]
    if study.clock is not None:
        clock = Budget(SECONDS, study.clock.seconds)
        for repeat in range(study.clock.repeats):
            found += [Search(m, clock, repeat, total, config.segment, False) for m in methods]
    return {search.name: search for search in found}


def data_name(study: TuningConfig, repeat: int = 0, dose: float | None = None) -> str:
    """Name of a pair of scans: dose and repeat, or `measured`."""
    if not study.truth_known:
        return MEASURED
    return f"{dose_name(study.data.dose_e_per_a2 if dose is None else dose)}-{repeat}"


def scans(study: TuningConfig) -> list[int]:
    """Repeats of the data; 0 is what the searches see."""
    return list(range(1 + study.validation.repeats))


def doses_of(study: TuningConfig, repeat: int) -> list[float]:
    """Doses of a repeat of simulated data, the search's first."""
    first = study.data.dose_e_per_a2
    return [first, *(d for d in study.data.doses_e_per_a2 if d != first)] if repeat == 0 else [first]


def data_file(repeat: int) -> str:
    """What a repeat of the data wrote."""
    return f"data/repeat-{repeat}.json"


@dataclass(frozen=True)
class Group:
    """A list of plans to evaluate after the search: what, on which data, at which budget. images: kept for figures."""

    name: str
    kind: str
    budget: Budget
    repeat: int = 0
    dose: float | None = None
    images: bool = False

    @property
    def file(self) -> str:
        """File of the group, relative to the results folder."""
        return f"assess/{self.name}.json"


def groups(study: TuningConfig) -> dict[str, Group]:
    """All assessments by name."""
    main = main_budget(study)
    found = [Group(f"budget-{b.name}", "budget", b, images=True) for b in budgets(study)]
    found += [Group(f"validation-{r}", "validation", main, repeat=r) for r in scans(study)[1:]]
    if study.truth_known:
        found += [Group(f"dose-{dose_name(d)}", "dose", main, dose=d, images=True) for d in doses_of(study, 0)[1:]]
    if study.varied:
        found += [Group(f"effects-{b.name}", "effects", b, images=b == main) for b in budgets(study)]
    if study.example is not None:
        found.append(Group("example", "example", main, images=True))
    return {group.name: group for group in found}


TABLES = ("trials", "convergence", "summary", "chosen", "budgets", "pareto", "saved")
OPTIONAL_TABLES = ("validation", "doses", "effects", "example")  # of studies that ask for them


def table_files(study: TuningConfig) -> list[str]:
    """Files that `collect` makes, relative to the results folder."""
    skipped = {
        "validation": not study.validation.repeats,
        "doses": not (study.truth_known and len(doses_of(study, 0)) > 1),
        "effects": not study.varied,
        "example": study.example is None,
    }
    return [f"tables/{name}.csv" for name in (*TABLES, *OPTIONAL_TABLES) if not skipped.get(name)] + [
        "tables/images.h5"
    ]


def best_files(study: TuningConfig) -> list[str]:
    """Plans that `ptydesign reconstruct` takes, one for each budget, and the record of the choice."""
    return ["best.json", *(f"best-{budget.name}.yaml" for budget in budgets(study))]
