"""The reconstruction that trials use, and the plan for the day."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptydesign.planning.config import InstrumentConfig, PlanningStudy
from ptydesign.reconstruct.plan import Plan
from ptydesign.simulate.specimen import ImageSample, build_atoms

SEARCHED, VALUES = 2.5, 7  # standard deviations of the defocus to each side, and how many values of it are tried
SLICE_A = 20.0  # thickness of a slice of the reconstruction
PIECE_A = (8.0, 8.0)  # of the sample, enough to know its thickness


def thickness_a(plan: PlanningStudy) -> float:
    """Thickness of the sample; that which an image records."""
    if isinstance(plan.sample, ImageSample):
        return plan.sample.thickness_a
    return float(build_atoms(plan.sample, PIECE_A).cell.lengths()[2])


def in_slices(plan: PlanningStudy) -> bool:
    """Whether the sample is simulated in several slices."""
    slice_a = plan.simulation.slice_thickness_a
    return slice_a is not None and not isinstance(plan.sample, ImageSample) and thickness_a(plan) > slice_a


def positions_wrong(instrument: InstrumentConfig) -> bool:
    """Whether a scan has any error, so that its positions are to be refined."""
    names = ("drift_a_per_min", "position_jitter_a", "line_noise_a", "affine_error", "rotation_error_deg")
    return any(getattr(instrument, name) for name in names)


def day_reconstruction(plan: PlanningStudy, stop: int | None = None) -> Plan:
    """The reconstruction to run on the day: that of the trials, which the predicted score is of.

    stop: the sweep after which it ends; None: when its engines end.
    """
    engines = [engine.model_dump() for engine in trial_reconstruction(plan).engines]
    before = sum(engine["sweeps"] for engine in engines[:-1])
    if stop is not None and stop > before:
        engines[-1]["sweeps"] = stop - before
    content = trial_reconstruction(plan).model_dump()
    return Plan(**{**content, "engines": engines})


def trial_reconstruction(plan: PlanningStudy) -> Plan:
    """The plan's reconstruction, or the default: the defocus by the data, then LSQ-ML, or gradient descent in slices of
    20 A of a sample in slices."""
    if plan.reconstruction is not None:
        return plan.reconstruction
    error = plan.instrument.defocus_error_nm
    offsets = [round(float(error * part), 4) for part in np.linspace(-SEARCHED, SEARCHED, VALUES)]
    refined = {"refine_positions": True} if positions_wrong(plan.instrument) else {}
    first: dict[str, Any] = {"calibrate": {"offsets": {"defocus_nm": offsets}}} if error else {}
    if not in_slices(plan):
        engine = {"engine": "lsqml", "batches": "compact", "noise": "poisson", "sweeps": 50, "group": 128}
        return Plan(**first, engines=[{**engine, **refined, "probe_start": 10}])
    thickness = thickness_a(plan)
    slices = max(2, round(thickness / SLICE_A))
    engine: dict[str, Any] = {"engine": "gradient", "noise": "poisson", "sweeps": 40, "group": 32, **refined}
    return Plan(**first, object={"slices": slices, "slice_thickness_a": thickness / slices}, engines=[engine])
