"""From a potential and an experiment to what a microscope would have recorded, and the truth behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from scipy.fft import next_fast_len

from ptydesign import __version__
from ptydesign.errors import InputError, nearest
from ptydesign.losses import THETA_C_RAD
from ptydesign.simulate.coherence import source_points
from ptydesign.simulate.detector import MAX_MEAN_COUNTS, blurred, check_detector, readout
from ptydesign.simulate.scan import check_scan, half_extent_a, raster, true_positions
from ptydesign.simulate.window import Window, choose_window
from ptydesign.types import Dataset, Experiment, Potential, Truth
from ptydesign.units import interaction_parameter
from ptydesign.waves import HIGHER

FINITE = (
    "dose_e_per_a2",
    "source_size_a",
    "focal_spread_a",
    "intensity_rms",
    "defocus_drift_a",
    "astigmatism_drift_a",
    "inelastic_part",
    "inelastic_angle_rad",
)


def _jax(*args, **kwargs) -> np.ndarray:
    from ptydesign.simulate.jax_simulator import intensities

    return intensities(*args, **kwargs)


def _abtem(*args, **kwargs) -> np.ndarray:
    from ptydesign.simulate.abtem_simulator import intensities  # importing abTEM takes 10 s

    return intensities(*args, **kwargs)


SIMULATORS: dict[str, Callable[..., np.ndarray]] = {"jax": _jax, "abtem": _abtem}


# Fields of parts of an experiment that were added later.
ADDED = {
    "optics": {f"{name}{end}" for name, *_ in HIGHER for end in ("_a", "_angle_rad")},
    "scan": {"line_noise_a", "aspect_error", "shear_error"},
    "detector": {"point_sampled"},
}


def content_of(experiment: Experiment) -> dict[str, Any]:
    """All of an experiment as nested dicts. What later versions added is left out where it is off: seeds and stored
    data are found by this."""
    found = asdict(experiment)
    for section, names in ADDED.items():
        found[section] = {name: value for name, value in found[section].items() if value or name not in names}
    if not experiment.inelastic_part:
        del found["inelastic_part"], found["inelastic_angle_rad"]
    return found


def check_experiment(experiment: Experiment) -> None:
    """Raises InputError for an experiment that cannot be made, whatever the specimen."""
    optics = experiment.optics
    check_scan(experiment.scan)
    check_detector(experiment.detector)
    numbers = {f"optics.{name}": value for name, value in asdict(optics).items()}
    numbers |= {name: getattr(experiment, name) for name in FINITE}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise InputError(name, "must be finite", value, "Correct the value.")
    for name, value in {
        "dose_e_per_a2": experiment.dose_e_per_a2,
        "optics.voltage_kv": optics.voltage_kv,
        "optics.semiangle_rad": optics.semiangle_rad,
    }.items():
        if value <= 0:
            raise InputError(name, "must be positive", value, "Correct the value.")
    for name in ("source_size_a", "focal_spread_a", "intensity_rms"):
        if getattr(experiment, name) < 0:
            raise InputError(name, "must not be negative", getattr(experiment, name), "Give 0 for none.")
    if not 0 <= experiment.inelastic_part < 1:
        mend = "Give the part of the electrons, as 0.2."
        raise InputError("inelastic_part", "must be at least 0 and less than 1", experiment.inelastic_part, mend)
    if not 0 < experiment.inelastic_angle_rad < THETA_C_RAD:
        rule, mend = f"must lie between 0 and {THETA_C_RAD:g} rad", "Give some 1e-4."
        raise InputError("inelastic_angle_rad", rule, experiment.inelastic_angle_rad, mend)
    if optics.semiangle_rad >= 0.5:
        raise InputError("optics.semiangle_rad", "must be below 0.5 rad", optics.semiangle_rad, "Give it in radian.")
    if experiment.electrons_per_pattern > MAX_MEAN_COUNTS:
        raise InputError(
            "dose_e_per_a2",
            f"must give at most {MAX_MEAN_COUNTS:.0f} electrons per pattern (dose x step^2)",
            experiment.dose_e_per_a2,
            "Lower the dose or take a smaller step.",
        )


def simulate(
    potential: Potential,
    experiment: Experiment,
    seed: int,
    simulator: str = "jax",
    centre_a: tuple[float, float] | None = None,
    periodic: bool = False,
) -> tuple[Dataset, Truth]:
    """A dosed 4D-STEM dataset and the truth behind it.

    seed: gives the position errors and the counting noise, as two independent streams. centre_a: (y, x) of the scan's
    centre in the specimen's frame, default the specimen's centre. periodic: the specimen repeats, so that windows may
    reach over its edges. Counts are Poisson with mean dose * step^2 * (fraction that falls on the pixel) + background.
    Raises InputError for an unknown simulator, an impossible experiment, or a specimen smaller than scan plus window.
    """
    return simulate_doses(potential, experiment, [experiment.dose_e_per_a2], seed, simulator, centre_a, periodic)[0]


def simulate_doses(
    potential: Potential,
    experiment: Experiment,
    doses_e_per_a2: Sequence[float],
    seed: int,
    simulator: str = "jax",
    centre_a: tuple[float, float] | None = None,
    periodic: bool = False,
) -> list[tuple[Dataset, Truth]]:
    """As `simulate`, for the same scan at several doses: the mean patterns are computed once. The first dose has the
    noise that `simulate` gives it; the others have streams of their own."""
    if simulator not in SIMULATORS:
        raise InputError("simulator", "must be a known simulator", simulator, nearest(str(simulator), SIMULATORS))
    experiments = [replace(experiment, dose_e_per_a2=dose) for dose in doses_e_per_a2]
    for one in experiments:
        check_experiment(one)
    thickness = float(np.sum(potential.thickness_a[:-1]))
    window = choose_window(experiment, potential.pixel_a, thickness, fine=simulator == "abtem")
    if centre_a is None:
        centre_a = tuple(size / 2 for size in potential.grid.extent_a)
    nominal = raster(experiment.scan, centre_a)
    true = true_positions(experiment.scan, nominal, np.random.default_rng([seed, 0]))
    mean = SIMULATORS[simulator](potential, experiment, true, window, periodic=periodic)
    mean = blurred(mean, experiment) * intensity_factors(experiment, len(mean), seed)
    background = experiment.detector.background_e_per_px
    shape = experiment.detector.pixels
    found = []
    for number, one in enumerate(experiments):
        rng = np.random.default_rng([seed, 1, number] if number else [seed, 1])
        dataset = Dataset(
            patterns=readout(mean, one.electrons_per_pattern, background, rng),
            positions_a=nominal,
            grid=one.detector.grid,
            voltage_kv=one.optics.voltage_kv,
            mask=np.ones(shape, np.float32),
            optics=one.optics,
            electrons_per_pattern=one.electrons_per_pattern,
            background=np.full(shape, background, np.float32) if background else None,
            provenance=_provenance(one, seed, simulator, window),
        )
        found.append((dataset, _truth(potential, one, true)))
    return found


def intensity_factors(experiment: Experiment, count: int, seed: int) -> np.ndarray:
    """(count, 1, 1) float32 factors of the patterns' intensities: normal about 1, a third stream of the seed; cut off
    at
    0.1, so that every pattern has a beam."""
    rng = np.random.default_rng([seed, 2])
    factors = 1 + experiment.intensity_rms * rng.standard_normal((count, 1, 1))
    return np.maximum(factors, 0.1).astype(np.float32)


def required_shape(
    experiments: Iterable[Experiment], pixel_a: tuple[float, float], thickness_a: float = 0.0
) -> tuple[int, int]:
    """Smallest FFT-friendly potential shape (ny, nx) that holds scan and window of every experiment.

    The scan is at the specimen's centre. Room is kept for drift, calibration errors, source size, and jitter up to six
    standard deviations.
    thickness_a: between the first and the last slice.
    """
    needed = np.zeros(2, int)
    for experiment in experiments:
        check_experiment(experiment)
        reach = half_extent_a(experiment.scan) + source_points(experiment)[0].max(axis=0)
        for fine in (False, True):  # either simulator's
            grid = choose_window(experiment, pixel_a, thickness_a, fine).grid
            # 2: rounding to whole pixels on both sides
            sides = [2 * r + (n + 2) * p for r, n, p in zip(reach, grid.shape, grid.pixel_a, strict=True)]
            needed = np.maximum(needed, np.ceil(np.asarray(sides) / pixel_a).astype(int))
    return next_fast_len(int(needed[0])), next_fast_len(int(needed[1]))


def _truth(potential: Potential, experiment: Experiment, positions_a: np.ndarray) -> Truth:
    sigma = interaction_parameter(experiment.optics.voltage_kv)
    return Truth(
        phase_rad=(sigma * potential.slices_va.mean(axis=0)).astype(np.float32),
        pixel_a=tuple(potential.pixel_a),
        positions_a=positions_a,
        thickness_a=np.asarray(potential.thickness_a, float),
    )


def _provenance(experiment: Experiment, seed: int, simulator: str, window: Window) -> dict:
    return {
        "ptydesign": __version__,
        "simulator": simulator,
        "seed": int(seed),
        "window_px": list(window.grid.shape),
        "window_pixel_a": list(window.grid.pixel_a),
        "experiment": content_of(experiment),
    }
