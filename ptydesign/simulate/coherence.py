"""Partial coherence: a Gaussian source and focal spread as points of each, and as the fewest incoherent probes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ptydesign.errors import InputError
from ptydesign.types import Experiment
from ptydesign.units import wavelength_a

TOLERANCE = 0.01  # of a quadrature, for the fringe that varies fastest
MOST_POINTS = 31
# Of the electrons, in probes that are too weak to be kept. Patterns are within 1 % (L2) of all probes: a weak one looks
# much like the sum of the strong ones, which are scaled to all electrons.
LEFT_OUT = 0.05


def phases_rad(experiment: Experiment) -> tuple[float, float]:
    """How coherent a beam is, in two phases in rad.

    Of the source: between opposite edges of the aperture at one standard deviation, 4 pi alpha sigma / lambda, since a
    pattern changes with the probe's position at spatial frequencies up to 2 alpha/lambda. Of the focal spread: between
    the middle and the edge of the aperture at one standard deviation, pi alpha^2 sigma / lambda.
    """
    optics = experiment.optics
    alpha, wavelength = optics.semiangle_rad, wavelength_a(optics.voltage_kv)
    source = 4 * math.pi * alpha * experiment.source_size_a / wavelength
    return source, math.pi * alpha**2 * experiment.focal_spread_a / wavelength


def source_points(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (n, 2) as (y, x) in angstrom and weights (n,) (sum 1) that stand for a Gaussian source."""
    size = experiment.source_size_a
    nodes, weights = gauss_hermite(phases_rad(experiment)[0], "source_size_a", size)
    return _square(nodes) * size, np.outer(weights, weights).reshape(-1)


def focal_points(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Changes of defocus (n,) in angstrom and weights (n,) (sum 1) that stand for a Gaussian focal spread."""
    spread = experiment.focal_spread_a
    nodes, weights = gauss_hermite(phases_rad(experiment)[1], "focal_spread_a", spread)
    return nodes * spread, weights


def incoherent_probes(spectrum: np.ndarray, angles: np.ndarray, experiment: Experiment) -> np.ndarray:
    """The fewest probes whose patterns add up to that of a partially coherent one, the strongest first.

    They are the eigenvectors of the mutual coherence over the aperture (Wolf, J. Opt. Soc. Am. 72:343, 1982) as the
    points above have it. At most a fraction LEFT_OUT of the electrons is not kept for source and for focal spread; the
    rest is scaled to all.

    spectrum: (pixel,) of the coherent probe, centred at r = 0. angles: (2, pixel) as (y, x) in units of the semi-angle.
    Returns (probe, pixel); the spectrum itself if the beam is coherent. Raises InputError as `gauss_hermite`.
    """
    widths = experiment.source_size_a, experiment.focal_spread_a
    return _incoherent_probes(spectrum, angles, phases_rad(experiment), widths)


def probe_count(experiment: Experiment) -> int:
    """How many probes `incoherent_probes` finds: for estimates, before there is a grid."""
    for points in (source_points, focal_points):
        points(experiment)  # raises InputError
    # in steps of 0.05 rad downwards, so that few are computed, and none beyond what was just checked
    return _probe_count(*(math.floor(phase / 0.05) * 0.05 for phase in phases_rad(experiment)))


@lru_cache(maxsize=1024)
def _probe_count(*phases: float) -> int:
    axis = np.linspace(-1, 1, 24)
    angles = _square(axis).T
    angles = angles[:, np.hypot(*angles) <= 1]
    return len(_incoherent_probes(np.ones(angles.shape[1], complex), angles, phases, phases))


def _incoherent_probes(spectrum: np.ndarray, angles: np.ndarray, phases: tuple, widths: tuple) -> np.ndarray:
    """phases: of `phases_rad`; widths: to be named in an error."""
    probes = spectrum[None]
    nodes, weights = gauss_hermite(phases[0], "source_size_a", widths[0])
    if len(nodes) > 1:
        shifts = np.exp(-0.5j * phases[0] * _square(nodes) @ angles)
        amplitudes = np.sqrt(np.outer(weights, weights)).reshape(-1, 1)
        probes = _fewest(amplitudes * shifts * spectrum)
    nodes, weights = gauss_hermite(phases[1], "focal_spread_a", widths[1])
    if len(nodes) > 1:
        foci = np.sqrt(weights)[:, None] * np.exp(1j * phases[1] * nodes[:, None] * (angles**2).sum(axis=0))
        probes = _fewest((foci[:, None] * probes).reshape(-1, spectrum.size))
    return probes


def _fewest(probes: np.ndarray) -> np.ndarray:
    """Orthogonal combinations of `probes` (n, pixel) that keep all but LEFT_OUT of their intensity, scaled to all."""
    powers, mixes = np.linalg.eigh(probes.conj() @ probes.T)
    powers, mixes = powers[::-1], mixes[:, ::-1]
    total = powers.sum()
    count = 1 + int(np.searchsorted(np.cumsum(powers), (1 - LEFT_OUT) * total))
    return mixes[:, :count].T @ probes * math.sqrt(total / powers[:count].sum())


def _square(nodes: np.ndarray) -> np.ndarray:
    """(n * n, 2) pairs (y, x) of nodes."""
    return np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)


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
