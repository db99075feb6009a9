"""From an instrument's file and its calibration to a Dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import __version__
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.instruments import arrange
from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.files import read_array, read_patterns
from ptydesign.types import Dataset

BLOCK_BYTES = 2**28  # of raw patterns read at a time
POSITION_UNITS = ("a", "nm", "px")


def import_file(
    file: str | Path,
    calibration: Calibration,
    *,
    format: str | None = None,
    mask: str | Path | None = None,
    positions: str | Path | None = None,
    positions_unit: str = "a",
    probe: str | Path | None = None,
) -> Dataset:
    """A file of an instrument (or `file.h5:array`, `.npy`) as a Dataset.

    mask: file with (ky, kx), 1 = good, in the detector's own orientation. positions: file with (position, 2) (y, x), in
    `positions_unit` (a, nm, or px of the reconstruction); without it the scan is a raster. probe: file with a complex
    first guess (y, x) or (mode, y, x), on the patterns' pixels. All arrays as `files.read_array` reads them.
    Raises InputError for whatever doesn't fit together.
    """
    raw, record = read_patterns(file, format, calibration.scan_shape)
    if calibration.scan_last and len(raw.shape) == 4:
        raw = raw.transpose(2, 3, 0, 1)
    scan_shape, count = _scan_shape(raw, calibration, positions is not None)
    flat = raw.reshape(count, *raw.shape[-2:])
    good = np.ones(raw.shape[-2:], np.float32) if mask is None else _read_mask(mask, raw.shape[-2:])
    patterns, good, centre = _arranged(flat, good, calibration)
    shape = patterns.shape[-2:]
    pixel = tuple(1 / (n * calibration.bin * calibration.detector_pixel) for n in shape)
    if positions is None:
        where = calibration.positions_a(scan_shape)
    else:
        where = _read_positions(positions, positions_unit, pixel)
    return Dataset(
        patterns=patterns,
        positions_a=where,
        grid=Grid(shape, pixel),
        voltage_kv=calibration.voltage_kv,
        mask=good,
        optics=calibration.optics,
        electrons_per_pattern=float(np.mean(np.sum(patterns * good, axis=(1, 2), dtype=np.float64))),
        probe_guess=None if probe is None else _read_probe(probe, shape),
        provenance={
            "ptydesign": __version__,
            "file": Path(str(file)).name,
            "read": record,
            "calibration": calibration.model_dump(mode="json"),
            "zero_frequency_px": list(centre),
            "positions": None if positions is None else Path(str(positions)).name,
            "scan_shape": None if positions is not None else list(scan_shape),
        },
    )


def _scan_shape(raw: Any, calibration: Calibration, has_positions: bool) -> tuple[tuple[int, int], int]:
    count = int(np.prod(raw.shape[:-2]))
    shape = calibration.scan_shape or (raw.shape[:2] if len(raw.shape) == 4 else None)
    if has_positions:
        return (1, count), count
    if shape is None:
        raise InputError(
            "scan_shape", "is needed: the file holds a plain list of patterns", count, "Give (rows, columns)."
        )
    if shape[0] * shape[1] != count:
        raise InputError("scan_shape", f"must give the file's {count} patterns", shape, "Correct rows or columns.")
    return tuple(shape), count


def _arranged(flat: Any, good: np.ndarray, c: Calibration) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Patterns (position, ky, kx) float32 corner-centred, their mask, and the zero frequency in turned pixels."""
    height, width = flat.shape[-2:]
    block = max(1, BLOCK_BYTES // (height * width * np.dtype(flat.dtype).itemsize))
    blocks = [slice(i, i + block) for i in range(0, len(flat), block)]

    def read(part: slice) -> np.ndarray:
        patterns = turned(np.asarray(flat[part]).astype(np.float32))
        if c.threshold is not None:
            patterns = np.where(patterns < c.threshold, 0, patterns)
        return patterns / np.float32(c.counts_per_electron) * good

    def turned(array: np.ndarray) -> np.ndarray:
        array = arrange.from_corner(array) if c.corner else array
        return arrange.turned(array, c.transpose, c.flip_ky, c.flip_kx)

    good = turned(good)
    size = good.shape
    arrange.check_bin(size if c.crop_px is None else c.crop_px, c.bin)
    if c.corner:
        # a reversed axis moves the zero frequency of an even number of pixels by one
        flips = (c.flip_ky, c.flip_kx)
        centre = tuple(float(n - 1 - n // 2 if flip else n // 2) for n, flip in zip(size, flips, strict=True))
    elif c.centre_px is not None:
        centre = c.centre_px
    else:
        total = sum(np.sum(read(part), axis=0, dtype=np.float64) for part in blocks)
        centre = arrange.disk_centre(total)
    box = arrange.centred_box(size, centre, c.crop_px, c.bin)
    patterns = np.empty((len(flat), *box.shape), np.float32)
    for part in blocks:
        patterns[part] = arrange.to_corner(arrange.cut(read(part), box))
    return patterns, arrange.to_corner(arrange.cut_mask(good, box)), centre


def _read_mask(source: str | Path, shape: tuple[int, int]) -> np.ndarray:
    mask = np.asarray(read_array(source))
    if mask.shape != tuple(shape) or not np.all(np.isin(mask, (0, 1))):
        raise InputError("mask", f"must be 0 or 1 for each of the {tuple(shape)} pixels", mask.shape, "Correct it.")
    return mask.astype(np.float32)


def _read_positions(source: str | Path, unit: str, pixel_a: tuple[float, float]) -> np.ndarray:
    if unit not in POSITION_UNITS:
        raise InputError("positions_unit", f"must be one of {', '.join(POSITION_UNITS)}", unit, "Correct it.")
    where = np.asarray(read_array(source), np.float64)
    if where.ndim != 2 or where.shape[1] != 2:
        raise InputError("positions", "must be (position, 2) as (y, x)", where.shape, "Give two columns.")
    return where * {"a": 1.0, "nm": 10.0, "px": np.asarray(pixel_a)}[unit]


def _read_probe(source: str | Path, shape: tuple[int, int]) -> np.ndarray:
    probe = np.atleast_2d(np.asarray(read_array(source)))
    probe = probe[None] if probe.ndim == 2 else probe
    if probe.ndim != 3 or probe.shape[-2:] != tuple(shape) or not np.all(np.isfinite(probe)):
        raise InputError("probe", f"must be finite, (modes, {shape[0]}, {shape[1]})", probe.shape, "Correct it.")
    return probe.astype(np.complex64)
