"""What the report of a plan says, from its tables."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ptydesign.planning.card import Card
from ptydesign.planning.cautions import cautions
from ptydesign.planning.instrument import Bench
from ptydesign.planning.sheet import expected, plan_of, settings
from ptydesign.planning.show import MARKS, setting_text
from ptydesign.planning.tables import PlanningTables
from ptydesign.study.page import Cell, Page, Table
from ptydesign.study.quantities import axis_label
from ptydesign.study.tables import failures

HIDDEN = ("reason", "status", "seed", "mse_rad2")
# Columns of the tables -> what the report calls them; others are named by `study.quantities`.
HEADINGS = {
    "design": "Design",
    "ssim": "SSIM",
    "planned": "SSIM as planned",
    "planned_std": "Scatter as planned (SSIM)",
    "robust": "SSIM under errors",
    "robust_std": "Scatter under errors (SSIM)",
    "worst": "Worst draw (SSIM)",
    "least": "Failed below (SSIM)",
    "failed": "Failed",
    "tried": "Draws of errors",
    "unplanned": "Failed without errors",
    "failure_low": "Failure rate, 95 % from",
    "failure_high": "Failure rate, 95 % to",
    "behind": "Behind the best (SSIM)",
    "behind_low": "Behind, 95 % from (SSIM)",
    "behind_high": "Behind, 95 % to (SSIM)",
    "better": "Chance of being better",
    "best": "Best under errors",
    "camera": "Camera",
    "current_pa": "Beam current (pA)",
    "dwell_us": "Dwell time (µs)",
    "index": "Trial",
    "psnr_db": "PSNR (dB)",
    "frc_area": "Area of the ring correlation",
    "information": "Information (bit/Å²)",
    "trials": "Trials",
    "best_ssim": "Best SSIM",
    "rank_correlation_first": "Rank correlation, first points",
    "first": "First points",
    "rank_correlation_all": "Rank correlation, all points",
}


def page(tables: PlanningTables) -> Page:
    """What was asked and found."""
    plan = plan_of(tables)
    bench = Bench(plan)
    trials, robust = tables["trials"], tables["robustness"]
    bad = failures(trials, "search") + failures(robust, "design")
    return Page(
        facts=_facts(tables),
        sentences=[f"{name}: {words}." for name, words in expected(tables)] + cautions(tables, plan),
        found=[*_found(tables, bench), *_cards(tables, bench)],
        failures=bad,
        tried=len(trials) + len(robust),
        warnings=[words for words in tables.recommendation["warnings"] if words not in tables.made["warnings"]],
        links=[("The settings to take along, on one page", "sheet.html"), ("The same as PDF", "sheet.pdf")],
    )


def _facts(tables: PlanningTables) -> list[tuple[str, str]]:
    study = tables.study
    goal, sample = study["goal"], {k: v for k, v in study["sample"].items() if v is not None}
    doses = ", ".join(f"{dose:g}" for dose in goal["doses_e_per_a2"]) + " e/Å², "
    doses += "of which the least that reaches the resolution" if goal.get("minimise") else "the last is the limit"
    y, x = study["simulation"]["field_of_view_a"]
    search, robust = study["search"], study["robustness"]
    return [
        ("Sample", ", ".join(f"{key} {value}" for key, value in sample.items())),
        ("Instrument", f"{study['instrument']['name']}, {study['detector']['name']}"),
        ("Doses", doses),
        ("Resolution wanted", f"{goal['resolution_a']:g} Å"),
        ("Simulated piece", f"{x:g} × {y:g} Å (x × y)"),
        ("Search", f"{search['initial']} first points and {search['points']} proposed ones at each dose"),
        ("Errors", f"{robust['draws']} draws for each of {robust['candidates']} candidates and the rule of thumb"),
        ("Scale", study["scale"]),
    ]


def _found(tables: PlanningTables, bench: Bench) -> Iterable[Table]:
    rows = []
    for row in settings(tables, bench):
        rows.append([row["name"], row["value"], row["tolerance"], Cell(row["note"], look="wrap")])
    header = ("Setting", "Value", "Keeps 95 % of the score", "")
    yield Table("Settings", header, rows, words=(0, 1, 2, 3))
    yield _table("Designs tried under errors", tables["candidates"])
    note = "Rank correlation: of the cheap look by Fisher information with the simulated SSIM (Spearman)."
    yield _table("Searches", tables["summary"], note)
    yield _table("Front of quality, dose and scan time", tables["pareto"])


def _table(title: str, frame: pd.DataFrame, note: str = "") -> Table:
    shown = frame.drop(columns=[name for name in HIDDEN if name in frame])
    rows = [[_text(value) for value in row] for row in shown.itertuples(index=False)]
    return Table(title, [HEADINGS.get(name) or axis_label(name) for name in shown.columns], rows, note)


def _text(value: object) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.4g}"
    return str(value)


def _cards(tables: PlanningTables, bench: Bench) -> Iterable[Table]:
    cards = [Card.of(content) for content in tables.recommendation["cards"]]
    for card in cards[: 1 if cards[0].setting == cards[-1].setting else None]:  # tables of older plans have it twice
        rows = [
            [Cell(MARKS[row.status], look=f"mark {row.status}"), row.name, row.value_text,
             *(Cell(words, look="wrap") for words in (row.limit, row.change, row.formula, row.source))]
            for row in card.rows
        ]  # fmt: skip
        header = ("", "Rule", "Value", "Wanted", "What to change", "Formula", "Source")
        title = f"Feasibility: {card.what} at {card.dose_e_per_a2:g} e/Å²"
        yield Table(title, header, rows, setting_text(card, bench.camera_unit) + ".", words=range(1, 7))
