"""The detector: the window that a pattern is computed in, integration into pixels, MTF, and counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.types import Detector, Experiment
from ptydesign.units import wavelength_a
from ptydesign.waves import BAND_LIMIT

# Odd: a box of an odd number of fine pixels is exactly a detector pixel. An even one must share its end pixels, which
# blurs the aperture's edge by a fine pixel (measured: 4 % in L2 at 2, 0.2-0.5 % at 3). Not 1: the window would be
# the reconstruction's own, and every reconstruction too good.
FACTORS = (3, 5, 7, 9, 11, 15, 19, 25, 31)
AIRY_MARGIN = 3.0  # in wavelength / semiangle on each side, see choose_window
SCATTERING_MARGIN_A = 4.0  # on each side: the projected reach of an atom's potential
MAX_PIXELS = 8192
MAX_MEAN_COUNTS = 2.0**24  # float32 holds whole counts up to here


@dataclass(frozen=True)
class Window:
    """What a pattern is computed in: `factor` (y, x) times the detector's window, on the potential's pixels.

    grid: the window's real-space grid. oversample: (y, x) detector.pixel_a over the grid's pixel.
    The window's reciprocal pixel is the detector's divided by `factor`.
    """

    factor: tuple[int, int]
    oversample: tuple[float, float]
    grid: Grid


def check_detector(detector: Detector) -> None:
    """Raises InputError for a detector that cannot be."""
    ny, nx = detector.pixels
    for rule, value, good, mend in (
        ("pixels must be 2 or more along y and x", detector.pixels, min(ny, nx) >= 2, "Give (ny, nx)."),
        ("pixel_a must be positive", detector.pixel_a, min(detector.pixel_a) > 0, "Give (y, x) in angstrom."),
        ("mtf_nyquist must lie in (0, 1]", detector.mtf_nyquist, 0 < detector.mtf_nyquist <= 1, "Give 1 for ideal."),
        (
            "background_e_per_px must be finite and not negative",
            detector.background_e_per_px,
            0 <= detector.background_e_per_px < math.inf,
            "Give 0 for none.",
        ),
    ):
        if not good:
            name, rest = rule.split(" ", 1)
            raise InputError(f"detector.{name}", rest, value, mend)


def probe_radius_a(experiment: Experiment) -> float:
    """Radius in angstrom that holds the probe's rays: the largest transverse aberration |grad chi| lambda / 2 pi.

    Evaluated over the aperture, over three standard deviations of focal spread, and at the ends of a drift. Diffraction
    is not in it.
    """
    optics = experiment.optics
    alpha = np.linspace(0, optics.semiangle_rad, 41)[:, None]
    phi = np.linspace(0, 2 * np.pi, 120, endpoint=False)[None, :]
    largest = 0.0
    for sign in (-1, 1):
        c10 = -optics.defocus_a + sign * (3 * experiment.focal_spread_a + abs(experiment.defocus_drift_a) / 2)
        c12 = abs(optics.astigmatism_a) + abs(experiment.astigmatism_drift_a) / 2
        twofold = 2 * (phi - optics.astigmatism_angle_rad)
        coma = phi - optics.coma_angle_rad
        radial = (
            alpha * (c10 + c12 * np.cos(twofold)) + alpha**2 * optics.coma_a * np.cos(coma) + alpha**3 * optics.cs_a
        )
        tangential = -alpha * c12 * np.sin(twofold) - alpha**2 / 3 * optics.coma_a * np.sin(coma)
        largest = max(largest, float(np.max(np.hypot(radial, tangential))))
    return largest


def needed_extent_a(experiment: Experiment, thickness_a: float = 0.0) -> float:
    """Smallest width in angstrom of a window for this experiment; the rule is that of `choose_window`."""
    optics = experiment.optics
    diffraction = AIRY_MARGIN * wavelength_a(optics.voltage_kv) / optics.semiangle_rad
    spreading = thickness_a * 2 * optics.semiangle_rad
    return 2 * (probe_radius_a(experiment) + diffraction + spreading + SCATTERING_MARGIN_A)


def choose_window(experiment: Experiment, potential_pixel_a: tuple[float, float], thickness_a: float = 0.0) -> Window:
    """The window for an experiment on a potential with this pixel (y, x) and thickness.

    Rule: the window is at least 2 (R + 3 lambda/alpha + 2 alpha t + 4 A) wide, with R the largest transverse
    aberration of a ray in the aperture, 3 lambda/alpha for diffraction at the aperture, 2 alpha t for the beam's
    spreading in a specimen of thickness t, 4 A for the reach of an atom. It is a whole, odd multiple of the
    detector's window 1/dk (from the short list FACTORS, to bound the number of shapes that are compiled), so that
    detector pixels hold whole fine pixels. Measured for 24-128 pixels of 0.25 A, 8-40 mrad and 0-200 nm, the integrated
    patterns then differ by 0.1-0.9 % in L2 from those of a window of 160-190 A (in part in tests/test_detector.py).

    Raises InputError when the pixels don't fit, the aperture is wider than the detector or than the simulation's band
    limit, or no listed factor is enough.
    """
    check_detector(experiment.detector)
    needed = needed_extent_a(experiment, thickness_a)
    extent = experiment.detector.grid.extent_a
    factors = []
    for size in extent:
        enough = [factor for factor in FACTORS if factor * size >= needed]
        if not enough:
            raise InputError(
                "experiment",
                f"the probe must fit into a window {FACTORS[-1]} times the detector's ({size:.1f} A)",
                f"a window of {needed:.0f} A is needed",
                "Use more detector pixels, less defocus or a larger semi-angle.",
            )
        factors.append(enough[0])
    return make_window(experiment, potential_pixel_a, (factors[0], factors[1]))


def make_window(experiment: Experiment, potential_pixel_a: tuple[float, float], factor: tuple[int, int]) -> Window:
    """A window of a given size: factor (y, x) times the detector's. Raises InputError as `choose_window` does."""
    detector, optics = experiment.detector, experiment.optics
    shape, oversample = [], []
    for axis, name in enumerate("yx"):
        ratio = detector.pixel_a[axis] / potential_pixel_a[axis]
        coarse = ratio * detector.pixels[axis]
        if ratio < 1 - 1e-6 or abs(coarse - round(coarse)) > 1e-4:
            raise InputError(
                f"detector.pixel_a[{name}]",
                "must be the potential's pixel or more, and pixels * pixel_a a whole number of the potential's pixels",
                f"{detector.pixel_a[axis]} A x {detector.pixels[axis]} on a potential of {potential_pixel_a[axis]} A",
                "Make the potential's pixel a whole fraction of the detector's.",
            )
        shape.append(round(coarse) * factor[axis])
        oversample.append(round(coarse) / detector.pixels[axis])
    if max(shape) > MAX_PIXELS:
        raise InputError(
            "experiment",
            f"the window must have at most {MAX_PIXELS} pixels",
            tuple(shape),
            "Use a coarser potential, or less defocus.",
        )
    k_aperture = optics.semiangle_rad / wavelength_a(optics.voltage_kv)
    k_detector = min((n // 2) / (n * p) for n, p in zip(detector.pixels, detector.pixel_a, strict=True))
    k_limit = BAND_LIMIT * 0.5 / max(potential_pixel_a)
    for limit, what, mend in (
        (k_detector, "the detector's edge", "Use a smaller semi-angle or a smaller detector.pixel_a."),
        (k_limit, "the simulation's band limit", "Use a smaller semi-angle or a potential with a smaller pixel."),
    ):
        if k_aperture >= limit:
            raise InputError(
                "experiment.semiangle",
                f"the aperture must lie inside {what}, {limit * wavelength_a(optics.voltage_kv) * 1e3:.2f} mrad",
                f"{optics.semiangle_rad * 1e3:.2f} mrad",
                mend,
            )
    grid = Grid((shape[0], shape[1]), tuple(potential_pixel_a))
    return Window(factor, (oversample[0], oversample[1]), grid)


def integrate(patterns, window: Window, detector: Detector):
    """Fine patterns (..., *window.grid.shape), corner-centred, summed over detector pixels: (..., ny, nx).

    A detector pixel is a box centred on its frequency: for an even factor the two outermost fine pixels are shared half
    and half with the neighbours. What lies beyond the detector's edge is dropped; inside, counts are conserved.
    Works on numpy and JAX arrays alike and keeps their precision.
    """
    for axis, factor in zip((-2, -1), window.factor, strict=True):
        patterns = _box_sums(patterns, axis, factor)
    iy, ix = (np.fft.fftfreq(size, 1 / size).round().astype(int) for size in detector.pixels)
    return patterns[..., iy[:, None], ix]


def apply_mtf(patterns: np.ndarray, detector: Detector) -> np.ndarray:
    """Patterns (..., ny, nx) blurred by the detector, counts conserved.

    MTF(f) = m^(sin^2(pi fy) + sin^2(pi fx)), f in cycles per pixel, m = mtf_nyquist: that of the discrete
    Gaussian kernel (Lindeberg, IEEE PAMI 12:234, 1990). Unlike a Gaussian cut off at Nyquist its kernel is
    positive, so no pixel gets a negative mean. Electrons are counted one by one (the blur precedes the Poisson noise).
    """
    if detector.mtf_nyquist == 1:
        return patterns
    fy, fx = np.fft.fftfreq(detector.pixels[0]), np.fft.rfftfreq(detector.pixels[1])
    mtf = detector.mtf_nyquist ** (np.sin(np.pi * fy[:, None]) ** 2 + np.sin(np.pi * fx[None, :]) ** 2)
    blurred = np.fft.irfft2(np.fft.rfft2(patterns) * mtf, s=detector.pixels)
    return np.maximum(blurred, 0).astype(patterns.dtype)  # rounding may leave -1e-9


def readout(mean: np.ndarray, electrons: float, background_e_per_px: float, rng: np.random.Generator) -> np.ndarray:
    """Poisson counts (..., ny, nx), float32, of patterns given as fractions of `electrons` incident electrons."""
    return rng.poisson(np.asarray(mean, np.float64) * electrons + background_e_per_px).astype(np.float32)


def _box_sums(patterns, axis: int, factor: int):
    """Sums over boxes of `factor` pixels along an axis, box j centred on pixel j * factor (circularly)."""
    if factor == 1:
        return patterns
    roll = np.roll if isinstance(patterns, np.ndarray) else _jax_roll
    axis = axis % patterns.ndim
    shape = (*patterns.shape[:axis], patterns.shape[axis] // factor, factor, *patterns.shape[axis + 1 :])
    first = roll(patterns, factor // 2, axis).reshape(shape).sum(axis=axis + 1)
    if factor % 2:
        return first
    second = roll(patterns, factor // 2 - 1, axis).reshape(shape).sum(axis=axis + 1)
    return 0.5 * (first + second)


def _jax_roll(array, shift: int, axis: int):
    import jax.numpy as jnp

    return jnp.roll(array, shift, axis)
