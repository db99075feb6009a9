"""Raw binaries: frames one after the other, in a layout that the user gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ptydesign.errors import InputError, nearest
from ptydesign.instruments.frames import Frames, of_binary

FIELDS = ("dtype", "pixels", "offset", "gap", "footer")
EXAMPLE = "Write it as dtype=uint16,pixels=256x256,offset=0,gap=0, or use empad or empad-g2."


@dataclass(frozen=True)
class Layout:
    """How a raw binary is arranged. pixels: (ky, kx). offset: bytes before the first frame. gap: bytes between one
    frame and the next. footer: bytes after the last one."""

    dtype: np.dtype
    pixels: tuple[int, int]
    offset: int = 0
    gap: int = 0
    footer: int = 0


NAMED = {
    # 128 x 128 pixels, and two rows that hold no pixels
    "empad": Layout(np.dtype("<f4"), (128, 128), gap=2 * 128 * 4),
    # as the program of EMPAD-G2 writes combined data; its uncombined 32-bit words need the detector's own gains
    "empad-g2": Layout(np.dtype("<f4"), (128, 128)),
}


def layout_of(text: str) -> Layout:
    """The layout that a user wrote: a name, or dtype=...,pixels=... . Raises InputError for another text."""
    if text in NAMED:
        return NAMED[text]
    given = {}
    for part in filter(None, re.split(r"[,;\s]+", text)):
        name, equals, value = part.partition("=")
        if not equals or name not in FIELDS:
            raise InputError("raw", "must be a name, or fields with values", part, nearest(name, (*FIELDS, *NAMED)))
        given[name] = value
    try:
        sizes = [int(n) for n in given["pixels"].split("x")]
        pixels = (sizes[0], sizes[-1])
        numbers = {name: int(given[name]) for name in ("offset", "gap", "footer") if name in given}
        layout = Layout(np.dtype(given["dtype"]), pixels, **numbers)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError("raw", "needs dtype and pixels, and whole numbers of bytes", str(error), EXAMPLE) from None
    if len(sizes) > 2 or min(*pixels, *(n + 1 for n in numbers.values())) < 1 or layout.dtype.kind not in "uif":
        raise InputError("raw", "must have positive pixels, real numbers, and no negative bytes", text, EXAMPLE)
    return layout


def read(path: Path, layout: Layout) -> Frames:
    """Frames of a file in this layout. Raises InputError unless it holds a whole number of them."""
    size = int(np.prod(layout.pixels)) * layout.dtype.itemsize
    room = path.stat().st_size - layout.offset - layout.footer
    stride = size + layout.gap
    count, rest = divmod(room, stride)
    if layout.gap and rest == size:  # no gap after the last frame
        count, rest = count + 1, 0
    if rest or count < 1:
        raise InputError(
            str(path),
            f"must hold whole frames of {size} + {layout.gap} bytes",
            f"{room} bytes, {room / stride:.3f} frames",
            "Correct dtype, pixels, offset, gap or footer of --raw.",
        )
    record = {"reader": "raw", "layout": {name: str(getattr(layout, name)) for name in FIELDS}}
    return of_binary(path, layout.dtype, layout.pixels, count, layout.offset, stride).with_words(record)
