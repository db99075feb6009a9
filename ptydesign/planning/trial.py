"""A planned trial: what the specimen and the microscope really are, and what the operator believes.

Everything else is `study.trial`. A trial whose belief is right and whose specimen isn't tilted has the key that it has
in a study of an experiment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptydesign.experiment.trial import Trial
from ptydesign.study.acquisition import ExperimentConfig, to_experiment
from ptydesign.units import MRAD

if TYPE_CHECKING:
    from ptydesign.experiment.config import StudyConfig
    from ptydesign.types import Dataset, Potential


@dataclass(frozen=True)
class PlannedTrial(Trial):
    """believed: the acquisition as the operator set it, where it differs from `experiment`, the true one. tilt_mrad:
    (y, x) mistilt of a specimen in slices, unknown to the operator. applied_e_per_a2: all that the specimen gets."""

    believed: ExperimentConfig | None = None
    tilt_mrad: tuple[float, float] = (0.0, 0.0)
    applied_e_per_a2: float | None = None

    @property
    def asked_e_per_a2(self) -> float:
        """The dose of the plan, of which the trial has what is counted."""
        return self.dose_e_per_a2 if self.applied_e_per_a2 is None else self.applied_e_per_a2

    def inputs(self, study: StudyConfig, potential_key: str) -> dict[str, Any]:
        """Everything that determines the result."""
        more: dict[str, Any] = {}
        if self.believed is not None:
            more["believed"] = self.believed.model_dump(mode="json")
        if any(self.tilt_mrad):
            more["tilt_mrad"] = list(self.tilt_mrad)
        return {**super().inputs(study, potential_key), **more}

    def specimen(self, potential: Potential) -> Potential:
        """The potential with its mistilt."""
        return tilted(potential, self.tilt_mrad) if any(self.tilt_mrad) else potential

    def known(self, dataset: Dataset) -> Dataset:
        """The dataset with the optics that the operator believes."""
        if self.believed is None:
            return dataset
        return replace(dataset, optics=to_experiment(self.believed, self.dose_e_per_a2).optics)


def tilted(potential: Potential, tilt_mrad: tuple[float, float]) -> Potential:
    """Slices sheared by depth x tan(tilt) about the middle of the specimen, the tilt of a thin specimen by a few mrad
    (Kirkland 2020, sec. 6.6). tilt_mrad: (y, x)."""
    depth = np.concatenate([[0.0], np.cumsum(potential.thickness_a)[:-1]])
    depth = depth - depth.mean()
    ky, kx = potential.grid.frequencies()
    kx = kx[:, : kx.shape[1] // 2 + 1]
    shifts = [np.tan(angle * MRAD) * depth for angle in tilt_mrad]
    slices = np.empty_like(potential.slices_va)
    for number in range(slices.shape[1]):
        turn = np.exp(-2j * math.pi * (ky * shifts[0][number] + np.abs(kx) * shifts[1][number]))
        spectrum = np.fft.rfft2(potential.slices_va[:, number]) * turn
        slices[:, number] = np.fft.irfft2(spectrum, s=potential.grid.shape)
    return replace(potential, slices_va=slices)
