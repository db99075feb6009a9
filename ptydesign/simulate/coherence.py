"""Partial coherence: a Gaussian source and focal spread as points of each, and as the fewest incoherent probes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from ptydesign.errors import InputError
from ptydesign.types import Experiment
from ptydesign.units import wavelength_a

TOLERANCE = 0.01  # of a quadrature, for the fringe that varies fastest
MOST_NODES = 31  # of Gauss and Hermite, whose number grows with the phase's square; then evenly spaced ones
WIDTHS = 3.2  # standard deviations to each side that evenly spaced points reach
MOST_RAD = 12.5  # the largest phase: some 70 coherent probes add up to the probe, and hardly any fringe is left
# Of the electrons, in probes that are too weak to be kept. Patterns are within 1 % (L2) of all probes: a weak one looks
# much like the sum of the strong ones, which are scaled to all electrons.
LEFT_OUT = 0.05


def phases_rad(experiment: Experiment) -> tuple[float, float]:
    """How coherent the beam of an experiment is: `beam_phases_rad`."""
    optics = experiment.optics
    return beam_phases_rad(optics.voltage_kv, optics.semiangle_rad, experiment.source_size_a, experiment.focal_spread_a)


def beam_phases_rad(
    voltage_kv: float, semiangle_rad: float, source_size_a: float, focal_spread_a: float
) -> tuple[float, float]:
    """How coherent a beam is, in two phases in rad.

    Of the source: between opposite edges of the aperture at one standard deviation, 4 pi alpha sigma / lambda, since a
    pattern changes with the probe's position at spatial frequencies up to 2 alpha/lambda. Of the focal spread: between
    the middle and the edge of the aperture at one standard deviation, pi alpha^2 sigma / lambda.
    """
    wavelength = wavelength_a(voltage_kv)
    source = 4 * math.pi * semiangle_rad * source_size_a / wavelength
    return source, math.pi * semiangle_rad**2 * focal_spread_a / wavelength


def source_points(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (n, 2) as (y, x) in angstrom and weights (n,) (sum 1) that stand for a Gaussian source."""
    size = experiment.source_size_a
    nodes, weights = normal_points(phases_rad(experiment)[0], "source_size_a", size)
    return _square(nodes) * size, np.outer(weights, weights).reshape(-1)


def focal_points(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Changes of defocus (n,) in angstrom and weights (n,) (sum 1) that stand for a Gaussian focal spread."""
    spread = experiment.focal_spread_a
    nodes, weights = normal_points(phases_rad(experiment)[1], "focal_spread_a", spread)
    return nodes * spread, weights


def incoherent_probes(spectrum: np.ndarray, angles: np.ndarray, experiment: Experiment) -> np.ndarray:
    """The fewest probes whose patterns add up to that of a partially coherent one, the strongest first.

    They are the eigenvectors of the mutual coherence over the aperture (Wolf, J. Opt. Soc. Am. 72:343, 1982) as the
    points above have it. At most a fraction LEFT_OUT of the electrons is not kept for source and for focal spread; the
    rest is scaled to all.

    spectrum: (pixel,) of the coherent probe, centred at r = 0. angles: (2, pixel) as (y, x) in units of the semi-angle.
    Returns (probe, pixel); the spectrum itself if the beam is coherent. Raises InputError as `normal_points`.
    """
    widths = experiment.source_size_a, experiment.focal_spread_a
    return _incoherent_probes(spectrum, angles, phases_rad(experiment), widths)


def probe_count(experiment: Experiment) -> int:
    """How many probes `incoherent_probes` finds: for estimates, before there is a grid."""
    for points in (source_points, focal_points):
        points(experiment)  # raises InputError
    return len(mode_powers(*phases_rad(experiment)))


def mode_powers(source_rad: float, spread_rad: float) -> np.ndarray:
    """Parts (mode,) of the electrons in the coherent modes of a beam (Wolf 1982) that are simulated, the largest first;
    for an even aperture. The phases of `beam_phases_rad`, at most MOST_RAD each."""
    # in steps of 0.05 rad downwards, so that few are computed, and none beyond what can be
    return np.asarray(_powers(*(math.floor(phase / 0.05) * 0.05 for phase in (source_rad, spread_rad))))


@lru_cache(maxsize=1024)
def _powers(*phases: float) -> tuple[float, ...]:
    axis = np.linspace(-1, 1, 24)
    angles = _square(axis).T
    angles = angles[:, np.hypot(*angles) <= 1]
    probes = _incoherent_probes(np.ones(angles.shape[1], complex), angles, phases, phases)
    powers = np.sort((np.abs(probes) ** 2).sum(axis=1))[::-1]  # they are orthogonal
    return tuple((powers / powers.sum()).tolist())


def _incoherent_probes(spectrum: np.ndarray, angles: np.ndarray, phases: tuple, widths: tuple) -> np.ndarray:
    """phases: of `phases_rad`; widths: to be named in an error."""
    probes = spectrum[None]
    nodes, weights = normal_points(phases[0], "source_size_a", widths[0])
    if len(nodes) > 1:
        shifts = np.exp(-0.5j * phases[0] * _square(nodes) @ angles)
        amplitudes = np.sqrt(np.outer(weights, weights)).reshape(-1, 1)
        probes = _fewest(amplitudes * shifts * spectrum)
    nodes, weights = normal_points(phases[1], "focal_spread_a", widths[1])
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


def largest_source_a(voltage_kv: float, semiangle_rad: float) -> float:
    """The largest source, 1-D rms, that can be simulated with an aperture."""
    return MOST_RAD * wavelength_a(voltage_kv) / (4 * math.pi * semiangle_rad)


def largest_spread_a(voltage_kv: float, semiangle_rad: float) -> float:
    """The largest focal spread, 1-D rms, that can be simulated with an aperture."""
    return MOST_RAD * wavelength_a(voltage_kv) / (math.pi * semiangle_rad**2)


def normal_points(highest_rad: float, field: str, width_a: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (n,) of the mean over a standard normal t, exact to TOLERANCE for cos(w t), w <= highest_rad.

    n is odd and as small as that allows; 1 for highest_rad = 0. Gauss and Hermite's nodes, or evenly spaced ones where
    many would be needed: a sum over these is as good as the integral up to a frequency that grows with n, not with its
    root. Raises InputError beyond MOST_RAD.
    """
    if highest_rad == 0:
        return np.zeros(1), np.ones(1)
    if highest_rad <= MOST_RAD * (1 + 1e-9):
        frequencies = np.linspace(0, highest_rad, 100)
        exact = np.exp(-(frequencies**2) / 2)
        for nodes, weights in itertools.chain(_gauss_hermite(), _even()):
            if np.max(np.abs(np.cos(frequencies[:, None] * nodes) @ weights - exact)) <= TOLERANCE:
                return nodes, weights
    raise InputError(
        f"experiment.{field}",
        f"must leave some coherence: at most {MOST_RAD:g} rad of phase within this aperture can be simulated",
        width_a,
        f"Take {0.99 * width_a * MOST_RAD / highest_rad:.3g} or less, or a smaller aperture.",
    )


def _gauss_hermite() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for count in range(3, MOST_NODES + 1, 2):
        nodes, weights = np.polynomial.hermite_e.hermegauss(count)
        yield nodes, weights / weights.sum()


def _even() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for count in range(3, MOST_NODES + 1, 2):
        nodes = np.linspace(-WIDTHS, WIDTHS, count)
        weights = np.exp(-(nodes**2) / 2)
        yield nodes, weights / weights.sum()
