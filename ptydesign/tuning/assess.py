"""After the search: the plan that it found and its references on other budgets, doses and data; one parameter at a
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptydesign import io
from ptydesign.design.space import Dimension
from ptydesign.errors import InputError, nearest
from ptydesign.study.records import read_json
from ptydesign.tuning import layout
from ptydesign.tuning.config import FOUND, TuningConfig
from ptydesign.tuning.data import read_pair
from ptydesign.tuning.layout import Group
from ptydesign.tuning.trial import Runner, Trial

STEPS_OF_A_RANGE = 5  # values of a parameter with a range, one at a time


def assess(resolved: Any, name: str, progress: Any = None) -> Path:
    """Evaluate one group of plans and write their records."""
    study, results = resolved.study, resolved.results
    known = layout.groups(study)
    if name not in known:
        raise InputError("group", "must be one of the study's groups", name, nearest(name, known))
    group = known[name]
    pair = read_pair(results, group.repeat, layout.data_name(study, group.repeat, group.dose))
    runner = Runner(study, resolved.root, progress)
    records = []
    for row, values in plans_of(study, group, read_json(results / "best.json")):
        trial = Trial(study, values, group.budget, pair)
        result = runner.run(trial, f"{name}/{len(records)}", group.images)
        records.append({**row, "values": values, **result})
    path = results / group.file
    io.write_json(path, {"group": name, "budget": group.budget.value, "unit": group.budget.unit, "trials": records})
    return path


def count(study: TuningConfig, group: Group) -> int:
    """Number of trials of a group."""
    if group.kind == "effects":
        return sum(len(values_of(study.space.root[path])) for path in study.varied)
    if group.kind == "example":
        return len(study.example.values)
    return 1 + len(study.references) + (group.kind == "budget" and group.budget != layout.main_budget(study))


def plans_of(
    study: TuningConfig, group: Group, best: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(what identifies the row, values at paths) of every plan of a group."""
    main = best[layout.main_budget(study).name]["point"]
    if group.kind == "effects":
        for path in study.varied:
            for value in values_of(study.space.root[path]):
                if main is not None:
                    yield {"parameter": path, "value": value, "chosen": value == main[path]}, {**main, path: value}
        return
    if group.kind == "example":
        for value in study.example.values:
            yield {"value": value}, {**(main or {}), **study.example.changes, study.example.path: value}
        return
    if main is not None:
        yield {"plan": FOUND}, dict(main)
    own = best[group.budget.name]["point"] if group.budget.name in best else None
    if group.kind == "budget" and group.budget != layout.main_budget(study) and own is not None:
        yield {"plan": f"{FOUND}_here"}, dict(own)
    for name, values in study.references.items():
        yield {"plan": name}, dict(values)


def values_of(dimension: Dimension) -> list[Any]:
    """Values of a parameter to try one at a time: all choices, or a few of a range."""
    if dimension.choices is not None:
        return list(dimension.values)
    cube = [i / (STEPS_OF_A_RANGE - 1) for i in range(STEPS_OF_A_RANGE)]
    import numpy as np

    return list(dict.fromkeys(dimension.from_features(np.array(cube)[:, None])))
