"""Objectives besides the score: what an experiment costs in dose and time, and the Pareto front of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.constants import e

from ptydesign.design.sampling import electrons_per_pattern, scan_time_s
from ptydesign.experiment.config import SearchObjective, StudyConfig
from ptydesign.experiment.points import experiment_at
from ptydesign.study.acquisition import ExperimentConfig

COLUMNS = {"dose": "applied_dose_e_per_a2", "time": "scan_time_s"}


def costs(objective: SearchObjective, experiment: ExperimentConfig, dose_e_per_a2: float) -> dict[str, float]:
    """Each further objective of an experiment at a study's dose: the dose in e/A^2, the scan's time in s."""
    applied = experiment.applied_dose_e_per_a2 or dose_e_per_a2
    found = {}
    for name in objective.against:
        if name == "dose":
            found[name] = float(applied)
        else:
            coulomb = electrons_per_pattern(applied, experiment.step_a) * e
            dwell_s = max(coulomb / (objective.current_pa * 1e-12), objective.least_dwell_us * 1e-6)
            found[name] = float(scan_time_s(experiment.positions, 1 / dwell_s))
    return found


def costs_at(study: StudyConfig, point: Mapping[str, Any], dose_e_per_a2: float) -> dict[str, float]:
    """`costs` of a point of the study's space."""
    if not study.objective.against:
        return {}
    return costs(study.objective, experiment_at(study.experiment, point), dose_e_per_a2)


def front(score: Sequence[float], minimised: Iterable[Sequence[float]]) -> np.ndarray:
    """(n,) bool: which of n trials no other beats, being as good in all objectives and better in one."""
    losses = np.stack([-np.asarray(score, float), *(np.asarray(one, float) for one in minimised)], axis=1)
    others = losses[None]
    beaten = np.all(others <= losses[:, None], axis=2) & np.any(others < losses[:, None], axis=2)
    return ~np.any(beaten, axis=1)
