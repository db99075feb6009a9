"""Reconstructions of two independent halves of a measurement, and their Fourier ring correlation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ptydesign.api import reconstruct_dataset
from ptydesign.errors import InputError, nearest
from ptydesign.reconstruct.batches import neighbours_in_order
from ptydesign.reconstruct.plan import Plan
from ptydesign.score.halves import HalvesAgreement, compare_halves
from ptydesign.types import Dataset, Reconstruction


def split_positions(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Neighbouring positions go to different halves. Each half has its full counts, but half the overlap."""
    order = neighbours_in_order(dataset.positions_a)
    coin = np.random.default_rng([seed, 0x68616C66]).integers(0, 2, len(order) // 2)
    pairs = order[: 2 * len(coin)].reshape(-1, 2)
    rows = np.arange(len(coin))
    chosen = np.sort(pairs[rows, coin]), np.sort(np.concatenate([pairs[rows, 1 - coin], order[2 * len(coin) :]]))
    return tuple(  # type: ignore[return-value]
        replace(
            dataset,
            patterns=dataset.patterns[part],
            positions_a=dataset.positions_a[part],
            provenance={**dataset.provenance, "half": {"by": "positions", "seed": seed, "number": number}},
        )
        for number, part in enumerate(chosen)
    )


def split_counts(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Each count goes to one of the halves, at random. Independent only if the counts are those of single particles
    (Poisson). Each half has the full overlap, but half the dose. Raises InputError for counts that are not whole."""
    whole = np.rint(dataset.patterns)
    if not np.allclose(dataset.patterns, whole, atol=1e-3):
        raise InputError("split", "by counts needs whole counts", "fractions", "Split by positions.")
    rng = np.random.default_rng([seed, 0x68616C66])
    first = rng.binomial(whole.astype(np.int64), 0.5)
    return tuple(  # type: ignore[return-value]
        replace(
            dataset,
            patterns=patterns.astype(dataset.patterns.dtype),
            background=None if dataset.background is None else dataset.background / 2,
            electrons_per_pattern=None if dataset.electrons_per_pattern is None else dataset.electrons_per_pattern / 2,
            provenance={**dataset.provenance, "half": {"by": "counts", "seed": seed, "number": number}},
        )
        for number, patterns in enumerate((first, whole - first))
    )


SPLITS: dict[str, Callable[[Dataset, int], tuple[Dataset, Dataset]]] = {
    "positions": split_positions,
    "counts": split_counts,
}


def reconstruct_halves(
    dataset: Dataset, plan: Plan, split: str = "positions", seed: int = 0, progress: bool = True
) -> tuple[Reconstruction, Reconstruction, HalvesAgreement]:
    """Reconstruct both halves with one plan and compare them.

    split: positions or counts. The halves share the first guess of the probe and nominal positions, whose errors
    correlate them: the FRC is an upper bound of what the data support. Raises InputError for an unknown split.
    """
    if split not in SPLITS:
        raise InputError("split", "must be known", split, nearest(split, SPLITS))
    first, second = (
        reconstruct_dataset(half, plan, seed + number, progress)
        for number, half in enumerate(SPLITS[split](dataset, seed))
    )
    room = 3 * max(dataset.grid.pixel_a)  # corrected positions may drift apart
    return first, second, compare_halves(first.state, second.state, max_shift_a=room)
