"""The data that layers exchange. Frozen; arrays end in (..., y, x); angstrom and radian.

`simulate` makes Dataset and Truth, `reconstruct` makes ReconState and History from a Dataset alone,
`score` is the only layer that opens a Truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.shown import Exported, Shown, brief


@dataclass(frozen=True)
class Optics:
    """The probe-forming optics. `defocus_a` > 0 is underfocus (C10 = -defocus). Aberrations in Krivanek's notation:
    astigmatism C12, coma C21, cs C30, trefoil C23, star C32, fourfold (astigmatism) C34, c5 C50."""

    voltage_kv: float
    semiangle_rad: float
    defocus_a: float = 0.0
    astigmatism_a: float = 0.0
    astigmatism_angle_rad: float = 0.0
    coma_a: float = 0.0
    coma_angle_rad: float = 0.0
    cs_a: float = 0.0
    trefoil_a: float = 0.0
    trefoil_angle_rad: float = 0.0
    star_a: float = 0.0
    star_angle_rad: float = 0.0
    fourfold_a: float = 0.0
    fourfold_angle_rad: float = 0.0
    c5_a: float = 0.0

    @property
    def aberrations(self) -> dict[str, float]:
        """Keywords of `waves.aberration_phase`."""
        return {name: value for name, value in vars(self).items() if name not in ("voltage_kv", "semiangle_rad")}


@dataclass(frozen=True)
class Scan:
    """A raster scan over a field of view.

    step_a: distance between neighbours. field_of_view_a: (y, x), covered completely.
    rotation_rad turns the raster from +x towards +y about the centre of the field; scale_error stretches it.
    jitter_a: 1-D rms of independent position errors; drift_a: (y, x) total displacement, growing
    linearly from the first to the last position. line_noise_a: 1-D rms of independent errors of whole lines.
    aspect_error stretches y further, shear_error is what is added to x for each unit of y. All these are errors: true
    positions have them, nominal ones don't.
    """

    step_a: float
    field_of_view_a: tuple[float, float]
    rotation_rad: float = 0.0
    scale_error: float = 0.0
    rotation_error_rad: float = 0.0
    jitter_a: float = 0.0
    drift_a: tuple[float, float] = (0.0, 0.0)
    line_noise_a: float = 0.0
    aspect_error: float = 0.0
    shear_error: float = 0.0


@dataclass(frozen=True)
class Detector:
    """A pixel detector in the diffraction plane that integrates over its pixels.

    pixels: (ny, nx). pixel_a: (y, x) real-space pixel of its window, so that the detector's edge is at
    1/(2 pixel_a) and its reciprocal pixel is 1/(pixels pixel_a).
    mtf_nyquist: modulation transfer at the detector's Nyquist frequency, of a Gaussian MTF; 1 is ideal.
    background_e_per_px: mean counts added to every pixel of every pattern.
    point_sampled: no detector does it, some published simulations do: a pixel takes the intensity at its centre, and
    each pattern is scaled to all of its electrons.
    """

    pixels: tuple[int, int]
    pixel_a: tuple[float, float]
    mtf_nyquist: float = 1.0
    background_e_per_px: float = 0.0
    point_sampled: bool = False

    @property
    def grid(self) -> Grid:
        """The window's grid in real space."""
        return Grid(self.pixels, self.pixel_a)


@dataclass(frozen=True)
class Experiment:
    """One 4D-STEM acquisition. source_size_a and focal_spread_a are 1-D rms (standard deviations).

    intensity_rms: of the patterns' independent intensity factors, which have a mean of 1. defocus_drift_a,
    astigmatism_drift_a: changes of the probe from the first to the last position, linear in time, zero at mid-scan; the
    astigmatism's lies along its axis. inelastic_part: of the electrons, which have lost energy in the specimen;
    inelastic_angle_rad: theta_E of their scattering (`losses`).
    """

    optics: Optics
    scan: Scan
    detector: Detector
    dose_e_per_a2: float
    source_size_a: float = 0.0
    focal_spread_a: float = 0.0
    intensity_rms: float = 0.0
    defocus_drift_a: float = 0.0
    astigmatism_drift_a: float = 0.0
    inelastic_part: float = 0.0
    inelastic_angle_rad: float = 1e-4

    @property
    def electrons_per_pattern(self) -> float:
        """Dose times the area of a scan step."""
        return self.dose_e_per_a2 * self.scan.step_a**2


@dataclass(frozen=True)
class Potential:
    """Projected potential of each slice in V A: slices_va (configurations, slices, y, x), float32.

    More than one configuration are snapshots of thermal motion, averaged incoherently.
    Pixel (0, 0) lies at the origin of the specimen; the array is periodic.
    thickness_a: (slices,). pixel_a: (y, x).
    """

    __repr__ = brief

    slices_va: np.ndarray
    pixel_a: tuple[float, float]
    thickness_a: np.ndarray

    def __post_init__(self) -> None:
        if self.slices_va.ndim != 4 or self.slices_va.shape[1] != len(self.thickness_a):
            raise InputError(
                "potential",
                "must be (configurations, slices, y, x) with one thickness for each slice",
                (self.slices_va.shape, np.shape(self.thickness_a)),
                "Correct the array.",
            )

    @property
    def grid(self) -> Grid:
        """The specimen's grid."""
        return Grid(self.slices_va.shape[-2:], self.pixel_a)


BLOCK_BYTES = 2**22
LEAST_KV, MOST_KV, MOST_RAD, MOST_ABERRATION = 1.0, 3000.0, 0.2, 1e10  # beyond, a number is in another unit


def blocks(patterns: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive parts of patterns (position, ky, kx), BLOCK_BYTES each in double precision: a measurement may be
    larger than memory."""
    count, *shape = patterns.shape
    step = max(1, BLOCK_BYTES // (8 * max(1, int(np.prod(shape)))))
    return (patterns[start : start + step] for start in range(0, count, step))


@dataclass(frozen=True)
class Dataset(Exported):
    """What a detector gives and an operator knows.

    patterns: (position, ky, kx) counts, float32 or a detector's integers, zero frequency at index (0, 0); may be mapped
    from a file.
    positions_a: (position, 2) nominal (y, x) in the specimen's frame.
    grid: real-space grid of the patterns' window. mask: (ky, kx), 1 = good, 0 = ignore.
    optics: nominal values, None when unknown. electrons_per_pattern: expected counts, None when unknown.
    probe_guess: (mode, y, x) complex, or None. background: (ky, kx) mean counts known beforehand, or None.
    mtf_nyquist: the detector's MTF at its pixels' Nyquist frequency, as a plan's correction says; files don't hold it.
    """

    __repr__ = brief

    patterns: np.ndarray
    positions_a: np.ndarray
    grid: Grid
    voltage_kv: float
    mask: np.ndarray
    optics: Optics | None = None
    electrons_per_pattern: float | None = None
    probe_guess: np.ndarray | None = None
    background: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    mtf_nyquist: float = 1.0

    def __post_init__(self) -> None:
        self._check_optics()
        self._check_small_arrays()
        count, *shape = self.patterns.shape
        if tuple(shape) != self.grid.shape or self.mask.shape != self.grid.shape:
            raise InputError(
                "dataset.patterns",
                "patterns, mask and grid must have the same pixels",
                (self.patterns.shape, self.mask.shape, self.grid.shape),
                "Crop or bin them to one shape.",
            )
        if count == 0:
            raise InputError("dataset.patterns", "must hold at least one pattern", self.patterns.shape, "Give some.")
        if self.positions_a.shape != (count, 2):
            raise InputError(
                "dataset.positions_a",
                f"needs one (y, x) for each of the {count} patterns",
                self.positions_a.shape,
                "Give one position for each pattern.",
            )
        if not np.all(np.isfinite(self.positions_a)):
            raise InputError("dataset.positions_a", "must be finite", "NaN or infinity", "Correct the positions.")
        parts = (block * self.mask for block in blocks(self.patterns))
        limits = [limit for part in parts for limit in (np.min(part), np.max(part))]
        if not np.all(np.isfinite(limits)) or min(limits, default=0) < 0:
            bad = sum(int(np.sum(~((block >= 0) & np.isfinite(block)))) for block in blocks(self.patterns))
            raise InputError(
                "dataset.patterns",
                "counts must be finite and not negative",
                f"{bad} bad values",
                "Subtract less, set bad pixels to 0, and mask them.",
            )

    def _check_optics(self) -> None:
        """Numbers in another unit give a picture too, of something else."""
        if not LEAST_KV <= self.voltage_kv <= MOST_KV:
            rule = f"must be an acceleration voltage in kV, {LEAST_KV:g} to {MOST_KV:g}"
            raise InputError("dataset.voltage_kv", rule, self.voltage_kv, "Correct it in the data's calibration.")
        if self.optics is None:
            return
        for name, value in vars(self.optics).items():
            if not abs(value) <= MOST_ABERRATION:  # nor NaN
                rule = f"must be finite, and at most {MOST_ABERRATION:g} (angstrom or rad) in size"
                raise InputError(f"dataset.optics.{name}", rule, value, "Correct it, or leave it out.")
        angle, voltage = self.optics.semiangle_rad, self.optics.voltage_kv
        if not 0 < angle < MOST_RAD:
            mend = f"If it is in mrad, write {angle / 1e3:g}." if angle > 0 else "Correct it in the data's calibration."
            raise InputError("dataset.optics.semiangle_rad", f"must be in rad, below {MOST_RAD:g}", angle, mend)
        if abs(voltage - self.voltage_kv) > 1e-6 * self.voltage_kv:
            rule = f"must be the dataset's voltage_kv, {self.voltage_kv:g}"
            raise InputError("dataset.optics.voltage_kv", rule, voltage, "Correct the one that is wrong.")

    def _check_small_arrays(self) -> None:
        """Mask, background and probe guess; the mask's pixels are checked with the patterns'."""
        if not np.all((self.mask >= 0) & (self.mask <= 1)):
            raise InputError("dataset.mask", "must be 1 (good) or 0 (ignore)", _outside(self.mask, 0, 1), "Correct it.")
        mend = "Give mean counts of each pixel of the patterns, or none."
        if self.background is not None:
            if np.shape(self.background) != self.grid.shape:
                rule = f"must have the patterns' {self.grid.shape} pixels"
                raise InputError("dataset.background", rule, np.shape(self.background), mend)
            if not np.all((self.background >= 0) & np.isfinite(self.background)):
                value = _outside(self.background, 0, np.inf)
                raise InputError("dataset.background", "must be finite and not negative", value, mend)
        if self.probe_guess is not None:
            rule = f"must be finite waves, (modes, {self.grid.shape[0]}, {self.grid.shape[1]}), and not all 0"
            shape, value = np.shape(self.probe_guess), None
            if len(shape) not in (2, 3) or shape[-2:] != self.grid.shape:
                value = shape
            elif not np.all(np.isfinite(self.probe_guess)):
                value = "NaN or infinity"
            elif not np.any(self.probe_guess):
                value = "0"
            if value is not None:
                raise InputError("dataset.probe_guess", rule, value, "Correct it, or leave it out and give optics.")


def _outside(array: np.ndarray, low: float, high: float) -> float:
    """The first value that is not in [low, high], or not finite."""
    return float(array[~((array >= low) & (array <= high) & np.isfinite(array))][0])


@dataclass(frozen=True)
class Truth:
    """What only a simulation knows. Only `score` opens it.

    phase_rad: (slices, y, x) phase shift of each slice, float32, mean over thermal configurations, periodic,
    pixel (0, 0) at the specimen's origin. pixel_a: (y, x). positions_a: (position, 2) true (y, x).
    thickness_a: (slices,).
    """

    __repr__ = brief

    phase_rad: np.ndarray
    pixel_a: tuple[float, float]
    positions_a: np.ndarray
    thickness_a: np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ReconState(Shown):
    """All that a reconstruction changes; a JAX pytree of arrays only.

    object: (slice, y, x) complex transmission. probe: (mode, y, x) complex, centred at (ny//2, nx//2),
    sum |probe|^2 = mean counts of a pattern. positions_px: (position, 2) (y, x) of the window's centre pixel in
    object pixels (fractions allowed). intensity: (position,) factor of each pattern, mean 1.
    tilt_rad: (2,) (y, x). thickness_a: (slice,). pixel_a: (2,). origin_a: (2,) specimen coordinates of object
    pixel (0, 0). wavelength_a: scalar. opr_modes: (k, y, x) complex and opr_weights: (position, k) real, by which the
    first mode varies over the scan, or None: that of position j is probe[0] + sum_k opr_weights[j, k] opr_modes[k].
    scan: (position,) number of each position's scan where several share the object, whose probe is then (scan, mode, y,
    x); else None.
    """

    __repr__ = brief

    object: jax.Array
    probe: jax.Array
    positions_px: jax.Array
    intensity: jax.Array
    tilt_rad: jax.Array
    thickness_a: jax.Array
    pixel_a: jax.Array
    origin_a: jax.Array
    wavelength_a: jax.Array
    opr_modes: jax.Array | None = None
    opr_weights: jax.Array | None = None
    scan: jax.Array | None = None

    def replace(self, **changes: Any) -> ReconState:
        """A copy with some fields changed."""
        return replace(self, **changes)

    @property
    def phase_rad(self) -> np.ndarray:
        """(slice, y, x) phase of the object in rad."""
        return np.angle(np.asarray(self.object))

    @property
    def positions_a(self) -> np.ndarray:
        """(position, 2) positions in the specimen's frame in angstrom."""
        return np.asarray(self.positions_px) * np.asarray(self.pixel_a) + np.asarray(self.origin_a)


@dataclass(frozen=True)
class Outcome:
    """How a reconstruction ended: `status` is all_sweeps_done, converged, budget_spent, stopped or diverged, or as
    judged afterwards above_start or no_progress; `reason` is a sentence."""

    status: str
    reason: str
    sweeps: int

    @property
    def words(self) -> str:
        """`all 60 sweeps done`, `converged after 12 sweeps`, ..."""
        count = f"{self.sweeps} sweep{'s' * (self.sweeps != 1)}"
        return {
            "all_sweeps_done": f"{'the only sweep' if self.sweeps == 1 else f'all {count}'} done",
            "budget_spent": f"stopped by its budget after {count}",
            "above_start": f"ended above its start after {count}",
            "no_progress": f"no progress in {count}",
        }.get(self.status, f"{self.status} after {count}")


@dataclass(frozen=True)
class Reconstruction(Exported):
    """A finished reconstruction with all that is needed to judge and to repeat it: what a reconstruction's file holds.

    history: {name: (sweeps,)}, at least `loss`. nominal_positions_a: (position, 2) positions that it started from.
    plan: the whole plan, defaults included. provenance: of the data, and of this run.
    """

    __repr__ = brief

    state: ReconState
    history: dict[str, np.ndarray]
    outcome: Outcome
    nominal_positions_a: np.ndarray
    plan: dict[str, Any]
    seed: int
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """Agreement of a reconstruction with the truth, with everything needed to repeat it.

    ssim: {Gaussian width in px: value}. region_a: (y0, x0, y1, x1) in the specimen's frame. data_range: the truth's
    range in rad, used by SSIM and PSNR. information: in bits per square angstrom, up to frc_qmax. contrast: the truth's
    contrast as the reconstruction shows it, a least-squares factor that noise leaves unbiased; 1 is quantitative
    (reported, never applied). shift_a: (y, x) that was removed.
    own: {name of a user's function: value}.
    """

    ssim: dict[float, float]
    psnr_db: float
    mse_rad2: float
    frc_area: float
    frc_qmax: float
    information: float
    contrast: float
    region_a: tuple[float, float, float, float]
    data_range: float
    pixel_a: tuple[float, float]
    shift_a: tuple[float, float]
    own: dict[str, float] = field(default_factory=dict)
