"""Work and memory of a study's jobs. Work is counted in FFT units (`ptydesign.study.cost`)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from ptydesign.experiment import scope
from ptydesign.experiment.checks import map_point
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.points import experiment_at
from ptydesign.simulate.coherence import probe_count
from ptydesign.simulate.window import choose_window
from ptydesign.study.acquisition import ExperimentConfig, at_point, to_experiment
from ptydesign.study.cost import transform

# Time of a pattern in one sweep, or in the simulation of one slice, over that of one transform: transforms there and
# back and the arithmetic between them. Measured on one core; within a factor of two elsewhere.
SWEEP_TRANSFORMS = 8.0
SIMULATION_TRANSFORMS = 4.0
ABTEM_FACTOR = 6.0  # simulating a pattern by abTEM over the jax simulator
COMPILE_S = 2.5  # of one shape, once
SAMPLES = 64  # points that stand for the space


def trial_work(
    study: StudyConfig, config: ExperimentConfig, slices: int = 1, configurations: int = 1, simulator: str = "jax"
) -> float:
    """Work of one trial in FFT units."""
    plan = study.reconstruction
    side = config.detector_pixels * plan.probe.window
    sweeps = plan.sweeps * plan.probe.modes * plan.object.slices
    reconstruction = sweeps * SWEEP_TRANSFORMS * transform(side**2)
    pixel = (study.potential.pixel_a, study.potential.pixel_a)
    experiment = to_experiment(config, study.doses_e_per_a2[0])
    window = choose_window(experiment, pixel, fine=simulator == "abtem")
    waves = slices * configurations * probe_count(experiment)
    factor = ABTEM_FACTOR if simulator == "abtem" else 1.0
    simulation = factor * waves * SIMULATION_TRANSFORMS * transform(math.prod(window.grid.shape))
    return config.positions * (reconstruction + simulation)


def search_work(study: StudyConfig) -> dict[str, float]:
    """Mean work of one trial of each search, in FFT units."""
    found = scope.searches(study)
    work = dict.fromkeys(found, _mean_work(study, samples(study)))
    for search in found.values():
        if search.kind == scope.TUNED:
            work[search.name] = _mean_work(study, [experiment_at(study.experiment, study.reference.point)])
        if search.kind == scope.MAP:
            pairs = itertools.product(study.map.x.values, study.map.y.values)
            work[search.name] = _mean_work(study, [at_point(study.experiment, map_point(study, *p)) for p in pairs])
    return work


def refining_work(study: StudyConfig) -> float:
    """Work of all trials one by one after the searches, at most, in FFT units."""
    each = scope.refinements(study) - scope.from_others(study)
    return len(scope.refined(study)) * each * _mean_work(study, samples(study))


def decision_work(study: StudyConfig) -> float:
    """Work of all draws that decide, and of the trials before them, at most, in FFT units."""
    reference = [at_point(study.experiment, study.reference.point)]
    before = scope.refinements(study) - scope.from_others(study)
    total, own = scope.decision_trials(study) - before, study.decision.first
    own = own if study.tuned_space is None else total // 2
    each = (total - own) * _mean_work(study, samples(study)) + own * _mean_work(study, reference)
    return len(study.doses_e_per_a2) * each


def validation_work(study: StudyConfig) -> float:
    """Work of all re-simulations, in FFT units."""
    reference, total = [at_point(study.experiment, study.reference.point)], 0.0
    plans = 1 if study.tuned_space is None else 2
    for simulator in scope.simulators(study):
        both = sum(_mean_work(study, configs, simulator) for configs in (samples(study), reference))
        total += plans * both * (study.validation.repeats if simulator == "jax" else 1)
    return len(study.doses_e_per_a2) * total


def compile_s(study: StudyConfig) -> float:
    """Seconds of compiling. About so many array shapes: detector sizes, each with a few windows and sizes of scans."""
    sizes = study.space.root.get("detector_pixels")
    return COMPILE_S * 4 * (len(sizes.choices) if sizes is not None and sizes.choices else 3)


def samples(study: StudyConfig) -> list[ExperimentConfig]:
    """Experiments that stand for the space."""
    points = scope.design_space(study).draw(np.random.default_rng(0), SAMPLES)
    return [experiment_at(study.experiment, point) for point in points]


def memory_gib(study: StudyConfig, shape: tuple[int, int]) -> float:
    """Of one job of a search."""
    return trials_gib([at_point(study.experiment, study.reference.point), *samples(study)], shape)


def trials_gib(configs: Sequence[ExperimentConfig], shape: tuple[int, int]) -> float:
    """Of one job that makes trials of some experiments: the potential, and patterns of the largest."""
    patterns = max(c.positions * c.detector_pixels**2 for c in configs)
    return potential_gib(shape) + 3 * 4 * patterns / 2**30


def potential_gib(shape: tuple[int, int]) -> float:
    """Of libraries and of a potential (several copies of one slice)."""
    return 0.8 + 24 * math.prod(shape) / 2**30


def _mean_work(study: StudyConfig, configs: list[ExperimentConfig], simulator: str = "jax") -> float:
    return float(np.mean([trial_work(study, config, simulator=simulator) for config in configs]))
