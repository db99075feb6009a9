"""Scans of one toy object, each with its own defocus, dose, positions and shift, in plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import toy

SHIFT_A = np.array([0.2, -0.15])  # of a second scan, whose files don't know it


def scan(canvas_seed=0, shift_a=(0.0, 0.0), told_a=(0.0, 0.0), **settings):
    """(Dataset, transmission) of one scan: positions are told without the shift that the sample really had."""

    def phases(canvas):
        return np.stack([toy.smooth_phase(canvas, settings.get("pixel_a", 0.3), np.random.default_rng(canvas_seed))])

    dataset, transmission = toy.experiment(phases=phases, shift_a=shift_a, **settings)
    return replace(dataset, positions_a=dataset.positions_a - np.asarray(shift_a) + told_a), transmission


def pair(first=None, second=None, **common):
    """([dataset, dataset], transmission) of two scans at different random positions."""
    one, transmission = scan(**{**common, "seed": 1, **(first or {})})
    two, _ = scan(**{**common, "seed": 2, **(second or {})})
    return [one, two], transmission
