"""A checked tuning study, ready to run."""

from __future__ import annotations

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
from ptydesign.study.file import folder_name, in_file, load_study
from ptydesign.tuning import scope
from ptydesign.tuning.config import OneFile, SimulatedData, TuningConfig
from ptydesign.tuning.data import experiments
from ptydesign.tuning.trial import plan_of

CHECKED = 64  # points of the space that are turned into plans before work starts


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
    space = build_space(study.space)
    for path, dimension in study.space.root.items():
        for value in scope.values_of(dimension):
            plan_of(study, space.alone(path, value))
    rng = np.random.default_rng(0)
    for point in space.from_cube(rng.random((CHECKED, len(space.names)))):
        plan_of(study, {n: v for n, v in point.items() if v is not None}, scope.main_budget(study))
    for name, values in study.references.items():
        plan_of(study, values, scope.main_budget(study), f"references.{name}")
    if study.example is not None:
        example = study.example
        for value in example.values:
            plan_of(study, {**example.changes, example.path: value}, scope.main_budget(study), "example")


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
        positions = data.positions
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
