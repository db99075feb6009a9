"""Which frame of a file belongs to which position: the scan's shape, frames beyond it, and the part that is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ptydesign.errors import InputError
from ptydesign.instruments.frames import Frames

MOST_SLICES = 4  # that a user is asked to write
BAD = "bad"  # word of `skip_frames`: those that are found to be bad


@dataclass(frozen=True)
class Order:
    """frames: (n,) numbers in the file, in the scan's order. places: (n, 2) their (row, column), or None where
    positions are given. shape: (rows, columns) of the scan that `places` belong to."""

    frames: np.ndarray
    places: np.ndarray | None
    shape: tuple[int, int] | None

    def without(self, bad: np.ndarray) -> Order:
        """The order without those positions (n,) that are True."""
        places = None if self.places is None else self.places[~bad]
        return Order(self.frames[~bad], places, self.shape)


def order_of(
    frames: Frames,
    scan_shape: tuple[int, int] | None,
    reshape: bool,
    skip: str | None,
    crop: str | None,
    positions: int | None,
) -> Order:
    """The order of a file's frames. positions: how many are given in a file, None for a raster.

    skip: frames to leave out, as Python's slices: "0,5:9,16::17". Where the scan has as many positions as the file has
    frames, they are positions without a frame; where it has fewer, they are frames beyond the scan (flyback).
    Raises InputError wherever the numbers don't fit, with what would make them fit.
    """
    skipped = _numbers(skip, frames.count)
    keep = np.ones(frames.count, bool)
    keep[skipped] = False
    kept = np.flatnonzero(keep)
    if positions is not None:
        if crop is not None:
            raise InputError("scan_crop", "is for rasters, not for positions from a file", crop, "Leave it out.")
        if positions not in (frames.count, len(kept)):
            rule = f"needs one (y, x) for each of the {frames.count} patterns"
            more = f", or of the {len(kept)} that are not skipped" if len(skipped) else ""
            raise InputError("positions", rule + more, positions, "Correct the file, or give --skip-frames.")
        return Order(kept, None, None)
    shape = _shape(frames, scan_shape, reshape)
    product = shape[0] * shape[1]
    if product == frames.count:
        flat = kept
        used = kept
    elif product == len(kept):
        flat = np.arange(product)
        used = kept
    else:
        raise _misfit(frames, shape, len(skipped))
    places = np.stack(np.divmod(flat, shape[1]), axis=1)
    if crop is None:
        return Order(used, places, shape)
    (top, bottom), (left, right) = _crop(crop, shape)
    inside = (places[:, 0] >= top) & (places[:, 0] < bottom) & (places[:, 1] >= left) & (places[:, 1] < right)
    return Order(used[inside], places[inside] - (top, left), (bottom - top, right - left))


def _shape(frames: Frames, told: tuple[int, int] | None, reshape: bool) -> tuple[int, int]:
    if told is None:
        if frames.scan is not None:
            return frames.scan
        offered = frames.offered.get("scan_shape")
        side = int(np.sqrt(frames.count))
        guess = f" The file's header suggests {offered[0]},{offered[1]}." if offered else ""
        guess = guess or (f" A square scan would be {side}." if side * side == frames.count else "")
        raise InputError(
            "scan_shape",
            "is needed: the file holds a plain list of patterns",
            frames.count,
            f"Give (rows, columns).{guess}",
        )
    if frames.scan is not None and tuple(told) != tuple(frames.scan) and not reshape:
        raise InputError(
            "scan_shape",
            f"must be the file's own, {frames.scan[0]},{frames.scan[1]}",
            f"{told[0]},{told[1]}",
            "Leave it out; if the file is wrong, give --reshape with it.",
        )
    return tuple(told)


def _misfit(frames: Frames, shape: tuple[int, int], skipped: int) -> InputError:
    """What doesn't fit between frames and scan, and what may be meant."""
    rows, columns = shape
    count, product = frames.count, rows * columns
    after = f", {skipped} of them skipped" if skipped else ""
    rule = f"must give the file's {count} patterns{after}"
    extra = count - product
    if extra > 0 and extra % rows == 0:
        mend = _flyback(rows, columns, extra // rows)
    elif extra > 0:
        what = "0" if extra == 1 else f"0:{extra}"
        mend = f"If the first {extra} came before the scan, give --skip-frames {what}; if the last, {product}:."
    else:
        full = count // columns
        rest = f" --skip-frames {full * columns}:" if count % columns else ""
        mend = f"If the scan was interrupted, its full lines are --scan-shape {full},{columns}{rest}."
        if full == 0:
            mend = "Correct rows or columns."
    return InputError("scan_shape", rule, shape, mend)


def _flyback(rows: int, columns: int, each: int) -> str:
    """How to leave out frames of flyback, `each` of every line."""
    line = columns + each
    if each > columns:  # longer than the line itself: it is something else
        return "Correct rows or columns."
    if each > MOST_SLICES:
        crop = f"--scan-shape {rows},{line} --scan-crop :,"
        return (
            f"If each line ends with {each} frames of flyback, give {crop}:{columns}; if it begins so, {crop}{each}:."
        )
    first, last = (",".join(f"{start + i}::{line}" for i in range(each)) for start in (0, columns))
    frames, them = ("frame", "it") if each == 1 else ("frames", "them")
    ends = f"If each line ends with {each} {frames} of flyback, give --skip-frames {last}"
    return f"{ends}; if it begins with {them}, --skip-frames {first}."


def _numbers(skip: str | None, count: int) -> np.ndarray:
    """Sorted numbers of frames in "0,5:9,16::17"; the word `bad` is for later."""
    chosen: set[int] = set()
    for part in filter(None, re.split(r"[,\s]+", skip or "")):
        if part == BAD:
            continue
        try:
            values = [int(p) if p else None for p in part.split(":")]
            if len(values) == 1:
                if not -count <= values[0] < count:
                    raise InputError("skip_frames", f"must be frames of the file's {count}", part, "Count from 0.")
                chosen.add(values[0] % count)
            else:
                chosen.update(range(count)[slice(*values)])
        except (ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            mend = "Write numbers or slices, as 0,5:9,16::17, or bad."
            raise InputError("skip_frames", "must be frames of the file", part, mend) from None
    return np.array(sorted(chosen), int)


def _crop(text: str, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """((top, bottom), (left, right)) of "y0:y1,x0:x1"; an empty side is the scan's."""
    mend = "Write rows and columns as y0:y1,x0:x1; an empty number is the scan's own edge."
    parts = text.split(",")
    if len(parts) != 2 or any(p.count(":") != 1 for p in parts):
        raise InputError("scan_crop", "must be two ranges", text, mend)
    ranges = []
    for part, size in zip(parts, shape, strict=True):
        try:
            low, high, _ = slice(*(int(p) if p.strip() else None for p in part.split(":"))).indices(size)
            wanted = part.split(":")[1].strip()
        except ValueError:
            raise InputError("scan_crop", "must be two ranges of whole numbers", text, mend) from None
        if high <= low or (wanted and int(wanted) > size):
            raise InputError("scan_crop", f"must lie in the scan of {shape[0]} x {shape[1]}", text, mend)
        ranges.append((low, high))
    return ranges
