"""From an instrument's file and its calibration to a Dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import __version__, io, waves
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.instruments import arrange, doubts, memory
from ptydesign.instruments.arranged import Arranged, Turning
from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.estimate import descan
from ptydesign.instruments.estimate.disk import Disk, find_disk
from ptydesign.instruments.estimate.frames import odd_frames
from ptydesign.instruments.estimate.pixels import filled, never_counting, odd_pixels
from ptydesign.instruments.files import read_array, read_frames
from ptydesign.instruments.frames import Frames
from ptydesign.instruments.masks import read_mask
from ptydesign.instruments.order import BAD, Order, order_of
from ptydesign.instruments.survey import Counting, Survey, surveyed
from ptydesign.types import Dataset
from ptydesign.units import wavelength_a

POSITION_UNITS = ("a", "nm", "px")
PREVIEW = 64  # frames, spread over the scan, in which the beam is looked for first


def import_file(
    file: str | Path,
    calibration: Calibration,
    *,
    format: str | None = None,
    raw: str | None = None,
    loader: str | None = None,
    mask: str | Path | None = None,
    positions: str | Path | None = None,
    positions_unit: str = "a",
    probe: str | Path | None = None,
    vacuum: str | Path | None = None,
    memory_gib: float | None = None,
    lazy: bool = False,
) -> Dataset:
    """A file of an instrument (or `file.h5:array`, `.npy`, a folder of frames) as a Dataset.

    format: RosettaSciIO's name of it; raw: layout of a raw binary; loader: a function of your own that reads it, as
    file.py:name. mask: file with (ky, kx), in the detector's own orientation. positions: file with (position, 2)
    (y, x), in `positions_unit` (a, nm, or px of the reconstruction); without it the scan is a raster. probe: file with
    a complex first guess (y, x) or (mode, y, x) in real space, on the patterns' pixels. vacuum: file with the intensity
    of the beam without a specimen on the detector: it gives centre, aperture and intensity of the first guess. All
    arrays as `files.read_array` reads them.
    memory_gib: what may be taken (default: half of what is free). lazy: patterns are read when they are asked for;
    else they are in memory, or mapped from a temporary file if they take more than half of the bound.

    What looks wrong is in `provenance["doubts"]`. Raises InputError for whatever doesn't fit together.
    """
    c = calibration
    if probe is not None and vacuum is not None:
        raise InputError("vacuum", "can't be used with a probe", str(vacuum), "Give one of the two.")
    bound = memory.bound_bytes(memory_gib)
    where = None if positions is None else _read_positions(positions, positions_unit)
    frames = read_frames(file, format, c.scan_shape, raw, c.scan_last, loader)
    block = memory.block_bytes(bound, 4 * np.prod(frames.pixels) + frames.frame_bytes)
    memory.check_room(memory.ORDER_BYTES * frames.count, bound, f"{frames.count} frames")
    order = order_of(frames, c.scan_shape, c.reshape, c.skip_frames, c.scan_crop, None if where is None else len(where))
    good = np.ones(frames.pixels, bool) if frames.good is None else frames.good
    if mask is not None:
        good = good & read_mask(mask, frames.pixels, c.mask_marks)
    turning, counting = Turning.of(c), Counting(c.threshold, c.counts_per_electron)
    arrange.check_bin(turning(good).shape if c.crop_px is None else c.crop_px, c.bin)

    told_px = _told_radius_px(c, turning)
    disk = _previewed(frames, order, good, counting, turning, told_px, block)
    survey = surveyed(frames, order.frames, good, counting, block, disk)
    odd = odd_frames(survey.totals, survey.coarse, survey.lost, int(good.sum()))
    survey = survey.without(frames, order.frames[odd.bad], counting, block)
    pixels = odd_pixels(survey.total, survey.full, survey.lost_pixel, len(order.frames), good, c.corner)
    if not (good & ~pixels.unusable).any():
        rule = "must hold counts: all of its pixels read no number, or the largest of their type"
        raise InputError(str(file), rule, str(frames.dtype), "Check the file, and how it was read.")
    found = doubts.of_frames(frames, order, odd, survey, good, c)
    found += doubts.of_pixels(pixels, good, c.repair_pixels)
    good = good & ~pixels.unusable
    fill = np.zeros_like(good)
    if c.repair_pixels == "mask":
        good = good & ~pixels.hot & ~pixels.dead
    elif c.repair_pixels == "fill":
        fill = pixels.hot | pixels.dead
    gone = survey.lost > 0.01 * good.sum()
    if BAD in (c.skip_frames or ""):
        gone = gone | odd.bad
    if gone.all():
        raise InputError("skip_frames", "must leave frames", f"all {len(gone)} are bad", "Check the file and the mask.")

    dark = never_counting(survey.total, good & ~pixels.hot & ~pixels.dead) & (not c.corner)
    clean = good & ~pixels.hot & ~pixels.dead & ~dark
    mean = np.where(clean, survey.mean, 0)
    beam = None if vacuum is None else _read_vacuum(vacuum, frames.pixels, counting)
    if doubts.split(turning(mean), turning(clean)) and not c.corner and c.centre_px is None:
        rule = "must be said: the beam lies in the corners of the patterns, zero frequency at pixel (0, 0)"
        raise InputError("corner", rule, c.corner, "Give --corner, or --centre-px if the beam is elsewhere.")
    disk = find_disk(turning(mean if beam is None else beam), turning(clean), told_px)
    found += doubts.of_disk(turning(mean), turning(clean), disk, c, int(dark.sum()))
    centre = _centre(turning(good).shape, c, disk)
    box = arrange.centred_box(turning(good).shape, centre, c.crop_px, c.bin)
    shift, words = _descan(survey, order, where, odd.bad | gone, turning, c)
    found += words
    kept = order.without(gone)
    patterns = Arranged(
        frames, kept.frames, counting, good, fill, turning, box, None if shift is None else shift[~gone], block
    )
    shape = box.shape
    pixel = tuple(1 / (n * c.bin * d) for n, d in zip(shape, c.detector_pixel, strict=True))
    if where is None:
        whole = c.positions_a(order.shape).reshape(*order.shape, 2)
        at = whole[tuple(kept.places.T)]
    else:
        where = where[order.frames] if len(where) == frames.count else where
        at = where[~gone] * {"a": 1.0, "nm": 10.0, "px": np.asarray(pixel)}[positions_unit]
    mean = filled(mean[None], fill)[0] if fill.any() else np.where(good, survey.mean, 0)
    electrons = float(arrange.cut(turning(mean)[None], box).sum(dtype=np.float64))
    grid, optics = Grid(shape, pixel), c.optics
    if probe is not None:
        guess = _read_probe(probe, shape)
    else:
        guess = None if beam is None else _probe_of_vacuum(turning(beam), box, grid, c, electrons)
    dataset = Dataset(
        patterns=patterns,
        positions_a=at,
        grid=grid,
        voltage_kv=c.voltage_kv,
        mask=arrange.to_corner(arrange.cut_mask(turning(good).astype(np.float32), box)),
        optics=optics,
        electrons_per_pattern=electrons,
        probe_guess=guess,
        provenance={
            "ptydesign": __version__,
            "file": Path(str(file)).name,
            "read": frames.record,
            "offered": frames.offered,
            "calibration": c.model_dump(mode="json"),
            "zero_frequency_px": list(centre),
            "disk": None if disk is None else _disk_words(disk, c),
            "positions": None if positions is None else Path(str(positions)).name,
            "scan_shape": None if where is not None else list(order.shape),
            "left_out": [int(n) for n in order.frames[gone]],
            "doubts": found,
        },
    )
    return dataset if lazy else replace(dataset, patterns=_kept(patterns, bound))


def _kept(patterns: Arranged, bound: float) -> np.ndarray:
    """All patterns in memory, or in a temporary file."""
    if patterns.nbytes <= bound / 2:
        return patterns[:]
    room = io.temporary_array(patterns.shape, patterns.dtype)
    step = max(1, int(patterns.block_bytes // max(1, patterns.nbytes // len(patterns))))
    for start in range(0, len(patterns), step):
        room[start : start + step] = patterns[start : start + step]
    return room


def _told_radius_px(c: Calibration, turning: Turning) -> float | None:
    """Mean radius of the disk in detector pixels, as the calibration has it."""
    if c.semiangle_mrad is None:
        return None
    return float(c.semiangle_mrad * 1e-3 / wavelength_a(c.voltage_kv) / np.sqrt(np.prod(c.detector_pixel)))


def _previewed(
    frames: Frames,
    order: Order,
    good: np.ndarray,
    counting: Counting,
    turning: Turning,
    told: float | None,
    block: float,
) -> Disk | None:
    """The disk in the detector's orientation, from a few frames; None with the zero frequency in the corner."""
    if turning.corner:
        return None
    some = order.frames[np.unique(np.linspace(0, len(order.frames) - 1, PREVIEW).astype(int))]
    frames_ = [np.nan_to_num(counting(part), nan=0.0, posinf=0.0) for _, part in frames.blocks(some, block)]
    return find_disk(np.mean(np.concatenate(frames_), axis=0), good, told)


def _centre(size: tuple[int, int], c: Calibration, disk: Disk | None) -> tuple[float, float]:
    """The zero frequency (ky, kx) in turned pixels: told, or the disk's centre."""
    if c.corner:
        # a reversed axis moves the zero frequency of an even number of pixels by one
        flips = (c.flip_ky, c.flip_kx)
        first, second = (float(n - 1 - n // 2 if flip else n // 2) for n, flip in zip(size, flips, strict=True))
        return first, second
    if c.centre_px is not None:
        return c.centre_px
    if disk is None:
        raise InputError("centre_px", "can't be found in patterns without a disk", 0.0, "Give it.")
    return disk.centre_px


def _descan(
    survey: Survey, order: Order, where: np.ndarray | None, bad: np.ndarray, turning: Turning, c: Calibration
) -> tuple[np.ndarray | None, list[str]]:
    """(whole pixels by which each pattern is off, in turned patterns; doubts)."""
    places = order.places if where is None else np.asarray(where)[: len(order.frames)]
    centres = np.where(bad[:, None], np.nan, survey.centres)
    found = descan.fitted(centres, np.asarray(places, float), c.descan or "plane")
    if found is None:
        if c.descan is not None:
            mend = "Leave --descan out, or correct the centre with --centre-px."
            raise InputError("descan", "needs 30 patterns over an area, with a beam in the middle", c.descan, mend)
        return None, []
    if c.descan is None:
        return None, doubts.of_descan(found)
    return np.rint(turning.vectors(found.shift_px)).astype(int), []


def _disk_words(disk: Disk, c: Calibration) -> dict[str, Any]:
    """The disk as provenance has it."""
    return {
        "centre_px": list(disk.centre_px),
        "radius_px": list(disk.radii_px),
        "error_px": disk.error_px,
        "known": bool(disk.known),
    }


def _read_positions(source: str | Path, unit: str) -> np.ndarray:
    if unit not in POSITION_UNITS:
        raise InputError("positions_unit", f"must be one of {', '.join(POSITION_UNITS)}", unit, "Correct it.")
    where = np.asarray(read_array(source), np.float64)
    if where.ndim != 2 or where.shape[1] != 2:
        raise InputError("positions", "must be (position, 2) as (y, x)", where.shape, "Give two columns.")
    return where


def _read_probe(source: str | Path, shape: tuple[int, int]) -> np.ndarray:
    probe = np.atleast_2d(np.asarray(read_array(source)))
    if probe.dtype.kind != "c":
        rule = "must be complex: waves in real space"
        mend = "The intensity of the beam on the detector, without a specimen, belongs to --vacuum."
        raise InputError("probe", rule, str(probe.dtype), mend)
    probe = probe[None] if probe.ndim == 2 else probe
    if probe.ndim != 3 or probe.shape[-2:] != tuple(shape) or not np.all(np.isfinite(probe)):
        raise InputError("probe", f"must be finite, (modes, {shape[0]}, {shape[1]})", probe.shape, "Correct it.")
    return probe.astype(np.complex64)


def _read_vacuum(source: str | Path, pixels: tuple[int, int], counting: Counting) -> np.ndarray:
    """(ky, kx) mean counts of the beam without a specimen, in the detector's orientation."""
    beam = np.asarray(read_array(source))
    if beam.dtype.kind not in "uif" or beam.shape[-2:] != tuple(pixels) or beam.ndim > 4:
        value = beam.shape if beam.dtype.kind in "uif" else str(beam.dtype)
        raise InputError(
            "vacuum", f"must be counts of the {tuple(pixels)} pixels, or a stack of them", value, "Correct it."
        )
    beam = counting(beam.reshape(-1, *pixels)).mean(axis=0, dtype=np.float64)
    beam = np.where(np.isfinite(beam), beam, 0)
    if beam.min() < 0 or beam.max() <= 0:
        raise InputError(
            "vacuum", "must hold counts, none below 0", float(beam.min()), "Give --threshold, or subtract less."
        )
    return beam


def _probe_of_vacuum(beam: np.ndarray, box: arrange.Box, grid: Grid, c: Calibration, counts: float) -> np.ndarray:
    """(1, y, x) first guess with this intensity on the detector and the told aberrations."""
    seen = arrange.to_corner(arrange.cut(beam[None], box))[0]
    spectrum = np.sqrt(np.maximum(seen, 0)).astype(np.complex128)
    optics = {"defocus_a": c.defocus_nm * 10, "cs_a": c.cs_mm * 1e7}
    chi = waves.aberration_phase(grid, wavelength_a(c.voltage_kv), **optics)
    spectrum = spectrum * np.exp(-1j * chi)
    spectrum *= np.sqrt(counts / np.sum(np.abs(spectrum) ** 2))
    return waves.centre_spectrum(grid, spectrum)[None].astype(np.complex64)
