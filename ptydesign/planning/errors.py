"""Errors that nobody sets on purpose: draws of them, and the trial of a setting under one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ptydesign.planning import aberrations
from ptydesign.planning.gun import LEAST_TIMES, MOST_TIMES
from ptydesign.planning.instrument import Setting
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import in_slices
from ptydesign.planning.resolve import (
    AFFINE,
    LARGEST_ERROR,
    PlanningResolved,
    detected_dose,
    drift_angle,
    thickness_factors,
    to_experiment_config,
)
from ptydesign.planning.trial import PlannedTrial
from ptydesign.study.store import seed_of

FIRST_REPEAT = 1000  # repeats of draws, apart from those of plain repeats
OF_SCAN = ("rotation_error_deg", *AFFINE)
OF_SEARCH = 100_000  # number of a search's first draw, apart from those that designs are compared under


@dataclass(frozen=True)
class Errors:
    """One draw of everything that may be wrong. Factors (drift, source, focal spread, thickness) are of what is
    planned. aberrations: see `aberrations.drawn`. The last four are of the scan, as in `ExperimentConfig`."""

    defocus_nm: float = 0.0
    drift: float = 1.0
    drift_angle_rad: float = math.pi / 4
    source: float = 1.0
    tilt_mrad: tuple[float, float] = (0.0, 0.0)
    thickness: float = 1.0
    focal_spread: float = 1.0
    aberrations: aberrations.Parts = field(default_factory=dict)
    rotation_error_deg: float = 0.0
    scale_error: float = 0.0
    aspect_error: float = 0.0
    shear_error: float = 0.0

    @property
    def of_scan(self) -> dict[str, float]:
        """Errors of the scan's calibration as fields of `ExperimentConfig`."""
        return {name: getattr(self, name) for name in OF_SCAN}


def draw_errors(resolved: PlanningResolved, number: int) -> Errors:
    """Draw `number`: the same for every design, so that they are compared under the same errors."""
    plan, instrument = resolved.study, resolved.study.instrument
    rng = np.random.default_rng(seed_of(plan.seed, "errors", number))
    normal = rng.standard_normal(3)
    thick = in_slices(plan)
    factors = (1.0, *thickness_factors(plan))
    # streams of their own: what is drawn above doesn't depend on what else an instrument has
    of_lenses = np.random.default_rng(seed_of(plan.seed, "aberrations", number))
    scan = np.random.default_rng(seed_of(plan.seed, "scan", number)).standard_normal(4)
    scan = np.clip(scan, -LARGEST_ERROR, LARGEST_ERROR)
    widths = (instrument.rotation_error_deg, *[instrument.affine_error] * len(AFFINE))
    of_scan = {name: round(float(n) * w, 6) + 0.0 for name, n, w in zip(OF_SCAN, scan, widths, strict=True)}
    drift, turned = float(rng.uniform(0, 2)), float(rng.uniform(0, 2 * math.pi))
    known = instrument.drift_direction_deg is not None
    return Errors(
        defocus_nm=round(float(normal[0]) * instrument.defocus_error_nm, 3),
        drift=round(drift, 3),
        drift_angle_rad=round(drift_angle(resolved.bench) if known else turned, 3),
        source=round(float(rng.uniform(LEAST_TIMES, MOST_TIMES)), 3),
        tilt_mrad=tuple(round(float(v) * plan.robustness.tilt_mrad, 3) for v in normal[1:]) if thick else (0.0, 0.0),
        thickness=float(factors[int(rng.integers(len(factors)))]),
        focal_spread=round(float(rng.uniform(LEAST_TIMES, MOST_TIMES)), 3),
        aberrations=aberrations.drawn(instrument.aberrations, of_lenses),
        **of_scan,
    )


def drawn(
    resolved: PlanningResolved, setting: Setting, dose_e_per_a2: float, number: int, stop: int | None = None
) -> tuple[PlannedTrial, Errors]:
    """The trial of a setting under draw `number` of all errors, and these."""
    bench, errors = resolved.bench, draw_errors(resolved, number)
    operation = operate(bench, setting, dose_e_per_a2)
    believed = to_experiment_config(bench, operation)
    factors = errors.drift, errors.drift_angle_rad, errors.source, errors.focal_spread
    true = to_experiment_config(bench, operation, *factors)
    # the scan on the day is the planned one, whatever goes wrong
    wrong = {"defocus_nm": setting.defocus_nm + errors.defocus_nm, "scan_margin_a": believed.margin_a}
    wrong |= {**errors.of_scan, **aberrations.fields(bench.instrument.aberrations, errors.aberrations)}
    trial = PlannedTrial(
        true.model_copy(update=wrong),
        detected_dose(bench, operation),
        repeat=FIRST_REPEAT + number,
        stop=stop,
        believed=believed,
        tilt_mrad=errors.tilt_mrad,
        applied_e_per_a2=dose_e_per_a2,
    )
    return trial, errors
