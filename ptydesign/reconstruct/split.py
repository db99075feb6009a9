"""Two independent halves of a dataset: by positions, or by counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.reconstruct.batches import neighbours_in_order
from ptydesign.types import Dataset

BLOCK = 256  # patterns handled at a time


def split_positions(dataset: Dataset, seed: int, folder: Path | None = None) -> tuple[Dataset, Dataset]:
    """Neighbouring positions go to different halves. Each half has its full counts, but half the overlap.

    folder: where the halves of patterns that are mapped from a file lie, in temporary files."""
    order = neighbours_in_order(dataset.positions_a)
    coin = np.random.default_rng([seed, 0x68616C66]).integers(0, 2, len(order) // 2)
    pairs = order[: 2 * len(coin)].reshape(-1, 2)
    rows = np.arange(len(coin))
    chosen = np.sort(pairs[rows, coin]), np.sort(np.concatenate([pairs[rows, 1 - coin], order[2 * len(coin) :]]))
    halves = []
    for number, part in enumerate(chosen):
        patterns = _room(dataset.patterns, len(part), folder)
        for start in range(0, len(part), BLOCK):
            patterns[start : start + BLOCK] = dataset.patterns[part[start : start + BLOCK]]
        provenance = {**dataset.provenance, "half": {"by": "positions", "seed": seed, "number": number}}
        where = dataset.positions_a[part]
        halves.append(replace(dataset, patterns=patterns, positions_a=where, provenance=provenance))
    return halves[0], halves[1]


def split_counts(dataset: Dataset, seed: int, folder: Path | None = None) -> tuple[Dataset, Dataset]:
    """Each count goes to one of the halves, at random. Independent only if the counts are those of single particles
    (Poisson). Each half has the full overlap, but half the dose. Raises InputError for counts that are not whole.

    folder: as for `split_positions`."""
    rng = np.random.default_rng([seed, 0x68616C66])
    halves = [_room(dataset.patterns, len(dataset.patterns), folder) for _ in range(2)]
    for start in range(0, len(dataset.patterns), BLOCK):
        block = dataset.patterns[start : start + BLOCK]
        whole = np.rint(block)
        if not np.allclose(block, whole, atol=1e-3):
            raise InputError("split", "by counts needs whole counts", "fractions", "Split by positions.")
        first = rng.binomial(whole.astype(np.int64), 0.5)
        halves[0][start : start + BLOCK], halves[1][start : start + BLOCK] = first, whole - first
    return tuple(  # type: ignore[return-value]
        replace(
            dataset,
            patterns=patterns,
            background=None if dataset.background is None else dataset.background / 2,
            electrons_per_pattern=None if dataset.electrons_per_pattern is None else dataset.electrons_per_pattern / 2,
            provenance={**dataset.provenance, "half": {"by": "counts", "seed": seed, "number": number}},
        )
        for number, patterns in enumerate(halves)
    )


def _room(patterns: np.ndarray, count: int, folder: Path | None) -> np.ndarray:
    """Where a half's patterns go: into memory, or to the disk if that is where all of them are."""
    shape = (count, *patterns.shape[1:])
    if isinstance(patterns, np.memmap):
        return io.temporary_array(shape, patterns.dtype, folder)
    return np.empty(shape, patterns.dtype)


SPLITS: dict[str, Callable[..., tuple[Dataset, Dataset]]] = {
    "positions": split_positions,
    "counts": split_counts,
}
