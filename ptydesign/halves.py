"""Reconstructions of two independent halves of a measurement, and their Fourier ring correlation."""

from __future__ import annotations

from pathlib import Path

from ptydesign.api import reconstruct_dataset
from ptydesign.errors import InputError, nearest
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.split import SPLITS
from ptydesign.score.halves import HalvesAgreement, compare_halves
from ptydesign.types import Dataset, Reconstruction


def reconstruct_halves(
    dataset: Dataset,
    plan: Plan,
    split: str = "positions",
    seed: int = 0,
    progress: bool = True,
    chunk_gib: float | None = None,
    folder: Path | None = None,
) -> tuple[Reconstruction, Reconstruction, HalvesAgreement]:
    """Reconstruct both halves with one plan and compare them.

    split: positions or counts. The halves share the first guess of the probe and nominal positions, whose errors
    correlate them: the FRC is an upper bound of what the data support. chunk_gib: as for `reconstruct_dataset`.
    folder: for halves of patterns that are mapped from a file. Raises InputError for an unknown split.
    """
    if split not in SPLITS:
        raise InputError("split", "must be known", split, nearest(split, SPLITS))
    first, second = (
        reconstruct_dataset(half, plan, seed + number, progress, chunk_gib=chunk_gib)
        for number, half in enumerate(SPLITS[split](dataset, seed, folder))
    )
    room = 3 * max(dataset.grid.pixel_a)  # corrected positions may drift apart
    return first, second, compare_halves(first.state, second.state, max_shift_a=room)
