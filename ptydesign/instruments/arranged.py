"""Patterns as a dataset has them, made from a file's frames when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ptydesign.instruments import arrange
from ptydesign.instruments.arrange import Box
from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.estimate.pixels import filled
from ptydesign.instruments.frames import Frames
from ptydesign.instruments.survey import Counting


@dataclass(frozen=True)
class Turning:
    """From the detector's orientation to the turned one, zero frequency in the middle."""

    corner: bool
    transpose: bool
    flip_ky: bool
    flip_kx: bool

    @classmethod
    def of(cls, c: Calibration) -> Turning:
        """As a calibration says."""
        return cls(c.corner, c.transpose, c.flip_ky, c.flip_kx)

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """(..., ky, kx) turned."""
        array = arrange.from_corner(array) if self.corner else array
        return arrange.turned(array, self.transpose, self.flip_ky, self.flip_kx)

    def vectors(self, shifts: np.ndarray) -> np.ndarray:
        """(n, 2) shifts (ky, kx) in the detector's orientation, turned."""
        shifts = shifts[:, ::-1] if self.transpose else shifts
        return shifts * [-1 if self.flip_ky else 1, -1 if self.flip_kx else 1]


@dataclass(frozen=True)
class Arranged:
    """Array-like (position, ky, kx) float32, zero frequency at (0, 0); a slice of it reads its frames.

    numbers: (n,) the frames' in the file. good: (ky, kx) bool, in the detector's orientation; the others are 0. fill:
    (ky, kx) bool, pixels that get the mean of their neighbours. shift_px: (n, 2) whole pixels by which each pattern's
    beam is off, in turned patterns, or None. block_bytes: read at once.
    """

    frames: Frames
    numbers: np.ndarray
    counting: Counting
    good: np.ndarray
    fill: np.ndarray
    turning: Turning
    box: Box
    shift_px: np.ndarray | None
    block_bytes: float
    dtype: np.dtype = field(default=np.dtype(np.float32))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(position, ky, kx)."""
        return (len(self.numbers), *self.box.shape)

    @property
    def ndim(self) -> int:
        """3."""
        return 3

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all patterns."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, where: Any) -> np.ndarray:
        outer, *inner = where if isinstance(where, tuple) else (where,)
        chosen = np.arange(len(self))[outer]
        patterns = np.empty((np.size(chosen), *self.box.shape), np.float32)
        for part, block in self._blocks(np.atleast_1d(chosen)):
            patterns[part] = block
        patterns = patterns if np.ndim(chosen) else patterns[0]
        inner = tuple(inner) if np.ndim(chosen) == 0 else (slice(None), *inner)
        return patterns[inner]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def _blocks(self, chosen: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for part, frames in self.frames.blocks(self.numbers[chosen], self.block_bytes):
            counts = self.counting(frames)
            lost = ~np.isfinite(counts) if counts.dtype.kind == "f" and self.frames.dtype.kind == "f" else None
            if lost is not None and lost.any():
                lost &= self.good
                counts = filled(np.where(np.isfinite(counts), counts, 0), lost | self.fill)
            elif self.fill.any():
                counts = filled(counts, self.fill)
            counts = self.turning(counts * self.good)
            if self.shift_px is None:
                yield part, arrange.to_corner(arrange.cut(counts, self.box))
                continue
            result = np.empty((len(counts), *self.box.shape), np.float32)
            for index, (pattern, shift) in enumerate(zip(counts, self.shift_px[chosen[part]], strict=True)):
                start = tuple(int(s + d) for s, d in zip(self.box.start, shift, strict=True))
                result[index] = arrange.to_corner(arrange.cut(pattern, Box(start, self.box.shape, self.box.bin)))
            yield part, result
