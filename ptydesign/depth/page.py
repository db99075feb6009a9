"""What the report of a study of depth says, from its tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ptydesign.depth.figures import WORDS, held_words
from ptydesign.depth.tables import DepthTables
from ptydesign.study.page import Page, Table
from ptydesign.study.quantities import fixed
from ptydesign.study.tables import failures
from ptydesign.thick.words import defect_words, experiment_words

PAPER_RMSE_A, PAPER_FWHM_A = 1.1, 18.8  # Gilgenbach, Zhu & LeBeau (2025), Fig. 8


def page(tables: DepthTables) -> Page:
    """What was asked and found."""
    summary, guesses = tables["summary"], _guesses(tables)
    bad = failures(summary, "variant") + failures(guesses, "assumed")
    return Page(_facts(tables), sentences(tables), _tables(tables), failures=bad, tried=len(summary) + len(guesses))


def _guesses(tables: DepthTables) -> pd.DataFrame:
    """Assumptions on the sample, each once: one may be among those of thickness and among those of slices."""
    frame = tables["thickness"].drop_duplicates(["slices", "slice_a"])
    words = [f"{r['slices']} slices of {r['slice_a']:.2f} Å assumed" for _, r in frame.iterrows()]
    return frame.assign(assumed=words)


def _facts(tables: DepthTables) -> list[tuple[str, str]]:
    study, header = tables.study, tables.made
    sample = study["sample"]
    y, x, z = header["supercell_a"]
    thermal = study["potential"]["thermal"]
    return [
        (
            "Sample",
            f"{sample['file']} along {sample['zone_axis']}, {x:.1f} × {y:.1f} × {z:.1f} Å (x × y × z); "
            + defect_words(study),
        ),
        ("Thermal motion", "none" if not thermal else thermal["kind"].replace("_", " ")),
        ("Experiment", experiment_words(study)),
        (
            "Reconstruction",
            f"{study['slices']} slices of {z / study['slices']:.2f} Å; data from {header['potential_shape'][0]} slices",
        ),
        ("Scale", study["scale"]),
    ]


def sentences(tables: DepthTables) -> list[str]:
    """What came out, in words."""
    row = tables.row()
    if row["status"] != "ok":
        return [f"The reconstruction of the base experiment failed: {row['reason']}"]
    placed, scored, wrong = (int(row[name]) for name in ("placed", "interstitial_count", "false_positives"))
    found = [
        f"{int(row['detected'])} of {scored} interstitials were detected, with "
        f"{wrong} false positive{'s' * (wrong != 1)} in {len(tables.base('columns'))} columns looked at."
    ]
    if placed > scored:
        found.append(f"{placed - scored} of {placed} that were placed lie outside the scored field, and don't count.")
    if row["detected"]:
        found.append(
            f"Their depth has an RMSE of {row['rmse_a']:.2f} Å (mean error {row['bias_a']:+.2f} Å, spread "
            f"{row['spread_a']:.2f} Å), their mean FWHM is {row['fwhm_a']:.1f} Å."
        )
        if _of_paper(tables):
            found.append(
                "For comparison, Gilgenbach, Zhu & LeBeau (2025), Fig. 8, Sn in Si along [110], 92.3 × 92.2 × 293.5 Å, "
                f"25 mrad: {PAPER_RMSE_A} Å and {PAPER_FWHM_A} Å."
            )
    for key in tables.varied_keys():
        rows = tables.varied_alone(key)
        some = rows[rows["detected"] > 0]
        if len(some) > 1:
            values = ", ".join(f"{r['fwhm_a']:.1f} Å at {r[key]:.3g}" for _, r in some.iterrows())
            found.append(f"{WORDS.get(key, key)}: mean FWHM {values}.")
    for kind, column, words in (("thickness", "thickness_a", "thickness"), ("slices", "slices", "number of slices")):
        rows = tables.guesses(kind)
        if len(rows) > 1:
            best = rows.loc[rows["misfit_held_out"].idxmin()]
            more = f"; the true one is {best['true_thickness_a']:.1f} Å" if kind == "thickness" else ""
            value = f"{best[column]:.4g}" + (" Å" if kind == "thickness" else "")
            edge = ", an end of the range" if best[column] in (rows[column].min(), rows[column].max()) else ""
            held = " ".join(held_words(tables, kind).split())
            found.append(
                f"The misfit of held-out patterns is least for a {words} of {value} of those tried{edge}{more}; {held}."
            )
    return found


def _of_paper(tables: DepthTables) -> bool:
    """Whether the sample is of the paper's kind."""
    interstitials = [d for d in tables.study["sample"]["defects"] if d["kind"] == "interstitial"]
    return {(d["element"], d["host"]) for d in interstitials} == {("Sn", "Si")}


def _tables(tables: DepthTables) -> list[Table]:
    header = ("Experiment", "Semi-angle (mrad)", "Defocus (nm)", "Dose (e/Å²)", "Detected", "False positives",
              "RMSE (Å)", "Mean error (Å)", "FWHM (Å)", "Projected MSE (rad²)")  # fmt: skip
    rows = [
        (
            str(r["variant"]),
            f"{r['semiangle_mrad']:g}",
            f"{r['defocus_nm']:g}",
            f"{r['applied_dose_e_per_a2']:.3g}",
            f"{_whole(r['detected'])} of {_whole(r['interstitial_count'])}",
            _whole(r["false_positives"]),
            fixed(r["rmse_a"], 2),
            fixed(r["bias_a"], 2),
            f"{fixed(r['fwhm_a'], 1)} ± {fixed(r['fwhm_sd_a'], 1)}",
            fixed(r["mse_rad2"], 4),
        )
        for _, r in tables["summary"].iterrows()
    ]
    each = [
        (
            str(r["element"]),
            f"{r['x_a']:.2f}, {r['y_a']:.2f}",
            f"{r['depth_a']:.1f}",
            fixed(r["found_depth_a"], 1) if r["detected"] else "not detected",
            fixed(r["error_a"], 2),
            fixed(r["fwhm_a"], 1),
            fixed(r["height_v"], 1),
        )
        for _, r in tables.base("interstitials").sort_values("depth_a").iterrows()
    ]
    measure = tables.study["measure"]
    note = (
        f"Detected: a Gaussian in the column's potential whose area is at least {measure['least_area']:g} of one "
        f"atom's and whose FWHM is at most {measure['widest_a']:g} Å, "
        f"within {measure['match_a']:g} Å of the true depth. "
        "RMSE, mean error and FWHM are those of the detected ones; ± is the standard deviation over them."
    )
    return [
        Table("Experiments", header, rows, note),
        Table("Interstitials of the base experiment",
              ("Element", "x, y (Å)", "True depth (Å)", "Found (Å)", "Error (Å)", "FWHM (Å)", "Peak (V)"), each),
    ]  # fmt: skip


def _whole(value: Any) -> str:
    return "–" if value is None or pd.isna(value) else str(int(value))
