"""A calibration filled in from the data: what the user didn't say, and what the data say of what he did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.convert import import_file
from ptydesign.instruments.estimate.orientation import Orientation, together
from ptydesign.instruments.estimate.scan import oriented
from ptydesign.types import Dataset
from ptydesign.units import MRAD, NM, wavelength_a

TURN_DEG = 5.0  # told and found apart by more are doubted
PIXEL_GUESS = 1.0  # 1/angstrom; any value, until the disk is measured


@dataclass(frozen=True)
class Filled:
    """given: the calibration with what was found where nothing was said. words: a line for each quantity."""

    given: dict[str, Any]
    words: list[str]


def fill(file: str | Path, given: Mapping[str, Any], **options: Any) -> Filled:
    """Fill a calibration from the data of a file. options: those of `import_file`.

    Filled where nothing was said: the angle of a pixel from the disk and the aperture, or the aperture from the disk
    and the pixel; orientation and defocus from the scan. What was said stays; where the data disagree, the words say
    so. Raises InputError if neither pixel nor aperture is known, or the disk can't be seen.
    """
    given, words = dict(given), []
    _check_given(given)
    pixel_known = any(given.get(n) is not None for n in ("reciprocal_pixel", "pixel_mrad"))
    if not pixel_known or (given.get("semiangle_mrad") is None and options.get("probe") is None):
        trial = build(Calibration, _trial(given), "calibration")
        disk = import_file(file, trial, **options, lazy=True).provenance["disk"]
        if disk is None or not disk["known"]:
            raise InputError("estimate", "needs a clear bright-field disk", disk, "Give semiangle_mrad and pixel_mrad.")
        radii = np.array(disk["radius_px"])
        if not pixel_known:
            stretched = abs(radii[0] / radii[1] - 1) > 0.03
            pixels = given["semiangle_mrad"] / (radii if stretched else np.full(2, np.sqrt(radii.prod())))
            given["pixel_mrad"] = [float(f"{p:.5g}") for p in pixels]
            words.append(f"pixel_mrad: {pixels[0]:.4g}, {pixels[1]:.4g} (found: the disk's radius is {_radii(disk)})")
        else:
            per_a = np.array(trial.detector_pixel)
            angle = float(np.sqrt(np.prod(radii * per_a)) * wavelength_a(trial.voltage_kv) / MRAD)
            given["semiangle_mrad"] = float(f"{angle:.5g}")
            words.append(f"semiangle_mrad: {angle:.4g} (found: the disk's radius is {_radii(disk)})")
    calibration = build(Calibration, given, "calibration")
    dataset = import_file(file, calibration, **options, lazy=True)
    best = together(*orientations(dataset))
    if best is not None and best.known and options.get("positions") is not None:
        hand = "mirrored against" if best.mirrored else "turned against"
        words.append(
            f"positions: they are {hand} the detector by {best.turn_deg:.2f} +- {best.turn_error_deg:.2f} deg (by "
            f"{best.method}, {best.sigmas:.0f} standard deviations); 0 is right"
        )
        return Filled(given, words)
    if best is None or not best.known:
        words.append("orientation and defocus: can't be known from these data (too few counts, or too little contrast)")
        return Filled(given, words)
    return Filled(*_oriented(given, calibration, best, words))


def orientations(dataset: Dataset) -> tuple[Orientation | None, Orientation | None]:
    """What the data say of their orientation, with the told aperture or the disk that was found."""
    disk = dataset.provenance.get("disk") or {}
    calibration = dataset.provenance.get("calibration") or {}
    if disk.get("known") or (disk and dataset.optics is None):
        per_a = np.array(dataset.grid.reciprocal_pixel) / (calibration.get("bin") or 1)
        radius = float(np.sqrt(np.prod(np.array(disk["radius_px"]) * per_a)))
    elif dataset.optics is not None:
        radius = dataset.optics.semiangle_rad / wavelength_a(dataset.voltage_kv)
    else:
        return None, None
    return oriented(dataset, radius)


def doubts_of(dataset: Dataset) -> list[str]:
    """Where told and found orientation or defocus disagree beyond doubt."""
    calibration = dataset.provenance.get("calibration") or {}
    found = together(*orientations(dataset)) if calibration and dataset.provenance.get("scan_shape") else None
    if found is None or not found.known or found.defocus_a is None:
        return []
    turn, told = found.turn_deg, float(calibration.get("rotation_deg") or 0.0)
    defocus_nm = found.defocus_a / NM
    told_nm = float(calibration.get("defocus_nm") or 0.0)
    if not found.mirrored and told_nm * defocus_nm < 0 and abs(_apart(turn + 180, told)) < abs(_apart(turn, told)):
        turn, defocus_nm = turn + 180, -defocus_nm  # the opposite setting explains the data as well
    doubts = []
    if found.mirrored and found.hand_known:
        flags = _flags(_transposed(calibration))
        doubts.append(
            f"the patterns seem to be mirrored ({found.hand_sigmas:.0f} standard deviations): turn them by {flags}, "
            f"with --rotation-deg {turn:.1f}; or --estimate"
        )
        return doubts
    if abs(_apart(turn, told)) > max(TURN_DEG, 4 * found.turn_error_deg):
        doubts.append(
            f"the scan seems to be turned by {_apart(turn, 0):.1f} +- {found.turn_error_deg:.1f} deg against the "
            f"detector, not {told:g}: give --rotation-deg {_apart(turn, 0):.1f}, or --estimate"
        )
    elif abs(defocus_nm - told_nm) > max(0.25 * abs(told_nm), 5 * found.defocus_error_a / NM, _focus_nm(dataset)):
        doubts.append(
            f"the defocus seems to be {defocus_nm:.1f} +- {found.defocus_error_a / NM:.1f} nm, not {told_nm:g}: give "
            f"--defocus-nm {defocus_nm:.1f}, or --estimate"
        )
    return doubts


def _focus_nm(dataset: Dataset) -> float:
    """Depth of focus, within which a defocus makes little difference."""
    angle = dataset.optics.semiangle_rad if dataset.optics is not None else 0.02
    return 2 * wavelength_a(dataset.voltage_kv) / angle**2 / NM


def _oriented(
    given: dict[str, Any], told: Calibration, best: Orientation, words: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """The calibration with an orientation and a defocus."""
    turn, defocus_nm = best.turn_deg, None if best.defocus_a is None else best.defocus_a / NM
    if defocus_nm is not None and given.get("defocus_nm") and given["defocus_nm"] * defocus_nm < 0:
        turn, defocus_nm = _apart(turn + 180, 0), -defocus_nm
        words.append("sign: of the two settings that explain the data, the one with the told sign of defocus")
    elif not best.sign_sure:
        words.append("sign: the data don't say whether it is this turn, or 180 deg more with the opposite defocus")
    sure = f"+- {best.turn_error_deg:.2f}, by {best.method}, {best.sigmas:.0f} standard deviations"
    flips = ("transpose", "flip_ky", "flip_kx")
    if best.mirrored and any(given.get(name) is not None for name in flips):
        words.append(f"orientation: the patterns seem to be mirrored ({sure}), which was told otherwise; kept as told")
        return given, words
    if best.mirrored:
        given |= _transposed(told.model_dump())
        words.append(f"transpose: true (found, {best.hand_sigmas:.0f} standard deviations)")
    if given.get("rotation_deg") is None:
        given["rotation_deg"] = round(float(turn), 2)
        words.append(f"rotation_deg: {turn:.2f} (found, {sure})")
    else:
        words.append(f"rotation_deg: {given['rotation_deg']:g} as told; found {turn:.2f} ({sure})")
    if defocus_nm is None:
        words.append("defocus_nm: can't be known from the deflection alone")
    elif given.get("defocus_nm") is None:
        given["defocus_nm"] = round(float(defocus_nm), 2)
        words.append(f"defocus_nm: {defocus_nm:.2f} (found, +- {best.defocus_error_a / NM:.2f})")
    else:
        words.append(
            f"defocus_nm: {given['defocus_nm']:g} as told; found {defocus_nm:.2f} +- {best.defocus_error_a / NM:.2f}"
        )
    return given, words


def _transposed(calibration: Mapping[str, Any]) -> dict[str, bool]:
    """The flags that turn the patterns as they do now, and then swap ky and kx."""
    return {
        "transpose": not calibration.get("transpose"),
        "flip_ky": bool(calibration.get("flip_kx")),
        "flip_kx": bool(calibration.get("flip_ky")),
    }


def _flags(flips: Mapping[str, bool]) -> str:
    given = [f"--{name.replace('_', '-')}" for name, value in flips.items() if value]
    return " ".join(given) if given else "no --transpose and no --flip"


def _apart(one_deg: float, other_deg: float) -> float:
    """Difference of two angles in (-180, 180]."""
    return float(-((-(one_deg - other_deg) + 180) % 360 - 180))


def _radii(disk: Mapping[str, Any]) -> str:
    ry, rx = disk["radius_px"]
    return f"{np.sqrt(ry * rx):.2f} +- {disk['error_px']:.2f} px"


def _check_given(given: Mapping[str, Any]) -> None:
    if all(given.get(n) is None for n in ("reciprocal_pixel", "pixel_mrad", "semiangle_mrad")):
        raise InputError(
            "estimate", "needs the aperture or the detector's pixel: the disk tells only their ratio", None,
            "Give semiangle_mrad, pixel_mrad or reciprocal_pixel.",
        )  # fmt: skip


def _trial(given: Mapping[str, Any]) -> dict[str, Any]:
    """A calibration that is good enough to find the disk."""
    trial = dict(given)
    if all(trial.get(n) is None for n in ("reciprocal_pixel", "pixel_mrad")):
        trial["reciprocal_pixel"] = PIXEL_GUESS
        trial["semiangle_mrad"] = None
    return trial
