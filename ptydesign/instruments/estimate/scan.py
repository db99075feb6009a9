"""Orientation and defocus of a Dataset: the middle of the scan, the bright field in few large pixels."""

from __future__ import annotations

import numpy as np

from ptydesign.instruments.estimate import orientation, sideband
from ptydesign.instruments.estimate.orientation import Orientation
from ptydesign.types import Dataset
from ptydesign.units import wavelength_a

BLOCK = 128
FULL = 0.6  # of a large pixel that must be inside the disk and good


def told_turn_rad(dataset: Dataset) -> float:
    """The turn of the scan that the dataset's positions have, from its provenance; 0 if it says nothing, and where
    positions came from a file."""
    calibration = (dataset.provenance.get("calibration") or {}) if dataset.provenance.get("scan_shape") else {}
    return float(np.radians(calibration.get("rotation_deg", 0.0) or 0.0))


def oriented(dataset: Dataset, radius: float) -> tuple[Orientation | None, Orientation | None]:
    """What the weak-phase fit and the deflection say of a dataset; None where there is nothing to go by.

    radius: of the bright field in 1/angstrom. The turn counts from the scan's own frame, so it can be compared with
    `rotation_deg` of the calibration.
    """
    turn = told_turn_rad(dataset)
    positions = np.stack(sideband.turned(dataset.positions_a, -turn), axis=1)
    chosen = middle_of(positions, sideband.MOST_POSITIONS)
    groups, pixels, width = large_pixels(dataset, radius)
    ky, kx = dataset.grid.frequencies()
    good = np.asarray(dataset.mask) > 0
    bright, moment = np.zeros((len(chosen), len(pixels)), np.float32), np.full((len(chosen), 2), np.nan)
    flat = np.flatnonzero(groups >= 0)
    order = flat[np.argsort(groups.ravel()[flat], kind="stable")]
    starts = np.searchsorted(groups.ravel()[order], np.arange(len(pixels)))
    for start in range(0, len(chosen), BLOCK):
        part = chosen[start : start + BLOCK]
        counts = np.asarray(dataset.patterns[part], np.float32) * good
        if len(pixels):
            bright[start : start + BLOCK] = np.add.reduceat(counts.reshape(len(counts), -1)[:, order], starts, axis=1)
        total = counts.sum(axis=(1, 2), dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            moment[start : start + BLOCK] = np.stack(
                [np.sum(counts * k, axis=(1, 2), dtype=np.float64) / total for k in (ky, kx)], axis=1
            )
    wavelength = wavelength_a(dataset.voltage_kv)
    window = 1 / max(dataset.grid.reciprocal_pixel)
    where = positions[chosen]
    signal = None
    if len(pixels) >= 12:
        signal = sideband.signal_of(where, bright, pixels, width, radius, wavelength, window)
    deflected = orientation.by_deflection(where, moment) if good.mean() > 0.95 else None
    return (None if signal is None else orientation.by_sideband(signal)), deflected


def middle_of(positions: np.ndarray, most: int) -> np.ndarray:
    """Sorted numbers of the positions (n, 2) in a rectangle about the middle, at most so many."""
    if len(positions) <= most:
        return np.arange(len(positions))
    middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
    away = np.abs(positions - middle).max(axis=1)
    return np.sort(np.argsort(away, kind="stable")[:most])


def large_pixels(dataset: Dataset, radius: float) -> tuple[np.ndarray, np.ndarray, float]:
    """(group of each pixel (ky, kx), -1 outside; centres (k, 2) in units of the radius; width in the same unit) of the
    bright field within `radius` in 1/angstrom, in square groups, so that there are not too many."""
    ky, kx = dataset.grid.frequencies()
    dky, dkx = dataset.grid.reciprocal_pixel
    inside = (np.hypot(ky, kx) < radius) & (np.asarray(dataset.mask) > 0)
    size = max(1, int(np.ceil(np.sqrt(inside.sum() / sideband.MOST_PIXELS))))
    rows, columns = (np.floor(np.round(k / d) / size).astype(int) for k, d in ((ky, dky), (kx, dkx)))
    labels = (rows - rows.min()) * (int(np.ptp(columns)) + 1) + (columns - columns.min())
    labels = np.broadcast_to(labels, inside.shape)
    names, members = np.unique(labels[inside], return_inverse=True)
    counts = np.bincount(members, minlength=len(names))
    full = counts >= FULL * size**2
    new = np.where(full, np.cumsum(full) - 1, -1)
    groups = np.full(inside.shape, -1)
    groups[inside] = new[members]
    y, x = (np.broadcast_to(k, inside.shape)[inside] for k in (ky, kx))
    centres = np.stack([np.bincount(members, v, len(names)) / np.maximum(counts, 1) for v in (y, x)], axis=1)
    return groups, centres[full] / radius, float(size * max(dky, dkx) / radius)
