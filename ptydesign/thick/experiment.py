"""The experiment of a thick sample on the grids of its supercell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.fft import next_fast_len

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate.dataset import check_experiment
from ptydesign.simulate.thick import Shape
from ptydesign.simulate.window import Window, choose_window
from ptydesign.study.acquisition import OPERATOR_NAMES, ExperimentConfig, field_at, to_experiment
from ptydesign.types import Detector, Experiment


def potential_grid(shape: Shape, pixel_a: float) -> Grid:
    """The supercell divided into pixels of about pixel_a, in numbers that are quick to transform and even."""
    sizes = tuple(2 * next_fast_len(max(4, round(extent / pixel_a / 2))) for extent in shape.extent_a)
    return Grid(sizes, tuple(extent / n for extent, n in zip(shape.extent_a, sizes, strict=True)))


def fitted_detector(detector: Detector, grid: Grid) -> Detector:
    """A detector whose window is a whole number of the potential's pixels, next to the one that was wanted."""
    pixels = []
    for count, wanted, pixel in zip(detector.pixels, detector.pixel_a, grid.pixel_a, strict=True):
        near = round(count * wanted / pixel)
        found = min(_quick(near), key=lambda n: abs(n - near))
        pixels.append(found * pixel / count)
    return replace(detector, pixel_a=(pixels[0], pixels[1]))


def _quick(near: int) -> list[int]:
    """Numbers about `near` without prime factors above 5."""
    found = []
    for n in range(max(2, int(0.95 * near)), int(1.05 * near) + 2):
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            found.append(n)
    return found or [near]


def fitted_experiment(config: ExperimentConfig, grid: Grid, where: str, point: dict) -> Experiment:
    """The experiment on a supercell's grid. Raises InputError in the words of the study file."""
    experiment = to_experiment(config, config.applied_dose_e_per_a2, margin=False)
    experiment = replace(experiment, detector=fitted_detector(experiment.detector, grid))
    try:
        check_experiment(experiment)
    except InputError as error:
        raise in_operators_words(error, where, point) from None
    return experiment


def window_of(experiment: Experiment, grid: Grid, shape: Shape, where: str, point: dict) -> Window:
    """The window of the simulation. Raises InputError if it is larger than the supercell."""
    try:
        window = choose_window(experiment, grid.pixel_a, shape.thickness_a, supercell=grid.shape)
    except InputError as error:
        raise in_operators_words(error, where, point) from None
    for have, want, name in zip(grid.extent_a, window.grid.extent_a, "yx", strict=True):
        if want > have * (1 + 1e-9):
            raise InputError(
                "sample.repeats",
                f"must make a supercell of at least {want:.1f} A along {name}: the window that holds the probe and its "
                "spreading",
                f"{have:.1f} A",
                "Repeat the crystal more often, or take fewer detector pixels, less defocus or a thinner sample.",
            )
    return window


def in_operators_words(error: InputError, where: str, point: dict) -> InputError:
    """An error of the experiment in the words of the study file."""
    name = OPERATOR_NAMES.get(error.field, error.field)
    return InputError(field_at(where, name, point), error.rule, error.value, error.mend)


def scan_centre(grid: Grid) -> tuple[float, float]:
    """(y, x) of the middle of the supercell."""
    return grid.extent_a[0] / 2, grid.extent_a[1] / 2


def slice_depths(slices: int, thickness_a: float) -> np.ndarray:
    """(slices,) depth of the middle of each slice of a reconstruction."""
    return (np.arange(slices) + 0.5) * thickness_a


def optics_at_first_slice(experiment: Experiment, slice_a: float, simulated_slice_a: float):
    """The optics with the focus moved to the middle of the reconstruction's first slice.

    Multislice puts a slice's potential into one plane. The simulation's first plane stands for the middle of a slice of
    simulated_slice_a, the reconstruction's for the middle of its own, thicker one; between them the probe travels half
    the difference. Without this, every depth would come out half a slice too large.
    """
    return replace(experiment.optics, defocus_a=experiment.optics.defocus_a - 0.5 * (slice_a - simulated_slice_a))
