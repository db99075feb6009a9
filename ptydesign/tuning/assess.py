"""After the search: the plan that it found and its references on other budgets, doses and data; one parameter at a
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptydesign.tuning import scope
from ptydesign.tuning.config import FOUND, TuningConfig
from ptydesign.tuning.data import read_pair
from ptydesign.tuning.scope import Group
from ptydesign.tuning.trial import Runner, Trial


def assess(resolved: Any, group: str, progress: Any = None) -> Path:
    """Evaluate one group of plans and write their records."""
    study, results, asked = resolved.study, resolved.results, scope.find_group(resolved.study, group)
    pair = read_pair(results, asked.repeat, scope.data_name(study, asked.repeat, asked.dose))
    runner = Runner(study, resolved.root, progress)
    records = []
    for row, values in plans_of(study, asked, resolved.read_json(scope.BEST)):
        trial = Trial(study, values, asked.budget, pair)
        result = runner.run(trial, f"{group}/{len(records)}", asked.images)
        records.append({**row, "values": values, **result})
    budget = asked.budget
    content = {"group": group, "budget": budget.value, "unit": budget.unit, "trials": records}
    return resolved.write_json(asked.file, content)


def plans_of(
    study: TuningConfig, group: Group, best: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(what identifies the row, values at paths) of every plan of a group."""
    main = best[scope.main_budget(study).name]["point"]
    if group.kind == "effects":
        for path in study.varied:
            for value in scope.values_of(study.space.root[path]):
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
    if group.kind == "budget" and group.budget != scope.main_budget(study) and own is not None:
        yield {"plan": f"{FOUND}_here"}, dict(own)
    for name, values in study.references.items():
        yield {"plan": name}, dict(values)
