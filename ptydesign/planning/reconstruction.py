"""The reconstruction that trials use, and the plan for the day."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptydesign.planning.config import InstrumentConfig, PlanningStudy
from ptydesign.planning.instrument import Beam, Bench
from ptydesign.reconstruct.plan import Plan
from ptydesign.simulate.coherence import MOST_RAD, beam_phases_rad, mode_powers
from ptydesign.simulate.specimen import ImageSample, build_atoms
from ptydesign.units import MRAD, NM

SEARCHED, VALUES = 2.5, 7  # standard deviations of the defocus to each side, and how many values of it are tried
SLICE_A = 20.0  # thickness of a slice of the reconstruction
HELD, MOST_MODES = 0.9, 8  # part of the electrons in the probe modes of a reconstruction, and the most of these
GOOD_SPREAD_RAD = 1.0  # of phase at the edge of the aperture: a focal spread that hardly shows
# Short steps, and momentum that comes with the sweeps: at low dose the best stop isn't leapt over.
SLOW_START = {"object_step": 0.3, "momentum": {"schedule": "linear", "start": 0.0, "end": 0.9, "sweeps": 20}}
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


def day_reconstruction(
    plan: PlanningStudy, stop: int | None = None, mode_powers: tuple[float, ...] = (), mtf_nyquist: float = 1.0
) -> Plan:
    """The reconstruction to run on the day: that of the trials, which the predicted score is of.

    stop: the sweep after which it ends; None: when its engines end. mode_powers: of `probe_powers`. mtf_nyquist: of
    the detector at the voltage.
    """
    content = trial_reconstruction(plan, mode_powers, mtf_nyquist).model_dump()
    engines = content["engines"]
    before = sum(engine["sweeps"] for engine in engines[:-1])
    if stop is not None and stop > before:
        engines[-1]["sweeps"] = stop - before
    return Plan(**content)


def probe_powers(bench: Bench, beam: Beam) -> tuple[float, ...]:
    """Powers of the probe modes after the first that a reconstruction needs: none where source and focal spread are
    fine enough, else those of the fewest coherent modes that hold HELD of the electrons, at most MOST_MODES.

    The card, the trials and the plan for the day all ask here.
    """
    phases = beam_phases_rad(beam.voltage_kv, beam.semiangle_mrad * MRAD, beam.source_size_a, beam.focal_spread_nm * NM)
    if beam.source_size_a <= bench.good_source_a and phases[1] <= GOOD_SPREAD_RAD:
        return ()
    powers = mode_powers(*(min(phase, MOST_RAD) for phase in phases))
    count = min(1 + int(np.searchsorted(np.cumsum(powers), HELD)), MOST_MODES, len(powers))
    kept = powers[:count] / powers[:count].sum()
    return tuple(round(float(power), 4) for power in kept[1:])


def trial_reconstruction(plan: PlanningStudy, mode_powers: tuple[float, ...] = (), mtf_nyquist: float = 1.0) -> Plan:
    """The plan's reconstruction, or the default: the defocus by the data, then LSQ-ML, or gradient descent in slices of
    20 A of a sample in slices, with probe modes of these powers after the first. It knows the detector's MTF."""
    if plan.reconstruction is not None:
        return plan.reconstruction
    error = plan.instrument.defocus_error_nm
    offsets = [round(float(error * part), 4) for part in np.linspace(-SEARCHED, SEARCHED, VALUES)]
    refined = {"refine_positions": True} if positions_wrong(plan.instrument) else {}
    first: dict[str, Any] = {"calibrate": {"offsets": {"defocus_nm": offsets}}} if error else {}
    if mtf_nyquist < 1:
        first["correction"] = {"mtf_nyquist": round(mtf_nyquist, 4)}
    if mode_powers:
        first["probe"] = {"mode_powers": mode_powers}
    if not in_slices(plan):
        engine = {"engine": "lsqml", "batches": "compact", "noise": "poisson", "sweeps": 50, "group": 128}
        return Plan(**first, engines=[{**engine, **SLOW_START, **refined, "probe_start": 10}])
    thickness = thickness_a(plan)
    slices = max(2, round(thickness / SLICE_A))
    engine: dict[str, Any] = {"engine": "gradient", "noise": "poisson", "sweeps": 40, "group": 32, **refined}
    return Plan(**first, object={"slices": slices, "slice_thickness_a": thickness / slices}, engines=[engine])
