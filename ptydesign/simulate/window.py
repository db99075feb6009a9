"""The window that a pattern is computed in: as wide as the probe and the detector's pixels need, on the coarsest pixel.

Width. The wave behind the specimen is as wide as the probe, 2R, and its autocorrelation twice that. A detector pixel of
width 1/D sees the autocorrelation as far as D. So nothing that counts wraps around in a window 2R + D wide.

Pixel. In one slice a detector whose edge is at k sees the transmission function up to k + a, a being the aperture's
edge. With a pixel of 1/(k + (k + a) + a), nothing beyond that folds back to where the detector looks. Between slices a
wave needs all of the potential's band limit, and so the potential's pixel.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate.detector import check_detector
from ptydesign.types import Detector, Experiment, Optics
from ptydesign.units import wavelength_a
from ptydesign.waves import BAND_LIMIT, HIGHER

AIRY_MARGIN = 3.0  # in wavelength / semiangle on each side
SCATTERING_MARGIN_A = 4.0  # on each side: the projected reach of an atom's potential
MAX_PIXELS = 8192
MANTISSAS = (8, 9, 10, 12, 14)  # times powers of two: few sizes, quick to transform, at most a fifth too large
EDGE_PX = 2  # detector pixels beyond the detector's edge that its outermost pixels are computed from
LARGEST_PART = 48  # of a ratio of pixels, which the specimen's size is rounded to


@dataclass(frozen=True)
class Window:
    """grid: of the window, in real space. ratio: (y, x) its pixel over the potential's, 1 or more."""

    grid: Grid
    ratio: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1))


def probe_radius_a(experiment: Experiment) -> float:
    """Radius in angstrom that holds the probe's rays: the largest transverse aberration |grad chi| lambda / 2 pi.

    Evaluated over the aperture, over three standard deviations of focal spread, and at the ends of a drift. Diffraction
    is not in it.
    """
    defocus = 3 * experiment.focal_spread_a + abs(experiment.defocus_drift_a) / 2
    return rays_radius_a(experiment.optics, defocus, abs(experiment.astigmatism_drift_a) / 2)


def rays_radius_a(optics: Optics, defocus_a: float = 0.0, astigmatism_a: float = 0.0) -> float:
    """The same of optics alone. defocus_a, astigmatism_a: how much more of them there may be, of either sign."""
    alpha = np.linspace(0, optics.semiangle_rad, 41)[:, None]
    # round without aberrations of other symmetries: searches ask this of very many designs
    azimuths = 1 if _round(optics) and astigmatism_a == 0 else 120
    phi = np.linspace(0, 2 * np.pi, azimuths, endpoint=False)[None, :]
    higher_radial, higher_tangential = 0.0, 0.0
    for name, n, m in HIGHER:
        if amplitude := getattr(optics, f"{name}_a"):
            turned = m * (phi - (getattr(optics, f"{name}_angle_rad") if m else 0.0))
            higher_radial = higher_radial + alpha**n * amplitude * np.cos(turned)
            higher_tangential = higher_tangential - m / (n + 1) * alpha**n * amplitude * np.sin(turned)
    largest = 0.0
    for sign in (-1, 1):
        c10 = -optics.defocus_a + sign * defocus_a
        c12 = abs(optics.astigmatism_a) + astigmatism_a
        twofold = 2 * (phi - optics.astigmatism_angle_rad)
        coma = phi - optics.coma_angle_rad
        radial = (
            alpha * (c10 + c12 * np.cos(twofold)) + alpha**2 * optics.coma_a * np.cos(coma) + alpha**3 * optics.cs_a
        )
        tangential = -alpha * c12 * np.sin(twofold) - alpha**2 / 3 * optics.coma_a * np.sin(coma)
        rays = np.hypot(radial + higher_radial, tangential + higher_tangential)
        largest = max(largest, float(np.max(rays)))
    return largest


def _round(optics: Optics) -> bool:
    """Whether all aberrations are the same at all azimuths."""
    return not any((optics.astigmatism_a, optics.coma_a, *(getattr(optics, f"{name}_a") for name, _, m in HIGHER if m)))


def needed_extent_a(experiment: Experiment, thickness_a: float = 0.0) -> tuple[float, float]:
    """Smallest width (y, x) in angstrom of a window for this experiment; the rule is that of `choose_window`."""
    optics = experiment.optics
    diffraction = AIRY_MARGIN * wavelength_a(optics.voltage_kv) / optics.semiangle_rad
    wide = 2 * (probe_radius_a(experiment) + thickness_a * 2 * optics.semiangle_rad)
    height, width = (
        wide + 2 * SCATTERING_MARGIN_A + max(2 * diffraction, seen) for seen in experiment.detector.grid.extent_a
    )
    return height, width


def choose_window(
    experiment: Experiment,
    potential_pixel_a: tuple[float, float],
    thickness_a: float = 0.0,
    fine: bool = False,
    supercell: tuple[int, int] | None = None,
) -> Window:
    """The window for an experiment on a potential with this pixel (y, x) and thickness (0: one slice).

    Rule: at least 2 R + 4 alpha t + 8 A + max(D, 6 lambda/alpha) wide, with R the largest transverse aberration of a
    ray in the aperture, 2 alpha t for the beam's spreading in a specimen of thickness t, 4 A for the reach of an atom,
    D the detector's own window and 3 lambda/alpha for diffraction at the aperture. One slice is computed on the
    coarsest pixel that aliasing allows, or on the potential's where that is asked for (`fine`), as several slices are.
    For a detector whose pixels are points the window is a whole multiple of D on the potential's pixel, so that they
    are frequencies of it.
    The sides in pixels are of few sizes, to bound the number of shapes that are compiled, but no larger than a
    supercell of so many pixels that holds what is needed. tests/simulate/test_window.py has the accuracy.

    Raises InputError when the detector's edge or the aperture is beyond what the potential resolves, or the window
    would have too many pixels.
    """
    check_experiment_on(experiment, potential_pixel_a)
    one, detector = Fraction(1), experiment.detector
    coarsest = _coarsest_a(experiment, potential_pixel_a)
    ratio = tuple(
        one if fine or thickness_a or detector.point_sampled else coarser(most / pixel)
        for most, pixel in zip(coarsest, potential_pixel_a, strict=True)
    )
    pixel = tuple(float(r) * p for r, p in zip(ratio, potential_pixel_a, strict=True))
    needed = needed_extent_a(experiment, thickness_a)
    least = [math.ceil(n / p - 1e-6) for n, p in zip(needed, pixel, strict=True)]
    if detector.point_sampled:
        own = [round(seen / p) for seen, p in zip(detector.grid.extent_a, pixel, strict=True)]
        shape = tuple(math.ceil(n / size) * size for n, size in zip(least, own, strict=True))
    else:
        shape = tuple(
            most if n <= most < friendly(n) else friendly(n) for n, most in zip(least, supercell or (0, 0), strict=True)
        )
    if max(shape) > MAX_PIXELS:
        raise InputError(
            "experiment",
            f"the window must have at most {MAX_PIXELS} pixels",
            tuple(shape),
            "Use a coarser potential, or less defocus.",
        )
    return Window(Grid(shape, pixel), ratio)  # type: ignore[arg-type]


def check_experiment_on(experiment: Experiment, potential_pixel_a: tuple[float, float]) -> None:
    """Raises InputError for an experiment that a potential with this pixel is too coarse for."""
    detector, optics = experiment.detector, experiment.optics
    check_detector(detector)
    for axis, name in enumerate("yx"):
        ratio = detector.pixel_a[axis] / potential_pixel_a[axis]
        whole = ratio * detector.pixels[axis]
        if ratio < 1 - 1e-6 or abs(whole - round(whole)) > 1e-4:
            raise InputError(
                f"detector.pixel_a[{name}]",
                "must be the potential's pixel or more, and pixels * pixel_a a whole number of the potential's pixels",
                f"{detector.pixel_a[axis]} A x {detector.pixels[axis]} on a potential of {potential_pixel_a[axis]} A",
                "Make the potential's pixel a whole fraction of the detector's.",
            )
    wavelength = wavelength_a(optics.voltage_kv)
    k_detector = min((n // 2) / (n * p) for n, p in zip(detector.pixels, detector.pixel_a, strict=True))
    for limit, what, mend in (
        (k_detector, "the detector's edge", "Use a smaller semi-angle or a smaller detector.pixel_a."),
        (
            highest(potential_pixel_a),
            "the simulation's band limit",
            "Use a smaller semi-angle or a potential with a smaller pixel.",
        ),
    ):
        if optics.semiangle_rad / wavelength >= limit:
            raise InputError(
                "experiment.semiangle",
                f"the aperture must lie inside {what}, {limit * wavelength * 1e3:.2f} mrad",
                f"{optics.semiangle_rad * 1e3:.2f} mrad",
                mend,
            )


def highest(potential_pixel_a: tuple[float, float]) -> float:
    """The band limit of a simulation on a potential with this pixel, in 1/angstrom."""
    return BAND_LIMIT * 0.5 / max(potential_pixel_a)


def seen(detector: Detector) -> tuple[float, float]:
    """The highest frequency (y, x) in 1/angstrom that a pattern is computed at, a little beyond the detector's edge."""
    y, x = ((n / 2 + EDGE_PX) / size for n, size in zip(detector.pixels, detector.grid.extent_a, strict=True))
    return y, x


def friendly(least: int) -> int:
    """The smallest size, of few, that is no less."""
    power = max(0, math.ceil(math.log2(least / MANTISSAS[-1])) - 1)
    return next(m << e for e in itertools.count(power) for m in MANTISSAS if m << e >= least)


def coarser(most: float) -> Fraction:
    """The largest ratio of two numbers of few small factors that is at most `most`; 1 if that is less."""
    return max((ratio for ratio in _RATIOS if ratio <= most * (1 + 1e-9)), default=Fraction(1))


def _coarsest_a(experiment: Experiment, potential_pixel_a: tuple[float, float]) -> tuple[float, float]:
    aperture = experiment.optics.semiangle_rad / wavelength_a(experiment.optics.voltage_kv)
    limit = highest(potential_pixel_a)
    y, x = (1 / (min(edge, limit) + min(edge + aperture, limit) + aperture) for edge in seen(experiment.detector))
    return y, x


def _smooth(number: int) -> bool:
    for factor in (2, 3, 5, 7):
        while number % factor == 0:
            number //= factor
    return number == 1


_PARTS = [n for n in range(1, LARGEST_PART + 1) if _smooth(n)]
_RATIOS = sorted({Fraction(a, b) for a in _PARTS for b in _PARTS if a >= b})
