"""What a tuning study consists of: budgets, searches, data, groups of plans to assess. No score is looked at here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptydesign.design.space import Dimension, SpaceConfig, build_space
from ptydesign.errors import InputError, nearest
from ptydesign.study.file import dose_name
from ptydesign.tuning.config import TuningConfig

BO, RANDOM = "bo", "random"
WORK, SECONDS = "work_gflop", "seconds"
MEASURED = "measured"
STEPS_OF_A_RANGE = 5  # values of a parameter with a range, one at a time

DATA = "data/repeat-{repeat}.json"  # files, relative to the results folder
SEGMENT = "search/{search}/segment-{segment}.json"
ASSESSED = "assess/{group}.json"
BEST = "best.json"

TABLES = ("trials", "convergence", "summary", "chosen", "budgets", "pareto", "saved")
OPTIONAL_TABLES = ("validation", "doses", "effects", "example")  # of studies that ask for them


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
        return SEGMENT.format(search=self.name, segment=segment)

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


def find_search(study: TuningConfig, name: str) -> Search:
    """A search by its name, as bo-w25-0. Raises InputError."""
    return _find("search", name, searches(study))


def find_group(study: TuningConfig, name: str) -> Group:
    """An assessment by its name, as validation-1. Raises InputError."""
    return _find("group", name, groups(study))


def _find(what, name, known):
    if name not in known:
        raise InputError(what, "must be one of the study's", name, nearest(name, known))
    return known[name]


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
        return ASSESSED.format(group=self.name)


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


def count(study: TuningConfig, group: Group) -> int:
    """Number of trials of a group."""
    if group.kind == "effects":
        return sum(len(values_of(study.space.root[path])) for path in study.varied)
    if group.kind == "example":
        return len(study.example.values)
    return 1 + len(study.references) + (group.kind == "budget" and group.budget != main_budget(study))


def values_of(dimension: Dimension) -> list[Any]:
    """Values of a parameter to try one at a time: all choices, or a few of a range."""
    if dimension.choices is not None:
        return list(dimension.values)
    cube = [i / (STEPS_OF_A_RANGE - 1) for i in range(STEPS_OF_A_RANGE)]
    return list(dict.fromkeys(dimension.from_features(np.array(cube)[:, None])))


def trials(study: TuningConfig) -> dict[str, int]:
    """Number of trials: of each method at each budget, and of the assessments; those that share a result counted
    each."""
    found: dict[str, int] = {}
    for search in searches(study).values():
        name = f"{search.method} at {search.budget.words}"
        found[name] = found.get(name, 0) + search.total
    found["assessments"] = sum(count(study, group) for group in groups(study).values())
    return found


def combinations(space: SpaceConfig) -> float | None:
    """Number of different plans; None for a continuous space."""
    size = build_space(space).size
    return size if math.isfinite(size) else None


def tables(study: TuningConfig) -> list[str]:
    """Tables of the study."""
    asked = {
        "validation": study.validation.repeats > 0,
        "doses": study.truth_known and len(doses_of(study, 0)) > 1,
        "effects": bool(study.varied),
        "example": study.example is not None,
    }
    return [*TABLES, *(name for name in OPTIONAL_TABLES if asked[name])]


def best_file(budget: Budget) -> str:
    """The plan found at a budget, for `ptydesign reconstruct`."""
    return f"best-{budget.name}.yaml"
