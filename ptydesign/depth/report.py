"""The report of a study of depth, made from its tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ptydesign.depth.figures import FIGURES, WORDS, held_words
from ptydesign.depth.tables import Tables, read_tables
from ptydesign.thick.page import Table, defect_words, experiment_words, fixed, write_page

PAPER_RMSE_A, PAPER_FWHM_A = 1.1, 18.8  # Gilgenbach, Zhu & LeBeau (2025), Fig. 8


def write_report(results: Path) -> Path:
    """Write report.html; returns its path."""
    tables = read_tables(Path(results))
    captions = _captions(tables)
    pictures = {name: (title, captions[name]) for name, (title, _) in FIGURES.items()}
    return write_page(tables.folder, tables.plan, _facts(tables), sentences(tables), _tables(tables), pictures)


def _facts(tables: Tables) -> list[tuple[str, str]]:
    plan = tables.plan
    header, sample = plan["resolved"], plan["sample"]
    y, x, z = header["supercell_a"]
    thermal = plan["potential"]["thermal"]
    return [
        (
            "Sample",
            f"{sample['file']} along {sample['zone_axis']}, {x:.1f} × {y:.1f} × {z:.1f} Å (x × y × z); "
            + defect_words(plan),
        ),
        ("Thermal motion", "none" if not thermal else thermal["kind"].replace("_", " ")),
        ("Experiment", experiment_words(plan)),
        (
            "Reconstruction",
            f"{plan['slices']} slices of {z / plan['slices']:.2f} Å; data from {header['potential_shape'][0]} slices",
        ),
        ("Scale", plan["scale"]),
    ]


def sentences(tables: Tables) -> list[str]:
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
        rows = tables.thickness[(tables.thickness["varied"] == kind) & tables.thickness["misfit_held_out"].notna()]
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


def _of_paper(tables: Tables) -> bool:
    """Whether the sample is of the paper's kind."""
    interstitials = [d for d in tables.plan["sample"]["defects"] if d["kind"] == "interstitial"]
    return {(d["element"], d["host"]) for d in interstitials} == {("Sn", "Si")}


def _tables(tables: Tables) -> list[Table]:
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
        for _, r in tables.summary.iterrows()
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
    measure = tables.plan["measure"]
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


def _captions(tables: Tables) -> dict[str, str]:
    radius = tables.plan["measure"]["radius_a"]
    return {
        "depths": (
            "(a) Depth of the Gaussian fitted to each interstitial against its true depth; colour: height of the peak; "
            "bars: FWHM; grey: equality, between the crystal's faces; crosses: not detected, at the fitted depth. "
            f"(b) Potential within {radius:g} Å of each interstitial's column against depth from the atom, "
            "dark to light with depth. "
            "(c) The same for all columns looked at: by depth those with an interstitial (circles), then the others."
        ),
        "resolution": (
            "Mean FWHM (bars: standard deviation over the interstitials), RMSE of depth and RMSE "
            "without the mean error. "
            "Above: interstitials detected. All with the same plan of reconstruction."
        ),
        "thickness": (
            "Misfit (negative log-likelihood per electron) of patterns that the reconstruction did not see, and of "
            "those that it saw, against the thickness that it assumed "
            f"({'the number of slices' if tables.hold == 'slices' else 'the thickness of a slice'} is held), "
            "and against the number of slices at the true one. Above: what is held, and what follows."
        ),
        "phase": (
            "Projected phase of the truth (average over thermal motion) and of the reconstruction. Circles: "
            "interstitials (orange: detected); crosses: false positives. "
            "Grey values run from the 1st to the 99.5th percentile."
        ),
    }


def _whole(value: Any) -> str:
    return "–" if value is None or pd.isna(value) else str(int(value))
