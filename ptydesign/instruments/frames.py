"""Patterns in the order in which a file holds them, read in parts: a measurement may be larger than memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.errors import InputError


@dataclass(frozen=True)
class Frames:
    """Frames (ky, kx) of a file, as the instrument wrote them.

    read: function of (start, stop) that gives (stop - start, ky, kx). scan: (rows, columns) if the file says so.
    good: (ky, kx) the file's own mask, True where a pixel is good, or None. record: what the file says of itself, for
    the provenance. offered: {field of Calibration: value} that the file's metadata suggest.
    """

    read: Callable[[int, int], np.ndarray]
    count: int
    pixels: tuple[int, int]
    dtype: np.dtype
    scan: tuple[int, int] | None = None
    good: np.ndarray | None = None
    record: dict[str, Any] = field(default_factory=dict)
    offered: dict[str, Any] = field(default_factory=dict)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame in the file's own type."""
        return math.prod(self.pixels) * self.dtype.itemsize

    def with_words(self, record: dict[str, Any], offered: dict[str, Any] | None = None) -> Frames:
        """A copy with more to its record and its offers."""
        return replace(self, record=self.record | record, offered=self.offered | (offered or {}))

    def blocks(self, indices: np.ndarray, block_bytes: float) -> Iterator[tuple[slice, np.ndarray]]:
        """(part of `indices`, its frames (n, ky, kx)) for frames in this order, at most so many bytes at a time, in
        the file's type and once more in single precision."""
        step = max(1, int(block_bytes // (self.frame_bytes + 4 * math.prod(self.pixels))))
        for start in range(0, len(indices), step):
            part = slice(start, min(start + step, len(indices)))
            yield part, self.take(indices[part])

    def take(self, indices: np.ndarray) -> np.ndarray:
        """(n, ky, kx) frames of these numbers; neighbours in the file are read at once."""
        indices = np.asarray(indices)
        runs = np.split(np.arange(len(indices)), np.flatnonzero(np.diff(indices) != 1) + 1)
        if len(runs) == 1 and len(indices):
            return self.read(int(indices[0]), int(indices[-1]) + 1)
        taken = np.empty((len(indices), *self.pixels), self.dtype)
        for run in runs:
            if len(run):
                taken[run] = self.read(int(indices[run[0]]), int(indices[run[-1]]) + 1)
        return taken


def of_array(array: Any, name: str, scan_last: bool = False) -> Frames:
    """Frames of an array-like (scan y, scan x, ky, kx) or (position, ky, kx): NumPy, dask, h5py, zarr.

    scan_last: (ky, kx, scan y, scan x) or (ky, kx, position). name: of the file, for what is refused: another number of
    axes, an empty array, numbers that are not real.
    """
    shape = tuple(int(n) for n in array.shape)
    if len(shape) not in (3, 4) or 0 in shape or np.dtype(array.dtype).kind not in "uif":
        raise InputError(
            name,
            "must hold real patterns (scan y, scan x, ky, kx) or (position, ky, kx)",
            (shape, str(array.dtype)),
            "Give another array.",
        )
    outer = shape[2:] if scan_last else shape[:-2]
    pixels = shape[:2] if scan_last else shape[-2:]
    columns = outer[-1] if len(outer) == 2 else 1

    def part(*where: slice | int) -> np.ndarray:
        if not scan_last:
            return np.asarray(array[where])
        taken = np.asarray(array[(slice(None), slice(None), *where)])
        return np.moveaxis(taken, (0, 1), (-2, -1))

    def read(start: int, stop: int) -> np.ndarray:
        if len(outer) == 1:
            return part(slice(start, stop))
        first, last = start // columns, -(-stop // columns)
        if last - first == 1:  # within a row of the scan
            return part(first, slice(start - first * columns, stop - first * columns))
        rows = part(slice(first, last))
        return rows.reshape(-1, *pixels)[start - first * columns : stop - first * columns]

    scan = outer if len(outer) == 2 else None
    return Frames(read, math.prod(outer), pixels, np.dtype(array.dtype), scan)


def of_binary(
    path: Path,
    dtype: np.dtype,
    pixels: tuple[int, int],
    count: int,
    offset: int = 0,
    stride: int | None = None,
    scan: tuple[int, int] | None = None,
) -> Frames:
    """Frames that lie one after the other in a file, read without mapping it.

    offset: bytes before the first. stride: bytes from one frame's first pixel to the next one's.
    """
    size = math.prod(pixels) * dtype.itemsize
    stride = size if stride is None else stride

    def read(start: int, stop: int) -> np.ndarray:
        number = stop - start
        with path.open("rb") as file:
            file.seek(offset + start * stride)
            content = file.read((number - 1) * stride + size)
        if len(content) < (number - 1) * stride + size:
            raise InputError(str(path), "must hold all frames that it promises", f"it ends in frame {stop - 1}", "")
        if stride == size:
            return np.frombuffer(content, dtype).reshape(number, *pixels)
        rows = np.lib.stride_tricks.as_strided(
            np.frombuffer(content, np.uint8), (number, size), (stride, 1), writeable=False
        )
        return np.ascontiguousarray(rows).view(dtype).reshape(number, *pixels)

    return Frames(read, count, pixels, dtype, scan)
