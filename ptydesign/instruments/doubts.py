"""What looks wrong in measured data, said before work is done with it, each with how to mend it."""

from __future__ import annotations

import numpy as np

from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.estimate.descan import Descan
from ptydesign.instruments.estimate.disk import Disk
from ptydesign.instruments.estimate.frames import OddFrames
from ptydesign.instruments.estimate.pixels import OddPixels
from ptydesign.instruments.frames import Frames
from ptydesign.instruments.order import BAD, Order
from ptydesign.instruments.survey import Survey
from ptydesign.units import MRAD, wavelength_a

APART = 0.05  # relative difference of a told and a found aperture
DESCAN_PX = 1.0


def numbers(values: np.ndarray, most: int = 8) -> str:
    """The first few of some numbers."""
    return ", ".join(str(int(v)) for v in values[:most]) + (", ..." if len(values) > most else "")


def of_frames(
    frames: Frames, order: Order, odd: OddFrames, survey: Survey, good: np.ndarray, c: Calibration
) -> list[str]:
    """Frames unlike their neighbours, values that no detector gives, a scan that ended early."""
    found = []
    for words, where in odd.reasons.items():
        lost = "no numbers" in words
        skipped = lost or BAD in (c.skip_frames or "")
        mend = "left out" if skipped else "--skip-frames bad leaves them out"
        found.append(
            f"{len(where)} of {len(order.frames)} frames {words} (frames {numbers(order.frames[where])}): {mend}"
        )
    single = survey.lost[(survey.lost > 0) & (survey.lost <= 0.01 * good.sum())]
    if len(single):
        found.append(
            f"{int(single.sum())} values in {len(single)} frames are no numbers: they are replaced by their neighbours"
        )
    announced = frames.record.get("frames_announced")
    if announced is not None and announced != frames.count:
        found.append(
            f"the header announces {announced} frames and the file holds {frames.count}: was the scan interrupted?"
        )
    if survey.negative:
        found.append(
            f"{survey.negative} readings are below 0, the least is {survey.least:.4g}: give --threshold, as dark noise"
        )
    full = int(np.sum(survey.full[good & (survey.full <= len(order.frames) / 2)]))
    if full:
        found.append(
            f"{full} readings are the largest that {frames.dtype} holds: the detector is saturated; mask those pixels, "
            "or lower the current"
        )
    elif frames.dtype.kind in "ui":
        found += _ceiling(survey, good, len(order.frames))
    return found


def _ceiling(survey: Survey, good: np.ndarray, count: int) -> list[str]:
    """Several pixels that reach the same largest reading of a counter (2^n - 1) saturate."""
    largest = survey.largest[good]
    top = float(largest.max()) if largest.size else 0.0
    together = int(np.sum(largest == top))
    if top >= 63 and together >= 4 and float(np.log2(top + 1)).is_integer():
        return [
            f"{together} pixels reach {top:g}, the largest count of a {int(np.log2(top + 1))}-bit counter: saturated"
        ]
    return []


def of_pixels(odd: OddPixels, good: np.ndarray, repair: str | None) -> list[str]:
    """Hot, dead and unusable pixels."""
    found = []
    for where, words in (
        (odd.full, "read the largest value of the file's type in most frames"),
        (odd.lost, "hold no numbers"),
    ):
        if where.any():
            found.append(f"{_count(where)} that {words} ({places_of(where)}): masked")
    for where, words in ((odd.hot, "far above the neighbours (hot)"), (odd.dead, "far below the neighbours (dead)")):
        if where.any():
            mend = {
                "mask": "masked",
                "fill": "given the mean of the neighbours",
                None: "give --repair-pixels mask, or a --mask",
            }[repair]
            found.append(f"{_count(where)} {words} ({places_of(where)}): {mend}")
    if good.sum() < good.size / 2:
        found.append(f"the mask leaves {int(good.sum())} of {good.size} pixels")
    return found


def _count(where: np.ndarray) -> str:
    number = int(where.sum())
    return f"{number} pixel" + "s" * (number != 1)


def places_of(where: np.ndarray) -> str:
    """The first few places (ky, kx) that are True."""
    places = np.argwhere(where)
    return "; ".join(f"{y},{x}" for y, x in places[:5]) + ("; ..." if len(places) > 5 else "")


def of_disk(mean: np.ndarray, good: np.ndarray, disk: Disk | None, c: Calibration, dark: int) -> list[str]:
    """The bright-field disk against the told aperture, and where it lies. mean, good: (ky, kx) turned."""
    if disk is None:
        return ["the mean pattern has no counts"]
    found = []
    if c.corner and split(mean, good):
        found.append("the beam lies in the middle of the pattern as it is stored: --corner seems to be wrong")
        return found
    if dark:
        found.append(f"{dark} pixels between bright ones never count, and aren't masked: give a --mask")
    if not disk.known:
        found.append("the mean pattern has no clear bright-field disk: neither centre nor aperture could be checked")
        return found
    if c.centre_px is not None:
        away = float(np.hypot(*np.subtract(c.centre_px, disk.centre_px)))
        if away > max(1.0, 0.05 * disk.radius_px):
            place = ", ".join(f"{v:.2f}" for v in disk.centre_px)
            found.append(f"the disk's centre is at ({place}), {away:.1f} px from the --centre-px that was given")
    if c.semiangle_mrad is not None:
        pixel = np.sqrt(np.prod(c.detector_pixel)) * wavelength_a(c.voltage_kv) / MRAD
        seen = disk.radius_px * pixel
        ratio = seen / c.semiangle_mrad
        if abs(ratio - 1) > APART:
            found.append(
                f"the disk's radius is {disk.radius_px:.2f} px, {seen:.2f} mrad with this detector pixel, but "
                f"semiangle_mrad is {c.semiangle_mrad:g}: one is wrong (a pixel of {pixel / ratio:.4g} mrad, or "
                f"a semi-angle of {seen:.3g} mrad)"
            )
    ry, rx = disk.radii_px
    dky, dkx = c.detector_pixel
    stretch = ry * dky / (rx * dkx)
    if abs(stretch - 1) > APART:
        found.append(
            f"the disk is {stretch:.3f} times as long along ky as along kx: give a detector pixel for each, as "
            f"--pixel-mrad Y,X in the ratio {rx / ry:.3f}"
        )
    return found


def split(mean: np.ndarray, good: np.ndarray) -> bool:
    """Whether most counts lie nearer to the corners than to the middle, and evenly so in all four."""
    ny, nx = mean.shape
    y, x = (np.abs(np.fft.fftfreq(n)) for n in (ny, nx))
    corner = (y[:, None] < 0.25) & (x[None] < 0.25)
    share = mean[corner & good].sum() / max(mean[good].sum(), 1e-30)
    quarters = [mean[rows, columns].sum() for rows in (slice(0, ny // 4), slice(-(ny // 4), None))
                for columns in (slice(0, nx // 4), slice(-(nx // 4), None))]  # fmt: skip
    return bool(share > 0.6 and min(quarters) > 0.1 * max(quarters))


def of_descan(found: Descan) -> list[str]:
    """A beam that walks over the detector."""
    if not found.known or found.range_px < DESCAN_PX:
        return []
    return [
        f"the beam's centre moves by {found.range_px:.1f} px over the scan: give --descan plane (or the specimen has a "
        "field of long range, which looks the same)"
    ]
