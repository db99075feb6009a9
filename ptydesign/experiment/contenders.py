"""What the searches of the other doses know of a dose.

The best design changes little from dose to dose, and one search of a few dozen points may miss it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import Dimension, Point, Space
from ptydesign.design.surrogate import surrogate
from ptydesign.experiment.scope import SHARED

DOSE = "dose_e_per_a2"  # as a parameter of a model of all doses

Tried = Mapping[float, Sequence[Observation]]  # trials of each dose's search


def of_others(found: Mapping[float, Sequence[Point]], own: float, shared: Point | None) -> list[Point]:
    """What is known of the dose `own` elsewhere: the optimum of all doses' trials, and the SHARED best of each other
    dose's search, those of near doses first."""
    near = sorted((dose for dose in found if dose != own), key=lambda dose: abs(math.log(dose / own)))
    return [*([] if shared is None else [shared]), *(point for dose in near for point in found[dose][:SHARED])]


def shared_optimum(space: Space, config: SearchConfig, tried: Tried, own: float, seed: int) -> Point | None:
    """The best point at the dose `own` by one model of the trials of all doses, whose optimum moves smoothly with the
    dose. Scores rise with the dose by themselves, so those of each dose are standardised. None without enough trials.
    """
    seen = [one for dose, observations in tried.items() for one in _standardised(observations, dose)]
    if not any(one.point[DOSE] == own for one in seen):
        return None

    def allowed(point: Point) -> bool:
        return space.allowed({name: point[name] for name in space.names})

    ends = Dimension(low=min(tried), high=max(tried), scale="log")
    both = Space((*space.names, DOSE), (*space.dimensions, ends), allowed if space.allowed else None)
    best = surrogate(both, config, seen, seed).best_at(DOSE, own)
    return None if best is None else {name: best[name] for name in space.names}


def _standardised(observations: Sequence[Observation], dose: float) -> list[Observation]:
    """Of one dose, which becomes a parameter; none if all values are the same."""
    values = np.array([one.value for one in observations if not one.failed])
    if len(values) == 0 or np.ptp(values) == 0:
        return []
    mean, scale = float(values.mean()), float(values.std())
    return [
        Observation({**one.point, DOSE: dose}, None if one.failed else (one.value - mean) / scale, one.reason)
        for one in observations
    ]
