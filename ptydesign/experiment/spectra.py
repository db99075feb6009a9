"""What the re-simulations of a design say by ring of spatial frequency: bias, scatter, signal over noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ptydesign.experiment.images import kept_images
from ptydesign.score.spread import Spread, spread
from ptydesign.study.store import PointStore

RINGS = 24  # at most
COLUMNS = ("q_per_a", "truth_rad", "bias_rad", "scatter_rad", "ssnr")


def by_ring(store: PointStore, records: Sequence[Mapping[str, Any]], qmax_per_a: float) -> Spread | None:
    """Of the images that were kept of some trials, which differ in their noise alone; None if fewer than two have a
    score. Rings are at least as wide as the field's Fourier pixels, so that none is empty."""
    good = [record for record in records if record["status"] == "ok"]
    if len(good) < 2:
        return None
    kept = [kept_images(store, record["key"], ("phase", "truth"), ("pixel_a",)) for record in good]
    images = np.stack([one["arrays"]["phase"].values for one in kept])
    truth, pixel = kept[0]["arrays"]["truth"].values, tuple(kept[0]["attrs"]["pixel_a"])
    shortest_a = min(n * step for n, step in zip(truth.shape, pixel, strict=True))
    return spread(images, truth, pixel, max(2, min(RINGS, int(shortest_a * qmax_per_a))), qmax_per_a)


def rows(found: Spread | None) -> Iterable[dict[str, float]]:
    """A row of a table for each ring. A ring without any noise has no ratio."""
    if found is not None:
        for values in zip(*(getattr(found, name) for name in COLUMNS), strict=True):
            yield {name: float(v) if np.isfinite(v) else None for name, v in zip(COLUMNS, values, strict=True)}
