"""The sections that all studies of thick samples have, and their checks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt, model_validator

from ptydesign.config import Strict
from ptydesign.errors import NOTHING, InputError
from ptydesign.simulate.potential import Thermal
from ptydesign.simulate.thick import Shape, ThickSample, shape_of
from ptydesign.study.acquisition import VARIABLE, ExperimentConfig, at_point, whole_scan
from ptydesign.study.file import StudyFile

LEAST_SCORED_A = 1.0  # of a field, along each axis
BASE = "base"  # name of a study's own experiment; the others are its variants
NAME = r"^[a-z0-9][a-z0-9_]*$"  # of a variant or a plan: it becomes part of file names


class PotentialSection(Strict):
    """The potential of the simulation."""

    parametrization: Literal["kirkland", "lobato"] = "kirkland"
    """Table of the atoms' scattering factors."""
    pixel_a: PositiveFloat = 0.12
    """Wanted pixel in angstrom; the supercell is divided into the next number of pixels that is quick to transform."""
    slice_a: PositiveFloat = 2.0
    """Largest thickness of a slice in angstrom; the crystal's planes lie in the middle of its slices."""
    thermal: Thermal = None
    """Thermal motion of the atoms; none or null is atoms at rest."""

    @property
    def configurations(self) -> int:
        """Snapshots of thermal motion."""
        return getattr(self.thermal, "configurations", 1)


class ThickJobs(Strict):
    """How work is cut into jobs; no number depends on it."""

    patterns: PositiveInt = 64
    """Diffraction patterns of one chunk on disk."""
    checkpoint: PositiveInt = 10
    """Sweeps between two checkpoints of a reconstruction."""


class ThickStudy(StudyFile):
    """What every study of a thick sample has.

    experiment: pixel_a is the wanted pixel of the reconstruction; the exact one makes the detector's window a whole
    number of the potential's pixels. applied_dose_e_per_a2 is required. The scan lies in the middle of the supercell.
    """

    sample: ThickSample
    """The crystal, its defects and films."""
    potential: PotentialSection = PotentialSection()
    """How the specimen's potential is computed."""
    experiment: ExperimentConfig
    """The acquisition; its `applied_dose_e_per_a2` is required, and its `pixel_a` is met as nearly as the supercell
    allows."""
    simulator: Literal["jax", "abtem"] = "jax"
    """What simulates the patterns: this package, or abTEM, an independent and slower code."""
    jobs: ThickJobs = ThickJobs()
    """How work is cut into jobs."""

    @model_validator(mode="after")
    def _dosed(self) -> ThickStudy:
        if self.experiment.applied_dose_e_per_a2 is None:
            raise InputError("experiment.applied_dose_e_per_a2", "is required", NOTHING, "Give the dose in e/A^2.")
        whole_scan(self.experiment, "experiment")
        return self


def varied(base: ExperimentConfig, point: dict[str, Any], where: str) -> ExperimentConfig:
    """The experiment with some of its numbers changed. Raises InputError that names the one at fault."""
    return at_point(base, point, where)


VARIED = VARIABLE


def check_files(study: ThickStudy, folder: Path) -> tuple[ThickStudy, Shape]:
    """The study with the structure file found from `folder`, and the size of its supercell.

    Raises InputError for a missing file, a supercell that isn't periodic or too small for the scan, or slices that
    the reconstruction could have made itself.
    """
    path = study.sample.file if study.sample.file.is_absolute() else Path(folder) / study.sample.file
    if not path.is_file():
        raise InputError("sample.file", "must exist", str(path), "Give its path from the study's folder.")
    study = study.model_copy(update={"sample": study.sample.model_copy(update={"file": path})})
    shape = shape_of(study.sample)
    for size, field, name in zip(shape.extent_a, study.experiment.field_of_view_a, "yx", strict=True):
        if field > size + 1e-6:
            raise InputError(
                "experiment.field_of_view_a",
                f"must fit into the supercell, which is {size:.1f} A along {name}",
                list(study.experiment.field_of_view_a),
                "Scan less, or give more sample.repeats.",
            )
    return study, shape


def check_margin(study: ThickStudy, margin_a: float, field: str) -> None:
    """Raise InputError unless a margin leaves something of the scanned field to be scored."""
    smallest = min(study.experiment.field_of_view_a)
    if 2 * margin_a > smallest - LEAST_SCORED_A:
        rule = f"must leave {LEAST_SCORED_A:g} A of the scanned field, {smallest:g} A"
        raise InputError(field, rule, margin_a, f"Give at most {max(smallest - LEAST_SCORED_A, 0) / 2:g}.")


def check_slices(study: ThickStudy, shape: Shape, slices: int, thickness_a: float, field: str) -> None:
    """Raise InputError unless the simulation's slices are finer than the reconstruction's."""
    simulated = study.potential.slice_a
    if thickness_a <= simulated * (1 + 1e-9) and slices > 1:
        raise InputError(
            field,
            f"must be thicker than the simulation's slices (potential.slice_a, {simulated:g} A): the data would be "
            "made as they are reconstructed",
            f"{slices} slices of {thickness_a:.3g} A",
            "Reconstruct thicker slices, or simulate thinner ones.",
        )
    if slices * thickness_a > 2 * shape.thickness_a or math.isinf(thickness_a):
        raise InputError(
            field,
            f"must not make more than twice the sample's {shape.thickness_a:.0f} A",
            f"{slices} slices of {thickness_a:.3g} A",
            "Correct it.",
        )
