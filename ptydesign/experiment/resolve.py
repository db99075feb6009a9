"""A study of an experiment with every default written out, checked, and with its potential known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ptydesign.experiment.checks import Place, check_study, extremes, potential_shape
from ptydesign.experiment.config import SimulatedStudy, StudyConfig
from ptydesign.simulate.potential import potential_key
from ptydesign.study.checked import Checked, check_results
from ptydesign.study.file import folder_name, in_file, load_study


@dataclass(frozen=True)
class Resolved(Checked):
    """A checked study, ready to run. shape: pixels (y, x) of its potential; key: of the potential itself."""

    study: SimulatedStudy  # of a study of the kind `experiment`: StudyConfig
    shape: tuple[int, int]
    key: str


def resolve(folder: Path, scale: str, root: Path) -> Resolved:
    """The study of a folder at one scale, with all checks done. Raises InputError; takes about a second."""
    folder = Path(folder)
    study = load_study(folder, scale, StudyConfig)
    with in_file(folder / "study.yaml"):
        study, warnings = check_study(study, folder)
    return resolved(study, extremes(study), folder, root, warnings)


def resolved(
    study: SimulatedStudy, points: Iterable[Place], folder: Path, root: Path, warnings: Iterable[str]
) -> Resolved:
    """A checked study with its results folder and its potential; points: the extremes that it may ask for.

    Raises InputError."""
    results = Path(root) / folder_name(study.study, study.scale)
    check_results(results, study.study)
    shape = potential_shape(study, points, folder)
    key = potential_key(study.sample, study.potential, shape, study.seed)
    return Resolved(study, results, shape, key, warnings=tuple(warnings))
