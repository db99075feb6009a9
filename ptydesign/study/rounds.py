"""Searches in rounds."""

from __future__ import annotations

from collections.abc import Sequence


def best_so_far(values: Sequence[float | None]) -> list[float | None]:
    """The greatest value up to each trial; None until one succeeds."""
    best: float | None = None
    result = []
    for value in values:
        if value is not None and (best is None or value > best):
            best = value
        result.append(best)
    return result
