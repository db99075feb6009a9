"""Errors that nobody sets on purpose: draws of them, and the trial of a setting under one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ptydesign.planning.instrument import Setting
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import in_slices
from ptydesign.planning.resolve import (
    LARGEST_SOURCE,
    PlanningResolved,
    detected_dose,
    thickness_factors,
    to_experiment_config,
)
from ptydesign.planning.trial import PlannedTrial
from ptydesign.study.store import seed_of

FIRST_REPEAT = 1000  # repeats of draws, apart from those of plain repeats
OF_SEARCH = 100_000  # number of a search's first draw, apart from those that designs are compared under


@dataclass(frozen=True)
class Errors:
    """One draw of everything that may be wrong. Factors are of the instrument's values; source None is coherent."""

    defocus_nm: float = 0.0
    drift: float = 1.0
    drift_angle_rad: float = math.pi / 4
    source: float | None = None
    tilt_mrad: tuple[float, float] = (0.0, 0.0)
    thickness: float = 1.0


def draw_errors(resolved: PlanningResolved, number: int) -> Errors:
    """Draw `number`: the same for every design, so that they are compared under the same errors."""
    plan, instrument = resolved.study, resolved.study.instrument
    rng = np.random.default_rng(seed_of(plan.seed, "errors", number))
    normal = rng.standard_normal(3)
    thick = in_slices(plan)
    factors = (1.0, *thickness_factors(plan))
    return Errors(
        defocus_nm=round(float(normal[0]) * instrument.defocus_error_nm, 3),
        drift=round(float(rng.uniform(0, 2)), 3),
        drift_angle_rad=round(float(rng.uniform(0, 2 * math.pi)), 3),
        source=round(float(rng.uniform(2 - LARGEST_SOURCE, LARGEST_SOURCE)), 3),
        tilt_mrad=tuple(round(float(v) * plan.robustness.tilt_mrad, 3) for v in normal[1:]) if thick else (0.0, 0.0),
        thickness=float(factors[int(rng.integers(len(factors)))]),
    )


def drawn(
    resolved: PlanningResolved, setting: Setting, dose_e_per_a2: float, number: int, stop: int | None = None
) -> tuple[PlannedTrial, Errors]:
    """The trial of a setting under draw `number` of all errors, and these."""
    bench, errors = resolved.bench, draw_errors(resolved, number)
    operation = operate(bench, setting, dose_e_per_a2)
    believed = to_experiment_config(bench, operation)
    true = to_experiment_config(bench, operation, errors.drift, errors.drift_angle_rad, errors.source)
    # the scan on the day is the planned one, whatever goes wrong
    wrong = {"defocus_nm": setting.defocus_nm + errors.defocus_nm, "scan_margin_a": believed.margin_a}
    trial = PlannedTrial(
        true.model_copy(update=wrong),
        detected_dose(bench, operation),
        repeat=FIRST_REPEAT + number,
        stop=stop,
        believed=believed,
        tilt_mrad=errors.tilt_mrad,
    )
    return trial, errors
