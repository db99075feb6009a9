"""Which points may be the best: by a study's own decision once there is one, before that by the surrogate."""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptydesign.design.settings import Observation
from ptydesign.errors import InputError
from ptydesign.study.records import read_record

if TYPE_CHECKING:
    from ptydesign.design.surrogate import Surrogate

MOST = 8  # by the surrogate
DRAWS = 4000  # of the surrogate, for the chance of being best
OUTCOMES = {
    "decided": "It is known which is best.",
    "alike": "No other is better by an amount that matters.",
    "budget": "The draws that it may take ended before it was known.",
    "alone": "There was a single contender.",
}


@dataclass(frozen=True)
class Contender:
    """A point that may be the best. mean: of its draws, or as predicted; std: of a single draw, or of another trial as
    predicted, None where one draw says nothing of it; draws: 0 by the surrogate; chance: of being best; tried: whether
    the search has a trial of it."""

    point: dict[str, Any]
    mean: float
    std: float | None
    draws: int
    chance: float
    tried: bool = True


@dataclass(frozen=True)
class Decision:
    """What a study decided of a search. outcome: in words; contenders: the winner first."""

    outcome: str
    contenders: tuple[Contender, ...]


def decision(results: Path, search: str, noted: Set[str] | None) -> Decision | None:
    """What a study has decided of a search; None before. noted: keys of the trials so far while it runs, by which an
    earlier run's decision is told; None: don't ask."""
    with suppress(InputError, KeyError, TypeError, ValueError, AttributeError):
        content = read_record(results, f"search/{search}/decision.json")
        rows = content["contenders"]
        if noted is not None and not {key for row in rows for key in row["keys"]} <= noted:
            return None
        sure = float(content["probability_best"])
        found = [_drawn(row, sure) for row in rows]
        return Decision(OUTCOMES.get(content["outcome"], ""), tuple(found)) if found else None
    return None


def _drawn(row: dict[str, Any], sure: float) -> Contender:
    """A contender by its draws. What is known of another than the winner is the chance that it is better than it."""
    values = [float(value) for value in row["values"].values()]
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    chance = sure if row["better"] is None else float(row["better"])
    return Contender(dict(row["point"]), float(row["mean"]), std, len(values), chance)


def predicted(model: Surrogate, seen: tuple[Observation, ...]) -> tuple[Contender, ...]:
    """The points from which a decision's contenders come, the likeliest first: the model's optimum, tried or not, and
    tried ones of falling mean that differ."""
    from ptydesign.design.surrogate import apart

    tried = [model.space.validate_point(one.point) for one in seen if not one.failed]
    means, _ = model.predict(tried)
    chosen = [model.best()[0]]
    for place in np.argsort(-means, kind="stable"):
        chosen = apart(model.space, chosen, tried[place], MOST)
    found = [
        Contender(dict(point), float(mean), float(std), 0, float(chance), point in tried)
        for point, mean, std, chance in zip(chosen, *model.contest(chosen, DRAWS), strict=True)
    ]
    return tuple(sorted(found, key=lambda one: -one.chance))
