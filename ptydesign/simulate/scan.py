"""Raster scans: nominal positions, and the true ones with jitter, drift and calibration errors."""

from __future__ import annotations

import math

import numpy as np

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.types import Potential, Scan

# A Gaussian jitter goes beyond this many standard deviations in two of 1e9 draws: specimens leave that much room.
JITTER_MARGIN_SIGMA = 6.0
MAX_POSITIONS = 4_000_000


def check_scan(scan: Scan) -> None:
    """Raises InputError for a scan that cannot be made."""
    _require(scan.step_a > 0, "scan.step_a", "must be positive", scan.step_a, "Give a step in angstrom.")
    _require(
        min(scan.field_of_view_a) > 0,
        "scan.field_of_view_a",
        "must be positive in y and x",
        scan.field_of_view_a,
        "Give (y, x) in angstrom.",
    )
    _require(scan.jitter_a >= 0, "scan.jitter_a", "must not be negative", scan.jitter_a, "Give 0 for no jitter.")
    _require(
        abs(scan.scale_error) < 0.5,
        "scan.scale_error",
        "must lie between -0.5 and 0.5 (it is a fraction)",
        scan.scale_error,
        "Give 0.01 for a scan that is 1 % too large.",
    )
    _require(scan.line_noise_a >= 0, "scan.line_noise_a", "must not be negative", scan.line_noise_a, "Give 0 for none.")
    numbers = [scan.step_a, *scan.field_of_view_a, scan.rotation_rad, scan.rotation_error_rad, *scan.drift_a]
    numbers += [scan.aspect_error, scan.shear_error]
    _require(bool(np.all(np.isfinite(numbers))), "scan", "must be finite", numbers, "Correct the values.")
    ny, nx = raster_shape(scan)
    _require(
        ny * nx <= MAX_POSITIONS,
        "scan.step_a",
        f"must give at most {MAX_POSITIONS} positions in the field of view, {list(scan.field_of_view_a)} A",
        f"{scan.step_a:g} A, which gives {ny} x {nx}",
        "Take a larger step_a or a smaller field_of_view_a.",
    )


def raster_shape(scan: Scan) -> tuple[int, int]:
    """(rows, columns) of the raster: ceil(field / step) + 1, so that the field of view is always covered."""
    # The subtracted part in 1e9 keeps 60 / 0.1 at 600 steps when it is computed as 600.0000000001.
    rows, columns = (math.ceil(size / scan.step_a - 1e-9) + 1 for size in scan.field_of_view_a)
    return rows, columns


def raster(scan: Scan, centre_a: tuple[float, float]) -> np.ndarray:
    """Nominal positions (rows * columns, 2) as (y, x) in angstrom, row by row, centred on centre_a = (y, x).

    The rotation turns from +x towards +y about the centre.
    """
    check_scan(scan)
    rows, columns = raster_shape(scan)
    y = (np.arange(rows) - (rows - 1) / 2) * scan.step_a
    x = (np.arange(columns) - (columns - 1) / 2) * scan.step_a
    offsets = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    return rotate(offsets, scan.rotation_rad) + np.asarray(centre_a, float)


def rotate(offsets_a: np.ndarray, angle_rad: float) -> np.ndarray:
    """Offsets (..., 2) as (y, x), turned from +x towards +y."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    y, x = offsets_a[..., 0], offsets_a[..., 1]
    return np.stack([x * sin + y * cos, x * cos - y * sin], axis=-1)


def true_positions(scan: Scan, nominal_a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the probe really was, (position, 2) as (y, x) in angstrom.

    The nominal positions are stretched (by 1 + scale_error, y by 1 + aspect_error more), sheared (shear_error y is
    added to x) and turned by rotation_error_rad about their mean, moved by a drift that grows linearly to drift_a at
    the last position, and jittered: independent normal errors of standard deviation jitter_a along y and x, and of
    line_noise_a for all positions of a line.
    """
    centre = nominal_a.mean(axis=0)
    offsets = _distorted(scan, nominal_a - centre)
    progress = np.linspace(0.0, 1.0, len(nominal_a))[:, None] if len(nominal_a) > 1 else np.zeros((1, 1))
    drift = progress * np.asarray(scan.drift_a, float)
    jitter = scan.jitter_a * rng.standard_normal(nominal_a.shape)
    if scan.line_noise_a:
        rows, columns = raster_shape(scan)
        lines = scan.line_noise_a * rng.standard_normal((rows, 2))
        jitter = jitter + np.repeat(lines, columns, axis=0)[: len(nominal_a)]
    return centre + offsets + drift + jitter


def _distorted(scan: Scan, offsets_a: np.ndarray) -> np.ndarray:
    """Offsets (..., 2) as (y, x) from the scan's centre with the errors of its calibration."""
    if scan.aspect_error or scan.shear_error:
        y, x = offsets_a[..., 0], offsets_a[..., 1]
        offsets_a = np.stack([y * (1 + scan.aspect_error), x + scan.shear_error * y], axis=-1)
    return rotate(offsets_a, scan.rotation_error_rad) * (1 + scan.scale_error)


def half_extent_a(scan: Scan) -> np.ndarray:
    """(2,) largest distance (y, x) of a true position from the scan's centre, jitter at its margin."""
    nominal = raster(scan, (0.0, 0.0))
    corners = _distorted(scan, nominal)
    reach = np.maximum(np.abs(nominal).max(axis=0), np.abs(corners).max(axis=0))
    return reach + np.abs(scan.drift_a) + JITTER_MARGIN_SIGMA * math.hypot(scan.jitter_a, scan.line_noise_a)


def check_windows(potential: Potential, positions_a: np.ndarray, window: Grid, periodic: bool) -> None:
    """Raises InputError unless every window lies on the potential.

    Window pixel (ny//2, nx//2) is the one nearest to the position. A periodic specimen has no edge, but must be at
    least as large as the window.
    """
    positions_a = np.asarray(positions_a, float)
    if positions_a.ndim != 2 or positions_a.shape[1] != 2 or not len(positions_a) or not np.isfinite(positions_a).all():
        raise InputError(
            "positions_a", "must be finite (y, x) of one or more positions", positions_a.shape, "Correct the positions."
        )
    pixel, want = np.asarray(window.pixel_a), np.asarray(window.shape)
    extent = np.asarray(potential.grid.extent_a)
    have = np.floor(extent / pixel + 1e-6).astype(int)
    low = np.rint(positions_a.min(axis=0) / pixel).astype(int) - want // 2
    high = np.rint(positions_a.max(axis=0) / pixel).astype(int) - want // 2 + want
    if np.any(want > have) if periodic else (np.any(low < 0) or np.any(high > have)):
        first, last = low * pixel, high * pixel
        raise InputError(
            "potential",
            "must hold the scan and the window around every position",
            f"{extent[0]:.1f} x {extent[1]:.1f} A; needed are y from {first[0]:.1f} to {last[0]:.1f} A, x from "
            f"{first[1]:.1f} to {last[1]:.1f} A",
            f"Make it {np.max(last - first):.1f} A or more and centre the scan, or take less field or defocus.",
        )


def _require(condition: bool, field: str, rule: str, value: object, mend: str) -> None:
    if not condition:
        raise InputError(field, rule, value, mend)
