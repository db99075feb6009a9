"""`goal.minimise: dose`: the least of the plan's doses at which the search's winner reaches the resolution.

Each winner is simulated again with fresh noise, as it is planned, and its resolution is that of the sheet: how far the
correlation with the truth reaches. All that follows (errors, tolerances, limits, the sheet) is for that dose.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.experiment.images import keep_images
from ptydesign.planning import scope
from ptydesign.planning.resolution import is_reached, reached_resolution_a
from ptydesign.planning.resolve import LEAST_DOSE, PlanningResolved
from ptydesign.planning.search import Runners
from ptydesign.planning.space import setting_of
from ptydesign.study.progress import Progress
from ptydesign.study.store import PointStore

MUCH = 1.5  # times as much dose: a ladder that is coarser has an answer between its steps


def choose_dose(resolved: PlanningResolved, progress: Progress | None = None) -> Path:
    """Write dose.json: `dose_e_per_a2`, the largest of the plan if none reaches the resolution; and of each dose that
    was tried, from the smallest on, the `resolution_a` of its winner (median of the repeats; None: none reached)."""
    plan, runners, store = resolved.study, Runners(resolved, progress), PointStore(resolved.root)
    rows: list[dict[str, Any]] = []
    for search in scope.searches(plan).values():
        dose = search.dose_e_per_a2
        point = resolved.read_json(search.best_file)["candidates"][0]
        setting = setting_of(resolved.bench, point)
        name = f"{scope.LEAST}/{search.name}/"
        draws = runners.draws(setting, dose, name, plan.robustness.repeats, keep_images(store))
        found = [_resolution_a(store, one["key"]) if one["status"] == "ok" else None for one in draws]
        median = float(np.median([math.inf if one is None else one for one in found]))
        rows.append({"dose_e_per_a2": dose, "resolution_a": median if math.isfinite(median) else None, "each_a": found})
        if is_reached(rows[-1]["resolution_a"], plan.goal.resolution_a):
            break
    return resolved.write_json(LEAST_DOSE, {"dose_e_per_a2": rows[-1]["dose_e_per_a2"], "tried": rows})


def _resolution_a(store: PointStore, key: str) -> float | None:
    kept = store.images(key)
    return reached_resolution_a(kept["arrays"], tuple(kept["attrs"]["pixel_a"]))


def least_dose_words(content: dict[str, Any], wanted_a: float) -> str:
    """What the sheet says. content: of dose.json."""
    *lower, last = content["tried"]
    if not is_reached(last["resolution_a"], wanted_a):
        return f"{wanted_a:g} Å is reached at none of the doses; this is the largest. {_each(content)}"
    if not lower:
        return f"the plan's smallest dose reaches {wanted_a:g} Å: list smaller ones to find the least. {_each(content)}"
    below = lower[-1]["dose_e_per_a2"]
    between = " (a dose between may do: list some)" if last["dose_e_per_a2"] > MUCH * below else ""
    return f"{wanted_a:g} Å is reached at this dose, not at {below:g} e/Å²{between}. {_each(content)}"


def _each(content: dict[str, Any]) -> str:
    parts = [
        f"{one['dose_e_per_a2']:g} e/Å²: " + ("none" if one["resolution_a"] is None else f"{one['resolution_a']:.2f} Å")
        for one in content["tried"]
    ]
    return f"Resolution at {', '.join(parts)}"
