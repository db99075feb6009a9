"""Time and memory of a study before it starts: a deterministic work model times a measured FFT rate.

A trial's work is counted in FFT units, n log2 n for a transform of n pixels. It depends on the study file only; the
machine enters through the rate alone, so that searches and progress never look at a clock to decide anything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ptydesign.design.space import build_space
from ptydesign.experiment import layout
from ptydesign.experiment.checks import map_point
from ptydesign.experiment.config import StudyConfig
from ptydesign.simulate.coherence import probe_count
from ptydesign.simulate.detector import choose_window
from ptydesign.study.acquisition import ExperimentConfig, at_point, to_experiment
from ptydesign.study.cost import START_S, duration, fft_rate, transform

# Time of a pattern in one sweep, or in the simulation of one slice, over that of one transform: transforms there and
# back and the arithmetic between them. Measured on one core; within a factor of two elsewhere.
SWEEP_TRANSFORMS = 8.0
SIMULATION_TRANSFORMS = 4.0
ABTEM_FACTOR = 6.0  # one pattern by abTEM over one by the jax simulator
COMPILE_S = 2.5  # of one shape, once
SAMPLES = 64  # points that stand for the space


def trial_work(study: StudyConfig, config: ExperimentConfig, slices: int = 1, configurations: int = 1) -> float:
    """Work of one trial in FFT units."""
    plan = study.reconstruction
    side = config.detector_pixels
    sweeps = plan.sweeps * plan.probe.modes * plan.object.slices
    reconstruction = sweeps * SWEEP_TRANSFORMS * transform(side**2)
    pixel = (study.potential.pixel_a, study.potential.pixel_a)
    experiment = to_experiment(config, study.doses_e_per_a2[0])
    window = choose_window(experiment, pixel)
    waves = slices * configurations * probe_count(experiment)
    simulation = waves * SIMULATION_TRANSFORMS * transform(math.prod(window.grid.shape))
    return config.positions * (reconstruction + simulation)


def study_work(study: StudyConfig) -> dict[str, float]:
    """Work in FFT units of every search (by name) and of the validation."""
    space = build_space(study.space)
    rng = np.random.default_rng(0)
    sample = [at_point(study.experiment, p) for p in space.from_cube(rng.random((SAMPLES, len(space.names))))]
    typical = float(np.mean([trial_work(study, config) for config in sample]))
    work = {}
    for name, search in layout.searches(study).items():
        if search.kind == layout.MAP:
            pairs = itertools.product(study.map.x.values, study.map.y.values)
            work[name] = sum(trial_work(study, at_point(study.experiment, map_point(study, x, y))) for x, y in pairs)
        else:
            work[name] = typical * search.total
    reference = trial_work(study, at_point(study.experiment, study.reference.point))
    abtem = ABTEM_FACTOR if study.validation.abtem else 0.0
    each = study.validation.repeats + (1.0 if abtem else 0.0)
    work["validation"] = len(study.doses_e_per_a2) * each * (typical + reference)
    return work


def estimate(study: StudyConfig, shape: tuple[int, int], cores: int, rate: float | None = None) -> dict[str, Any]:
    """Trials, time in minutes and memory in GiB, JSON-able. shape: (ny, nx) of the potential."""
    rate = rate or fft_rate()
    searches = layout.searches(study)
    work = study_work(study)
    jobs = sum(search.chunks(r) for search in searches.values() for r in range(len(search.sizes)))
    jobs += len(layout.validation_files(study)) + sum(len(s.sizes) for s in searches.values())
    jobs += len(study.doses_e_per_a2) + 5  # choices of winners; plan, potential, tables, figures, report
    compute = sum(work.values()) / rate
    seconds = compute + jobs * START_S + COMPILE_S * _shapes(study)
    # the longest chain: the rounds of one search follow one another
    chain = max(work[name] / rate * study.jobs.chunk / max(search.sizes) for name, search in searches.items())
    return {
        "trials": {**{name: s.total for name, s in searches.items()}, "validation": layout.validation_trials(study)},
        "trials_total": layout.total_trials(study),
        "jobs": jobs,
        "work_fft_units": float(f"{sum(work.values()):.4g}"),
        "fft_units_per_s": float(f"{rate:.3g}"),
        "core_minutes": round(seconds / 60, 1),
        "cores": cores,
        "minutes": round(max(seconds / cores, chain) / 60, 1),
        "memory_gib": round(memory_gib(study, shape), 2),
        "memory_gib_all_cores": round(cores * memory_gib(study, shape), 2),
    }


def summary(study: StudyConfig, numbers: Mapping[str, Any]) -> str:
    """The estimate in two lines, for a terminal."""
    parts = ", ".join(f"{name} {count}" for name, count in numbers["trials"].items())
    minutes, work = duration(numbers["minutes"]), duration(numbers["core_minutes"])
    return (
        f"{study.study} ({study.scale}): {numbers['trials_total']} trials ({parts}) in {numbers['jobs']} jobs\n"
        f"estimate: {minutes} on {numbers['cores']} cores ({work} of one core), "
        f"{numbers['memory_gib']:g} GiB for each job, {numbers['memory_gib_all_cores']:g} GiB in all"
    )


def _shapes(study: StudyConfig) -> int:
    """About how many array shapes are compiled: detector sizes, each with a few window factors and scan sizes."""
    sizes = study.space.root.get("detector_pixels")
    return 4 * (len(sizes.choices) if sizes is not None and sizes.choices else 3)


def memory_gib(study: StudyConfig, shape: tuple[int, int]) -> float:
    """Of one job: libraries, the potential (several copies of one slice), patterns of the largest trial."""
    ends = [at_point(study.experiment, study.reference.point)]
    space = build_space(study.space)
    sample = space.from_cube(np.random.default_rng(0).random((SAMPLES, len(space.names))))
    ends += [at_point(study.experiment, point) for point in sample]
    patterns = max(c.positions * c.detector_pixels**2 for c in ends)
    return (0.8 * 2**30 + 24 * math.prod(shape) + 3 * 4 * patterns) / 2**30
