"""Partial coherence as sums over a few sources and foci, shared by the simulators."""

from __future__ import annotations

import math

import numpy as np

from ptydesign.errors import InputError
from ptydesign.types import Experiment
from ptydesign.units import wavelength_a

TOLERANCE = 0.01
MOST_POINTS = 31


def source_points(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (n, 2) as (y, x) in angstrom and weights (n,) (sum 1) that stand for a Gaussian source.

    Gauss-Hermite quadrature. A pattern changes with the probe's position at spatial frequencies up to 2 alpha/lambda
    (the diameter of the aperture), which sets the number of points.
    """
    optics = experiment.optics
    size = experiment.source_size_a
    highest = 4 * math.pi * optics.semiangle_rad / wavelength_a(optics.voltage_kv) * size
    nodes, weights = gauss_hermite(highest, "source_size_a", size)
    offsets = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    return offsets * size, np.outer(weights, weights).reshape(-1)


def focal_points(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Changes of defocus (n,) in angstrom and weights (n,) (sum 1) that stand for a Gaussian focal spread.

    A pattern changes with defocus through phase differences inside the aperture, at most pi alpha^2/lambda per A.
    """
    optics = experiment.optics
    spread = experiment.focal_spread_a
    highest = math.pi * optics.semiangle_rad**2 / wavelength_a(optics.voltage_kv) * spread
    nodes, weights = gauss_hermite(highest, "focal_spread_a", spread)
    return nodes * spread, weights


def gauss_hermite(highest_rad: float, field: str, width_a: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (n,) of the mean over a standard normal t, exact to TOLERANCE for cos(w t), w <= highest_rad.

    n is odd and as small as that allows; 1 for highest_rad = 0.
    Raises InputError when more than MOST_POINTS would be needed.
    """
    if highest_rad == 0:
        return np.zeros(1), np.ones(1)
    frequencies = np.linspace(0, highest_rad, 100)
    exact = np.exp(-(frequencies**2) / 2)
    for count in range(3, MOST_POINTS + 1, 2):
        nodes, weights = np.polynomial.hermite_e.hermegauss(count)
        weights = weights / weights.sum()
        if np.max(np.abs(np.cos(frequencies[:, None] * nodes) @ weights - exact)) <= TOLERANCE:
            return nodes, weights
    raise InputError(
        f"experiment.{field}",
        f"must be resolved by {MOST_POINTS} quadrature points for this aperture",
        width_a,
        "Take a smaller value: with this one hardly any coherent signal is left.",
    )
