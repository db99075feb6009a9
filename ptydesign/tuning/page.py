"""What the report of a tuning study says, from its tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ptydesign.study.page import Cell, Code, Page, Table
from ptydesign.study.tables import failures
from ptydesign.tuning import findings
from ptydesign.tuning.scope import best_file
from ptydesign.tuning.tables import METRICS, TuningTables

LOOKS = {"yes": "verdict yes", "no": "verdict no"}
SPREAD = (
    "Mean ± one sample standard deviation. A plan beats another if its mean is better by more than √(s₁² + s₂²), the "
    "spread of a difference of two single values."
)


def page(tables: TuningTables) -> Page:
    """What was asked and found."""
    tried = _tried(tables)
    return Page(
        facts=_facts(tables),
        asked=[_space(tables)],
        sentences=findings.sentences(tables),
        found=[*_claims(tables), _plans(tables), *_best(tables)],
        failures=failures(tried, "where"),
        tried=len(tried),
        trials="tables/trials.csv",
    )


def _facts(tables: TuningTables) -> list[tuple[str, str]]:
    study, size = tables.study, tables.combinations
    search, data = study["search"], study["data"]
    what = {
        "simulated": "two scans, simulated",
        "two_files": "two files",
        "file": f"one file, halves by {data.get('split')}",
    }
    facts = [
        ("Data", what[data["kind"]]),
        ("Plans", f"{size:g} combinations" if size else "a space with ranges"),
        ("Maximised", ", ".join(METRICS[m] for m in study["objective"]["metrics"])),
        (
            "Budgets",
            f"{', '.join(f'{b:g}' for b in tables.budgets)} {tables.unit} for each of a trial's two reconstructions",
        ),
        (
            "Searches",
            f"{search['repeats']} of each method, {search['initial']} random plans and {search['points']} "
            "proposed ones",
        ),
        ("Fresh data", f"{study['validation']['repeats']} further pairs of scans"),
        ("Scale", study["scale"]),
    ]
    if tables.truth:
        e = data["experiment"]
        optics = f"{e['voltage_kv']:g} kV, {e['semiangle_mrad']:g} mrad, defocus {e['defocus_nm']:g} nm"
        scan = f"step {e['step_a']:g} Å, {e['detector_pixels']} px, {data['dose_e_per_a2']:g} e/Å²"
        facts.insert(1, ("Experiment", f"{optics}, {scan}"))
    return facts


def _space(tables: TuningTables) -> Table:
    rows = []
    for path, words in tables.labels().items():
        one = tables.study["space"][path]
        values = ", ".join(map(str, one["choices"])) if one.get("choices") else f"{one['low']} to {one['high']}"
        rows.append((Cell(path, code=True), words, Cell(values, look="wrap")))
    grid = tables.study.get("grid")
    header = ("Path in the plan", "Parameter", "Values")
    return Table("Space of plans", header, rows, f"Grid: {grid}." if grid else "", words=range(3))


def _metrics(tables: TuningTables) -> Sequence[str]:
    return ("frc_area", "heldout_misfit", *(findings.TRUE_METRICS if tables.truth else ()))


def _claims(tables: TuningTables) -> list[Table]:
    """What the study is there to show, whether it does, and by which numbers."""
    rows = []
    margin = findings.search_margin(tables)
    if margin is not None:
        claim = "Bayesian optimisation's mean best score is above random search's"
        rows.append(_claim(claim, "yes" if margin.better > 0 else "no", margin.words(4)))
    for reference in tables.study["references"]:
        for metric in ("ssim", "mse_rad2") if tables.truth else ("frc_area",):
            margin = findings.plan_margin(tables, reference, metric)
            if margin is not None:
                verdict = margin.verdict if tables.truth else "yes" if margin.better > 0 else "no"
                claim = f"The plan found beats {reference} in {METRICS[metric]}"
                rows.append(_claim(claim, verdict, margin.words(5 if metric == "mse_rad2" else 3)))
    return [Table("", ("Claim", "Here", "Numbers"), rows, SPREAD, words=range(3))] if rows else []


def _claim(claim: str, verdict: str, numbers: str) -> Sequence[str | Cell]:
    return (Cell(claim, look="wrap"), Cell(verdict, look=LOOKS.get(verdict, "verdict open")), numbers)


def _plans(tables: TuningTables) -> Table:
    """Scores of each plan at the main budget on the searches' data."""
    table, metrics, rows = tables["budgets"], _metrics(tables), []
    table = table[np.isclose(table["budget"], tables.budget)]
    for plan in tables.plans:
        row = table[table["plan"] == plan].iloc[0]
        cells = [f"{row[m]:.4g}" if np.isfinite(row[m]) else str(row["status"]) for m in metrics]
        rows.append((plan, *cells, "–" if pd.isna(row["sweeps"]) else f"{row['sweeps']:.0f}"))
    header = ("Plan", *(METRICS[m] for m in metrics), "Sweeps")
    return Table("Plans at the main budget, on the searches' data", header, rows)


def _best(tables: TuningTables) -> list[Code]:
    path = tables.folder / best_file(tables.main)
    if not path.is_file():
        return []
    return [Code("The plan found, for ptydesign reconstruct", path.read_text(encoding="utf-8"))]


def _tried(tables: TuningTables) -> pd.DataFrame:
    """Different trials of the searches, and what was assessed after them, each once, with its place and outcome."""
    frames = {"searches": tables["trials"].drop_duplicates("key"), "plans at the budgets": tables["budgets"]}
    frames["fresh data"] = _but(tables["validation"], "repeat", 0)  # tables of data and doses begin with the plans
    frames["doses"] = _but(tables["doses"], "dose_e_per_a2", tables.study["data"].get("dose_e_per_a2"))
    frames |= {"one parameter at a time": tables["effects"], "example": tables["example"]}
    rows = [frame[["status", "reason"]].assign(where=w) for w, frame in frames.items() if frame is not None]
    return pd.concat(rows, ignore_index=True)


def _but(frame: pd.DataFrame | None, column: str, value: float) -> pd.DataFrame | None:
    return None if frame is None else frame[frame[column] != value]
