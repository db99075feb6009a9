"""From records to tidy tables of a tuning study, one row for each record. Under a work budget no clock enters a
table.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ptydesign import io
from ptydesign.study.rounds import best_so_far
from ptydesign.study.store import PointStore
from ptydesign.study.tables import write_tables
from ptydesign.tuning import scope
from ptydesign.tuning.config import OBJECTIVES, TuningConfig
from ptydesign.tuning.search import read_trials
from ptydesign.tuning.trial import objective_value

SCORES = (
    "frc_area", "resolution_a", "heldout_misfit", "ssim", "psnr_db", "mse_rad2", "frc_area_truth", "contrast",
)  # fmt: skip
# Table -> kind of the groups that it is made of.
ASSESSED = {
    "budgets": "budget",
    "validation": "validation",
    "doses": "dose",
    "effects": "effects",
    "example": "example",
}
# Columns of these, where nothing was assessed: no plan was found, and the study has no references.
ROW = [
    "unit", "budget", "dose_e_per_a2", "repeat", "plan", "parameter", "value", "chosen", "status", "reason",
    "objective", *SCORES, "sweeps", "work_gflop",
]  # fmt: skip
FRONT = ("frc_area", "heldout_misfit")  # the two sides of the Pareto front


def collect(resolved: Any) -> list[Path]:
    """Write tables/ from the records of a finished study; returns the paths."""
    study, results = resolved.study, resolved.results
    trials = pd.DataFrame(_trial_rows(study, results))
    groups = {name: resolved.read_json(group.file) for name, group in scope.groups(study).items()}
    convergence = pd.DataFrame(_convergence_rows(trials))
    frames = {
        "trials": trials,
        "convergence": convergence,
        "summary": _summary(convergence),
        "chosen": _table(_chosen_rows(study, trials), ["parameter", "value"]),
        "pareto": _pareto(study, trials),
        "saved": _table(_saved_rows(trials), ["unit", "budget", "asked", "computed", "diverged"]),
    }
    asked = scope.tables(study)
    frames |= {name: _assessed(study, groups, kind) for name, kind in ASSESSED.items() if name in asked}
    return write_tables(results, {name: frames[name] for name in asked}, _images(resolved, groups), digits=None)


def _table(rows: Iterable[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """The rows; these columns alone if there are none: a space without choices, budgets of seconds, no plan found."""
    rows = list(rows)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def score_columns(study: TuningConfig, record: dict[str, Any]) -> dict[str, Any]:
    """Status and scores of a record, in the order of the tables; empty where there is none."""
    scores = record.get("scores") or {}
    known = SCORES if study.truth_known else SCORES[:3]
    seconds = {"seconds": sum(record["seconds"])} if record.get("seconds") else {}
    return {
        "status": record["status"],
        "reason": record["reason"],
        "objective": objective_value(study, record),
        **{name: scores.get(name) for name in known},
        "sweeps": min(record["sweeps"], default=None),
        "work_gflop": float(f"{sum(record['work_gflop']):.6g}"),
        **seconds,
    }


def _trial_rows(study: TuningConfig, results: Path) -> Iterable[dict[str, Any]]:
    for search in scope.searches(study).values():
        for record in read_trials(results, search):
            yield {
                "method": search.method,
                "unit": search.budget.unit,
                "budget": search.budget.value,
                "repeat": search.repeat,
                "index": record["index"],
                "main": search.main,
                **record["point"],
                **score_columns(study, record),
                "key": record["key"],
            }


def _convergence_rows(trials: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Best objective after so many trials, of every search."""
    keys = ["method", "unit", "budget", "repeat", "main"]
    for values, group in trials.groupby(keys, sort=True):
        found = [None if pd.isna(v) else float(v) for v in group.sort_values("index")["objective"]]
        for number, best in enumerate(best_so_far(found), start=1):
            yield {**dict(zip(keys, values, strict=True)), "trials": number, "best_objective": best}


def _summary(convergence: pd.DataFrame) -> pd.DataFrame:
    """Mean, spread (sample standard deviation) and range of the best objective over the repeats of a search."""
    grouped = convergence.groupby(["method", "unit", "budget", "main", "trials"], sort=True)["best_objective"]
    frame = grouped.agg(n="count", mean="mean", std="std", lowest="min", highest="max").reset_index()
    return frame


def _chosen_rows(study: TuningConfig, trials: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Part of the trials in which a method chose a value, over all main searches; and after the first points, which
    nobody chose; and in the best plan of each repeat."""
    main = trials[trials["main"]]
    for path, dimension in study.space.root.items():
        if dimension.choices is None:
            continue
        for value in dimension.values:
            row: dict[str, Any] = {"parameter": path, "value": value}
            for method in dict.fromkeys(main["method"]):
                own = main[main["method"] == method]
                later = own[own["index"] >= study.search.initial]
                scored = own[own["objective"].notna()].astype({"objective": float})
                best = scored.loc[scored.groupby("repeat")["objective"].idxmax()]
                for word, rows in (("", own), ("later_", later), ("best_", best)):
                    row[f"{word}{method}"] = float((rows[path] == value).mean()) if len(rows) else None
            yield row


def _assessed(study: TuningConfig, groups: dict[str, Any], kind: str) -> pd.DataFrame:
    """Rows of all groups of a kind; the doses and fresh data begin with what the main budget's group says."""
    known = scope.groups(study)
    main = scope.main_budget(study)
    rows = []
    for name, group in known.items():
        same = group.kind == kind or (
            group.kind == "budget" and group.budget == main and kind in ("dose", "validation")
        )
        if not same:
            continue
        for record in groups[name]["trials"]:
            row: dict[str, Any] = {"unit": group.budget.unit, "budget": group.budget.value}
            if kind == "dose":
                row["dose_e_per_a2"] = group.dose or study.data.dose_e_per_a2
            if kind == "validation":
                row["repeat"] = group.repeat
            for column in ("plan", "parameter", "value", "chosen"):
                if column in record:
                    row[column] = record[column]
            rows.append({**row, **score_columns(study, record)})
    return _table(rows, ROW)


def _pareto(study: TuningConfig, trials: pd.DataFrame) -> pd.DataFrame:
    """All different plans that were tried at the main budget, and whether no other is better in both respects."""
    main = scope.main_budget(study)
    same = trials[(trials["budget"] == main.value) & (trials["unit"] == main.unit) & (trials["status"] == "ok")]
    same = same.drop_duplicates("key").reset_index(drop=True)
    table = same[list(FRONT)].to_numpy(float) * [OBJECTIVES[name] for name in FRONT]
    front = []
    for row in table:
        better = ((table >= row).all(axis=1) & (table > row).any(axis=1)).any()
        front.append(not better)
    known = [c for c in SCORES if c in same]
    return pd.concat([pd.Series(front, name="front", dtype=bool), same[[*study.space.root, *known]]], axis=1)


def _saved_rows(trials: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """What ending diverging trials early, and computing a plan once, saved at each budget under work."""
    for (unit, budget), group in trials[trials["unit"] == scope.WORK].groupby(["unit", "budget"], sort=True):
        different = group.drop_duplicates("key")
        ended = different[different["status"] == "diverged"]
        yield {
            "unit": unit,
            "budget": budget,
            "asked": len(group),
            "computed": len(different),
            "diverged": len(ended),
            "failed": int((different["status"] == "failed").sum()),
            "saved_by_ending_gflop": float(f"{2 * budget * len(ended) - ended['work_gflop'].sum():.6g}"),
            "spent_gflop": float(f"{different['work_gflop'].sum():.6g}"),
        }


def _images(resolved: Any, groups: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Pictures of the plans that figures show, with what their rows say."""
    study, store = resolved.study, PointStore(resolved.root)
    found: dict[str, dict[str, Any]] = {}
    for name, group in scope.groups(study).items():
        if not group.images:
            continue
        for number, record in enumerate(groups[name]["trials"]):
            if record["status"] != "ok":
                continue
            item = store.images(record["key"])
            units = {"q": "1/angstrom", "frc": "1", "one_bit": "1"}
            axes = {"q": "ring", "frc": "ring", "one_bit": "ring"}
            arrays = {
                key: io.Array(values, units.get(key, "rad"), axes.get(key, "y,x"))
                for key, values in item["arrays"].items()
            }
            row = {c: record[c] for c in ("plan", "parameter", "value", "chosen") if c in record}
            attrs = {
                **item["attrs"], **row, "group": group.kind, "budget": group.budget.value, "unit": group.budget.unit,
            }  # fmt: skip
            attrs |= {"dose_e_per_a2": group.dose} if group.dose is not None else {}
            attrs |= {key: value for key, value in record["scores"].items() if value is not None}
            found[f"{name}-{number}"] = {"arrays": arrays, "attrs": attrs}
    return found
