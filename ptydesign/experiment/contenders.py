"""What the searches of all doses together know of one dose.

The best design changes little from dose to dose, and one search of a few dozen points may miss it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ptydesign.design.propose import not_too_bad
from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import Dimension, Point, Space
from ptydesign.design.surrogate import Surrogate, surrogate
from ptydesign.experiment.scope import SHARED

DOSE = "dose_e_per_a2"  # as a parameter of a model of all doses

Tried = Mapping[float, Sequence[Observation]]  # trials of each dose's search


def of_others(found: Mapping[float, Sequence[Point]], own: float, shared: Point | None) -> list[Point]:
    """What is known of the dose `own` elsewhere: the optimum of all doses' trials, and the SHARED best of each other
    dose's search, those of near doses first."""
    near = sorted((dose for dose in found if dose != own), key=lambda dose: abs(math.log(dose / own)))
    return [*([] if shared is None else [shared]), *(point for dose in near for point in found[dose][:SHARED])]


@dataclass(frozen=True)
class SharedModel:
    """One model of the trials of all doses, whose optimum moves smoothly with the dose, at the dose `own`.

    scale: of the objective at that dose: scores rise with the dose by themselves, so those of each are standardised.
    """

    model: Surrogate
    space: Space
    own: float
    scale: float

    def best(self) -> Point | None:
        """The point of the greatest mean; None if none may be tried."""
        best = self.model.best_at(DOSE, self.own)
        return None if best is None else self._bare(best)

    def challenger(self) -> tuple[Point, float]:
        """As `Surrogate.challenger`."""
        point, gain = self.model.challenger(DOSE, self.own)
        return self._bare(point), self.scale * gain

    @property
    def nu(self) -> float:
        """Smoothness of the model."""
        return self.model.nu

    def _bare(self, point: Point) -> Point:
        return {name: point[name] for name in self.space.names}


def shared_model(
    space: Space, config: SearchConfig, tried: Tried, own: float, seed: int, smoothness: Sequence[float] | None = None
) -> SharedModel | None:
    """Of the trials of all doses; None without enough of the dose `own`. smoothness: as `surrogate` takes it."""
    seen = [one for dose, observations in tried.items() for one in _standardised(observations, dose)]
    if not any(one.point[DOSE] == own for one in seen):
        return None

    def allowed(point: Point) -> bool:
        return space.allowed({name: point[name] for name in space.names})

    ends = Dimension(low=min(tried), high=max(tried), scale="log")
    both = Space((*space.names, DOSE), (*space.dimensions, ends), allowed if space.allowed else None)
    _, scale = _moments(tried[own])
    return SharedModel(surrogate(both, config, seen, seed, smoothness), space, own, scale)


def _standardised(observations: Sequence[Observation], dose: float) -> list[Observation]:
    """Of one dose, which becomes a parameter; none if all values are the same."""
    mean, scale = _moments(observations)
    if scale == 0:
        return []
    good = iter((not_too_bad(_values(observations)) - mean) / scale)
    return [
        Observation({**one.point, DOSE: dose}, None if one.failed else float(next(good)), one.reason)
        for one in observations
    ]


def _moments(observations: Sequence[Observation]) -> tuple[float, float]:
    """Mean and standard deviation of the values, none too bad; zero where they are all the same."""
    values = _values(observations)
    if len(values) == 0 or np.ptp(values) == 0:
        return 0.0, 0.0
    values = not_too_bad(values)
    return float(values.mean()), float(values.std())


def _values(observations: Sequence[Observation]) -> np.ndarray:
    return np.array([one.value for one in observations if not one.failed], float)
