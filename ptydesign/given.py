"""Datasets that a command is given: with a word of what looks wrong in them, and left on the disk if they are large."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ptydesign.errors import InputError

if TYPE_CHECKING:
    from ptydesign.types import Dataset


def read_data(path: Path, chunk_gib: float | None = None, told: list[str] | None = None) -> Dataset:
    """A dataset, with warnings of what looks wrong in it, which `told` gets too; its patterns stay on the disk if they
    are large."""
    from ptydesign import io
    from ptydesign.diagnostics import doubts

    dataset = io.read_dataset(path, mapped=_larger(path, chunk_gib))
    for words in doubts(dataset):
        print(f"warning: {path}: {words}", file=sys.stderr)
        if told is not None:
            told.append(f"warning: {words}")
    return dataset


def read_scans(paths: Sequence[Path], chunk_gib: float | None = None, told: list[str] | None = None) -> Dataset:
    """A dataset, or several of one object as one; told: as `read_data` takes it. Raises InputError as `join_scans`."""
    from ptydesign.reconstruct.scans import join_scans

    for number, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:number]]:
            raise InputError("data", "must not name a file twice", str(path), "Give each scan's own file.")
    return join_scans([read_data(path, chunk_gib, told) for path in paths], [str(path) for path in paths])


def _larger(path: Path, chunk_gib: float | None) -> bool:
    """Whether a dataset's patterns take more than that, or more than half of what memory is free."""
    from ptydesign import io, machine
    from ptydesign.reconstruct import feed

    needed = 4 * math.prod(io.read_dataset_header(path)["shape"])
    return feed.chunk_bytes(chunk_gib, needed, machine.free_bytes()) is not None
