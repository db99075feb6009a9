"""A checked tuning study, what it will take, and its plan.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import io
from ptydesign.design.space import build_space
from ptydesign.errors import InputError
from ptydesign.reconstruct.paths import check_paths
from ptydesign.simulate.dataset import check_experiment, required_shape
from ptydesign.simulate.potential import potential_key
from ptydesign.simulate.specimen import check_sample
from ptydesign.study.acquisition import OPERATOR_NAMES
from ptydesign.study.checked import Checked, check_results
from ptydesign.study.cost import START_S, fft_rate
from ptydesign.study.file import folder_name, in_file, load_study
from ptydesign.tuning import layout
from ptydesign.tuning.assess import count, values_of
from ptydesign.tuning.config import OneFile, SimulatedData, TuningConfig
from ptydesign.tuning.data import experiments
from ptydesign.tuning.trial import SWITCHES, plan_of

CHECKED = 64  # points of the space that are turned into plans before work starts
FLOP_PER_UNIT = 5.0  # of the estimate's FFT units, n log2 n
OVERHEAD = 3.0  # time of a reconstruction over that of its Fourier transforms alone, measured on one core
SCORING_S, SEARCH_START_S, PROPOSAL_S, COMPILE_S = 0.2, 8.0, 0.3, 4.0


@dataclass(frozen=True)
class Resolved(Checked):
    """A checked study, ready to run. shape, key: of the sample's potential, None for measured data."""

    study: TuningConfig
    shape: tuple[int, int] | None
    key: str | None
    positions: int
    pixels: tuple[int, int]


def resolve(folder: Path, scale: str, root: Path) -> Resolved:
    """The study of a folder at one scale, with all checks done. Raises InputError; takes about a second."""
    folder = Path(folder)
    study = load_study(folder, scale, TuningConfig)
    results = Path(root) / folder_name(study.study, scale)
    with in_file(folder / "study.yaml"):
        _check_plans(study)
        study, shape, positions, pixels, pixel_a = _check_data(study, folder)
        warnings = _check_scores(study, pixels, pixel_a)
    check_results(results, study.study)
    key = None if shape is None else potential_key(study.data.sample, study.data.potential, shape, study.seed)
    return Resolved(study, results, shape, key, positions, pixels, warnings=tuple(warnings))


def _check_plans(study: TuningConfig) -> None:
    """Every value of the space and of the references must make a plan: one parameter at a time, then some together."""
    check_paths(list(study.space.root))
    for path, dimension in study.space.root.items():
        for value in values_of(dimension):
            plan_of(study, {path: value})
    space = build_space(study.space)
    rng = np.random.default_rng(0)
    for point in space.from_cube(rng.random((CHECKED, len(space.names)))):
        plan_of(study, point, layout.main_budget(study))
    for name, values in study.references.items():
        plan_of(study, values, layout.main_budget(study), f"references.{name}")
    if study.example is not None:
        example = study.example
        for value in example.values:
            plan_of(study, {**example.changes, example.path: value}, layout.main_budget(study), "example")


def _check_data(study: TuningConfig, folder: Path) -> tuple[TuningConfig, Any, int, tuple[int, int], float]:
    """The study with its files found, the potential's shape, positions and pixels of a scan, its largest pixel."""
    data = study.data
    if isinstance(data, SimulatedData):
        check_sample(data.sample, folder)
        pair = experiments(data)
        pixel = (data.potential.pixel_a, data.potential.pixel_a)
        try:
            for experiment in pair:
                check_experiment(experiment)
            shape = required_shape(pair, pixel)
        except InputError as error:
            name = OPERATOR_NAMES.get(error.field, error.field)
            raise InputError(f"data.experiment.{name}", error.rule, error.value, error.mend) from None
        sample = check_sample(data.sample, folder, tuple(n * p for n, p in zip(shape, pixel, strict=True)))
        data = data.model_copy(update={"sample": sample})
        detector = pair[0].detector
        positions = data.experiment.positions
        return study.model_copy(update={"data": data}), shape, positions, detector.pixels, max(detector.pixel_a)
    names = ("file",) if isinstance(data, OneFile) else ("first", "second")
    found = {}
    for name in names:
        path = getattr(data, name)
        path = path if path.is_absolute() else folder / path
        try:
            header = io.read_dataset_header(path)
        except InputError as error:
            mend = f"{error.mend} Paths count from the study's folder."
            raise InputError(f"data.{name}", error.rule, error.value, mend) from None
        found[name] = path
    study = study.model_copy(update={"data": data.model_copy(update=found)})
    positions, *pixels = header["shape"]
    positions = positions // 2 if isinstance(data, OneFile) and data.split == "positions" else positions
    return study, None, int(positions), tuple(pixels), float(max(header["pixel_a"]))


def _check_scores(study: TuningConfig, pixels: tuple[int, int], pixel_a: float) -> list[str]:
    """Raises InputError for a q_max that the reconstruction doesn't reach; warnings."""
    limit = 0.5 / pixel_a
    if study.objective.q_max_per_a > limit * (1 + 1e-9):
        rule = f"must be at most the band limit of the reconstruction, {limit:.4g} 1/A"
        raise InputError("objective.q_max_per_a", rule, study.objective.q_max_per_a, "Lower it.")
    space, total = build_space(study.space), study.search.initial + study.search.points
    if space.size < total:
        rule = f"must not be more than the {space.size:g} different plans of the space"
        raise InputError("search.points", rule, f"{total} with the first ones", "Lower it, or widen the space.")
    return []


def trials(study: TuningConfig) -> dict[str, int]:
    """Number of trials: of each method at each budget, and of the assessments."""
    found: dict[str, int] = {}
    for search in layout.searches(study).values():
        name = f"{search.method} at {search.budget.value:g} {'s' if search.budget.unit == layout.SECONDS else 'GFLOP'}"
        found[name] = found.get(name, 0) + search.total
    found["assessments"] = sum(count(study, group) for group in layout.groups(study).values())
    return found


def total_trials(study: TuningConfig) -> int:
    """Number of trials of the whole study, those that share a result counted each."""
    return sum(trials(study).values())


def estimate(resolved: Resolved, cores: int) -> dict[str, Any]:
    """Trials, time in minutes and memory in GiB, JSON-able."""
    study = resolved.study
    rate = fft_rate() * FLOP_PER_UNIT / 1e9 / OVERHEAD  # GFLOP per second
    numbers = trials(study)
    size = build_space(study.space).size
    asked: dict[layout.Budget, int] = {}
    found = layout.searches(study).values()
    for search in found:
        asked[search.budget] = asked.get(search.budget, 0) + search.total
    for group in layout.groups(study).values():
        asked[group.budget] = asked.get(group.budget, 0) + count(study, group)

    def seconds(budget: layout.Budget) -> float:
        return 2 * (budget.value if budget.unit == layout.SECONDS else budget.value / rate) + SCORING_S

    compute = sum(seconds(budget) * distinct(size, number) for budget, number in asked.items())
    compute += compiled(study) * COMPILE_S
    compute += sum(SEARCH_START_S * s.segments + PROPOSAL_S * s.total for s in found if s.method == layout.BO)
    compute += START_S * (len(found) + len(layout.groups(study)))
    if resolved.shape is not None:
        compute += len(layout.scans(study)) * _simulation_s(study, rate)
    chain = max(seconds(s.budget) * s.total for s in found)
    return {
        "trials": numbers,
        "trials_total": sum(numbers.values()),
        "combinations": size if math.isfinite(size) else None,
        "core_minutes": round(compute / 60, 1),
        "cores": cores,
        "minutes": round(max(compute / cores, chain) / 60, 1),
        "memory_gib": round(memory_gib(resolved), 2),
    }


def distinct(size: float, number: int) -> float:
    """How many different plans so many draws from a space find: the others are in the point store."""
    return size * -math.expm1(-number / size) if math.isfinite(size) else number


def compiled(study: TuningConfig) -> float:
    """About how many functions are compiled: one for each combination of what shapes a reconstruction, which switches
    (see `trial.switched`) and continuous settings don't."""
    number = 1.0
    for path, dimension in study.space.root.items():
        name = path.rpartition(".")[2]
        discrete = not dimension.continuous and not any(isinstance(v, float) for v in dimension.values)
        number *= dimension.size if discrete and name not in (*SWITCHES, "opr_modes") else 1
    most = sum(trials(study).values())
    return 1 + min(number, most)


def _simulation_s(study: TuningConfig, rate: float) -> float:
    """Of both scans of one repeat: partial coherence multiplies every pattern."""
    from ptydesign.simulate.coherence import probe_count
    from ptydesign.simulate.detector import choose_window

    total = 0.0
    for experiment in experiments(study.data):
        pixel = (study.data.potential.pixel_a,) * 2
        size = math.prod(choose_window(experiment, pixel).grid.shape)
        waves = probe_count(experiment)
        total += study.data.experiment.positions * waves * 2 * FLOP_PER_UNIT * size * math.log2(size) / 1e9 / rate
    return total


def memory_gib(resolved: Resolved) -> float:
    """Of one job: libraries, both scans in several copies, the potential."""
    patterns = 2 * resolved.positions * math.prod(resolved.pixels)
    potential = 0 if resolved.shape is None else 24 * math.prod(resolved.shape)
    return (1.0 * 2**30 + 4 * 4 * patterns + potential) / 2**30


def summary(resolved: Resolved, numbers: dict[str, Any]) -> str:
    """The estimate in words, for a terminal."""
    study = resolved.study
    parts = ", ".join(f"{name} {n}" for name, n in numbers["trials"].items())
    plans = f"{numbers['combinations']:g} plans" if numbers["combinations"] else "a continuous space of plans"
    return (
        f"{study.study} ({study.scale}): {plans}; {numbers['trials_total']} trials ({parts})\n"
        f"estimate: {numbers['minutes']:.0f} min on {numbers['cores']} cores "
        f"({numbers['core_minutes']:.0f} min of one core), {numbers['memory_gib']:g} GiB for each job"
    )
