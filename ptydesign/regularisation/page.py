"""What the report of a study of regularisation says, from its tables."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from ptydesign.regularisation.figures import WORDS
from ptydesign.regularisation.tables import RegularisationTables
from ptydesign.study.page import Page, Table
from ptydesign.study.quantities import fixed
from ptydesign.study.tables import BAD, failures
from ptydesign.thick.words import defect_words, experiment_words

LEAST_DIP = 0.05  # of the phase between two columns that are resolved


def page(tables: RegularisationTables) -> Page:
    """What was asked and found."""
    summary, trials = tables["summary"], tables["trials"]
    trials = trials.assign(where=[f"tuning of {plan}" for plan in trials["plan"]])
    bad = failures(_with_unscored(summary), "item") + failures(_with_unscored(trials), "where")
    return Page(_facts(tables), sentences(tables), _tables(tables), failures=bad, tried=len(summary) + len(trials))


def _with_unscored(frame: pd.DataFrame) -> pd.DataFrame:
    """Reconstructions, of which those that ended but have no score count as failed."""
    unscored = frame["rmse_slices_rad"].isna() & ~frame["status"].isin(BAD)
    return frame.assign(status=frame["status"].mask(unscored, "failed"))


def _facts(tables: RegularisationTables) -> list[tuple[str, str]]:
    study, header = tables.study, tables.made
    sample = study["sample"]
    y, x, z = header["supercell_a"]
    return [
        ("Sample", f"{sample['file']} along {sample['zone_axis']}, {x:.1f} × {y:.1f} × {z:.1f} Å (x × y × z)"),
        ("Defects", defect_words(study) or "none"),
        ("Experiment", experiment_words(study)),
        ("Plans", ", ".join(item["name"] for item in study["plans"])),
        ("Slices", f"{study['slices']} of {z / study['slices']:.2f} Å; data from {header['potential_shape'][0]}"),
        ("Scale", study["scale"]),
    ]


def sentences(tables: RegularisationTables) -> list[str]:
    """What came out, in words."""
    found = []
    for factor in tables.factors:
        rows = [(value, tables["summary"][tables["summary"]["item"] == item].iloc[0]) for value, item, _ in
                tables.series(factor)]  # fmt: skip
        good = [(value, row) for value, row in rows if pd.notna(row["rmse_slices_rad"])]
        if good:
            value, row = min(good, key=lambda pair: pair[1]["rmse_slices_rad"])
            words = WORDS.get(factor, factor.replace("_", " "))
            worst = max(r["rmse_slices_rad"] for _, r in good)
            found.append(
                f"{words[0].upper()}{words[1:]}: the error after the last sweep is least at {value:g} "
                f"({row['rmse_slices_rad']:.4g} rad; up to {worst:.4g} rad at the others)."
            )
    plans = tables.plans
    if len(plans) > 1:
        ordered = plans.dropna(subset=["rmse_slices_rad"]).sort_values("rmse_slices_rad")
        errors = ", ".join(f"{r['item']} {r['rmse_slices_rad']:.4g} rad" for _, r in ordered.iterrows())
        found.append(f"Error of the slices after the last sweep: {errors}.")
        lost = plans[plans["status"] == "diverged"]["item"].tolist()
        if lost:
            found.append(f"Diverged: {', '.join(lost)}.")
    for _, row in plans.iterrows():
        if pd.notna(row["dumbbell_a"]) and row["dumbbell_dip"] < LEAST_DIP:
            found.append(
                f"{row['item']}: dumbbells aren't resolved (the phase between their columns dips by less than "
                f"{LEAST_DIP:.0%})."
            )
        elif pd.notna(row["dumbbell_a"]):
            count = int(row["dumbbell_count"])
            found.append(
                f"{row['item']}: {count} dumbbell{'s' * (count != 1)} of {row['dumbbell_a']:.3f} Å"
                + (f" ± {row['dumbbell_sd_a']:.3f} Å" if pd.notna(row["dumbbell_sd_a"]) else "")
                + f" (atoms: {row['dumbbell_true_a']:.3f} Å; the same fit to the truth: "
                f"{fixed(row['dumbbell_truth_fit_a'], 3)} Å), the phase between them dips by {row['dumbbell_dip']:.0%}."
            )
    return found


def _tables(tables: RegularisationTables) -> list[Table]:
    header = ("Plan", "Sweeps", "Slices", "Thickness (Å)", "Error of slices (rad)", "Least (rad, sweep)",
              "Error of projection (rad)", "Contrast", "Dumbbells (Å)", "Tuned")  # fmt: skip
    rows = [
        (
            str(r["item"]),
            str(int(r["sweeps"])),
            str(int(r["slices"])),
            f"{r['thickness_a']:.1f}",
            fixed(r["rmse_slices_rad"], 4),
            f"{fixed(r['best_slices_rad'], 4)} ({'–' if pd.isna(r['best_sweep']) else int(r['best_sweep'])})",
            fixed(r["rmse_projected_rad"], 4),
            fixed(r["contrast"], 3),
            fixed(r["dumbbell_a"], 3),
            _values(r["tuned"]),
        )
        for _, r in tables.plans.iterrows()
    ]
    found = [Table("Plans", header, rows)]
    varied = [
        (
            f"{WORDS.get(factor, factor)} = {value:g}" + (" (plan)" if own else ""),
            fixed(r["rmse_slices_rad"], 4),
            f"{fixed(r['best_slices_rad'], 4)} ({'–' if pd.isna(r['best_sweep']) else int(r['best_sweep'])})",
            fixed(r["rmse_projected_rad"], 4),
            fixed(r["loss"], 6),
            str(r["status"]).replace("_", " "),
        )
        for factor in tables.factors
        for value, item, own in tables.series(factor)
        for _, r in tables["summary"][tables["summary"]["item"] == item].iterrows()
    ]
    if varied:
        heads = ("Setting", "Error of slices (rad)", "Least (rad, sweep)", "Error of projection (rad)", "Loss", "Ended")
        found.append(Table("One setting at a time", heads, varied))
    return found


def _values(text: Any) -> str:
    if not isinstance(text, str) or not text:
        return "no"
    return ", ".join(f"{path} {value:.3g}" for path, value in json.loads(text).items())
