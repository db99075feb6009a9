"""Figures of a study of depth, drawn from its tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ptydesign import drawing
from ptydesign.depth.tables import DepthTables
from ptydesign.study.figures import Figure

WORDS = {
    "semiangle_mrad": "Convergence semi-angle (mrad)",
    "defocus_nm": "Defocus (nm)",
    "step_a": "Scan step (Å)",
    "detector_pixels": "Detector pixels",
    "applied_dose_e_per_a2": "Dose (e/Å²)",
}


def depths(tables: DepthTables) -> mpl.Figure:
    """Reconstructed against true depth; all peaks; profiles of all columns."""
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2.75)
    first, second, third = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    _scatter(figure, first, tables)
    _peaks(second, tables)
    _profiles(figure, third, tables)
    for index, axes in enumerate((first, second, third)):
        drawing.panel_letter(axes, index, dx_pt=-28)
    return figure


def _scatter(figure: mpl.Figure, axes: Axes, tables: DepthTables) -> None:
    rows, summary = tables.base("interstitials"), tables.row()
    faces = tables.images["profiles"]["attrs"]["faces_a"]
    axes.plot(faces, faces, color=drawing.GREY, lw=0.8, zorder=1)
    found = rows[rows["detected"]]
    axes.errorbar(
        found["depth_a"],
        found["found_depth_a"],
        yerr=found["fwhm_a"] / 2,
        fmt="none",
        ecolor="#BBBBBB",
        lw=0.8,
        zorder=2,
    )
    points = axes.scatter(
        found["depth_a"],
        found["found_depth_a"],
        c=found["height_v"],
        cmap="viridis",
        s=22,
        lw=0.4,
        ec="black",
        zorder=3,
    )
    missed = rows[~rows["detected"]]
    # where the fit lies, or on the true depth if there was none
    axes.plot(missed["depth_a"], missed["found_depth_a"].fillna(missed["depth_a"]), "x", color=drawing.VERMILLION)
    if len(found):
        bar = figure.colorbar(points, ax=axes, pad=0.02, fraction=0.06)
        bar.set_label("Height of the peak (V)")
        bar.outline.set_linewidth(0.4)
    axes.set(xlabel="True depth (Å)", ylabel="Reconstructed depth (Å)")
    axes.set_aspect("equal", adjustable="datalim")
    words = f"{int(summary['detected'])} of {int(summary['interstitial_count'])} detected"
    if len(found):
        words += f"\nRMSE {summary['rmse_a']:.1f} Å\nFWHM {summary['fwhm_a']:.1f} Å"
    axes.text(0.04, 0.97, words, transform=axes.transAxes, va="top", fontsize=7)


def _peaks(axes: Axes, tables: DepthTables) -> None:
    """All profiles about the true depth."""
    rows, columns = tables.base("interstitials"), tables.base("columns")
    group = tables.images["profiles"]["arrays"]
    order = np.argsort(rows["depth_a"].to_numpy())
    shades = np.linspace(0.1, 0.9, max(len(rows), 1))
    from matplotlib import colormaps

    for shade, index in zip(shades, order, strict=False):
        row = rows.iloc[index]
        column = _column_of(columns, row)
        if column is None:
            continue
        axes.plot(
            group["depths_a"] - row["depth_a"],
            group["potential_v"][column],
            color=colormaps["cividis"](shade),
            lw=0.8,
        )
    axes.axvline(0, color=drawing.GREY, lw=0.6, zorder=0)
    axes.set(xlim=(-45, 45), xlabel="Depth from the atom (Å)", ylabel="Potential within 0.2 Å (V)")
    radius = tables.study["measure"]["radius_a"]
    axes.set_ylabel(f"Potential within {radius:g} Å (V)")


def _profiles(figure: mpl.Figure, axes: Axes, tables: DepthTables) -> None:
    """Profiles of the interstitials' columns by depth, then of the empty ones."""
    rows, columns = tables.base("interstitials"), tables.base("columns")
    group = tables.images["profiles"]["arrays"]
    depth, values = group["depths_a"], group["potential_v"]
    ordered = rows.sort_values("depth_a")
    full = [(c, row["depth_a"]) for _, row in ordered.iterrows() if (c := _column_of(columns, row)) is not None]
    empty = [i for i in range(len(columns)) if i not in {c for c, _ in full}]
    shown = [c for c, _ in full] + empty
    half = (depth[1] - depth[0]) / 2
    picture = axes.imshow(
        values[shown].T,
        cmap="cividis",
        aspect="auto",
        origin="upper",
        extent=(-0.5, len(shown) - 0.5, depth[-1] + half, depth[0] - half),
        interpolation="nearest",
    )
    axes.plot(range(len(full)), [d for _, d in full], "o", mfc="none", mec=drawing.VERMILLION, ms=4, mew=0.8)
    if empty:
        axes.axvline(len(full) - 0.5, color="white", lw=0.8)
    axes.set(xlabel="Column of sites", ylabel="Depth (Å)")
    bar = figure.colorbar(picture, ax=axes, pad=0.02, fraction=0.06)
    bar.set_label("Potential (V)")
    bar.outline.set_linewidth(0.4)


def _column_of(columns, row) -> int | None:
    away = np.hypot(columns["y_a"] - row["y_a"], columns["x_a"] - row["x_a"]).to_numpy()
    return int(np.argmin(away)) if len(away) and away.min() < 0.1 else None


def phase(tables: DepthTables) -> mpl.Figure:
    """Summed phase of the truth and of the reconstruction, with the interstitials."""
    group = tables.images["phase"]
    attrs = group["attrs"]
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN * 0.8, 2.7)
    panels = figure.subplots(1, 2)
    rows, columns = tables.base("interstitials"), tables.base("columns")
    extent = None
    for index, (axes, name) in enumerate(zip(panels, ("truth", "reconstruction"), strict=True)):
        image = group["arrays"][name]
        prefix = "truth_" if name == "truth" else ""
        pixel = attrs[f"{prefix}pixel_a"]
        top, left = (s - p / 2 for s, p in zip(attrs[f"{prefix}start_a"], pixel, strict=True))  # edges of pixels
        extent = (left, left + image.shape[1] * pixel[1], top + image.shape[0] * pixel[0], top)
        low, high = np.percentile(image, (1, 99.5))
        picture = axes.imshow(image, cmap="gray", extent=extent, vmin=low, vmax=high)
        axes.set_title("truth" if name == "truth" else "reconstruction (sum of slices)")
        drawing.bare(axes)
        bar = figure.colorbar(picture, ax=axes, pad=0.02, fraction=0.05)
        bar.set_label("Phase (rad)")
        bar.outline.set_linewidth(0.4)
        colour = [drawing.ORANGE if found else drawing.VERMILLION for found in rows["detected"]]
        axes.scatter(rows["x_a"], rows["y_a"], s=26, facecolors="none", edgecolors=colour, lw=0.9)
        wrong = columns[columns["found"] & ~columns["true"]]
        if name == "reconstruction":
            axes.plot(wrong["x_a"], wrong["y_a"], "x", color=drawing.OKABE_ITO[5], ms=4)
        axes.set(xlim=extent[:2], ylim=extent[2:])
        wide = extent[1] - extent[0]
        length = drawing.nice_length(0.34 * wide)
        at = extent[2] + 0.03 * (extent[2] - extent[3])
        axes.plot([extent[0], extent[0] + length], [at, at], color="black", lw=2, clip_on=False, solid_capstyle="butt")
        axes.text(extent[0] + length + 0.02 * wide, at, f"{length:g} Å", va="center", ha="left", clip_on=False)
        drawing.panel_letter(axes, index, dx_pt=-12, dy_pt=2)
    return figure


def resolution(tables: DepthTables) -> mpl.Figure:
    """FWHM and RMSE of the depth against what the variants vary alone."""
    keys = _resolved_keys(tables)
    figure = drawing.new_figure(min(drawing.TWO_COLUMNS_IN, 2.6 * len(keys) + 0.6), 2.5)
    panels = np.atleast_1d(figure.subplots(1, len(keys)))
    for index, (axes, key) in enumerate(zip(panels, keys, strict=True)):
        rows = tables.varied_alone(key)
        some = rows[rows["detected"] > 0]
        axes.errorbar(
            some[key], some["fwhm_a"], yerr=some["fwhm_sd_a"].fillna(0), fmt="o-", color=drawing.BLUE, label="mean FWHM"
        )
        axes.plot(some[key], some["rmse_a"], "s--", color=drawing.VERMILLION, label="RMSE of depth")
        axes.plot(some[key], some["spread_a"], "^:", color=drawing.GREEN, label="without mean error")
        top = axes.get_ylim()[1]
        for _, row in rows.iterrows():
            words = f"{int(row['detected'])}/{int(row['interstitial_count'])}"
            axes.annotate(
                words, (row[key], 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=6.5
            )
        axes.set(ylim=(0, top * 1.05), xlabel=WORDS.get(key, key), ylabel="Length in depth (Å)")
        if key == "applied_dose_e_per_a2":
            axes.set_xscale("log")
        axes.margins(x=0.12)
        if index == 0:
            axes.legend(loc="best")
        drawing.panel_letter(axes, index, dx_pt=-28, dy_pt=9)
    return figure


def thickness(tables: DepthTables) -> mpl.Figure:
    """Misfit against the assumed thickness and against the number of slices."""
    kinds = _assumed(tables)
    figure = drawing.new_figure(2.9 * len(kinds) + 0.4, 2.7)
    panels = np.atleast_1d(figure.subplots(1, len(kinds)))
    for index, (axes, kind) in enumerate(zip(panels, kinds, strict=True)):
        column = {"thickness": "thickness_a", "slices": "slices"}[kind]
        rows = tables.guesses(kind).sort_values(column)
        axes.plot(rows[column], rows["misfit_held_out"], "o-", color=drawing.BLUE, label="patterns held out")
        axes.plot(rows[column], rows["misfit_seen"], "s--", color=drawing.ORANGE, label="patterns seen", ms=3.5)
        if kind == "thickness":
            true = float(rows["true_thickness_a"].iloc[0])
            axes.axvline(true, color=drawing.GREY, lw=0.8, zorder=0)
            axes.text(true, 1.01, "true", transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=6.5)
        axes.set_title(held_words(tables, kind), pad=14)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=kind == "slices"))
        words = {"thickness": "Assumed thickness (Å)", "slices": "Number of slices"}[kind]
        axes.set(xlabel=words, ylabel="Misfit per electron" if index == 0 else "")
        if index == 0:
            axes.legend(loc="best")
        drawing.panel_letter(axes, index, dx_pt=-30, dy_pt=8)
    return figure


def held_words(tables: DepthTables, kind: str) -> str:
    """What stays the same along a curve of misfit, and what follows. kind: `thickness` or `slices`, which varies."""
    rows = tables["thickness"][tables["thickness"]["varied"] == kind]
    slices, thick = (_range(rows[name], form) for name, form in (("slices", "{:.0f}"), ("slice_a", "{:.1f}")))
    if kind == "slices":
        return f"thickness held at the true {rows['true_thickness_a'].iloc[0]:.1f} Å\n(slices of {thick} Å)"
    if tables.hold == "slices":
        return f"number of slices held: {slices}\n(of {thick} Å)"
    return f"slice thickness held: {thick} Å\n({slices} slices)"


def _range(values: pd.Series, form: str) -> str:
    ends = dict.fromkeys(form.format(value) for value in (values.min(), values.max()))
    return " to ".join(ends)


def _resolved_keys(tables: DepthTables) -> list[str]:
    """What some variants vary alone, with interstitials that were detected."""
    keys = tables.varied_keys()
    return [key for key in keys if len(rows := tables.varied_alone(key)) > 1 and rows["detected"].any()]


def _assumed(tables: DepthTables) -> list[str]:
    """Assumptions of which more than one value gave a misfit."""
    return [kind for kind in ("thickness", "slices") if len(tables.guesses(kind)) > 1]


def _no_base(tables: DepthTables) -> str | None:
    return None if tables.row()["status"] == "ok" else "the reconstruction of the base experiment failed"


def _no_phase(tables: DepthTables) -> str | None:
    return None if "phase" in tables.images else "the reconstruction of the base experiment failed"


def _no_variants(tables: DepthTables) -> str | None:
    return None if _resolved_keys(tables) else "no two experiments that differ in one number found an interstitial"


def _no_guesses(tables: DepthTables) -> str | None:
    if tables["thickness"].empty:
        return "the study assumes no other thickness or number of slices"
    return None if _assumed(tables) else "no two assumptions of a kind gave a misfit"


def _depths_caption(tables: DepthTables) -> str:
    radius = tables.study["measure"]["radius_a"]
    return (
        "(a) Depth of the Gaussian fitted to each interstitial against its true depth; colour: height of the peak; "
        "bars: FWHM; grey: equality, between the crystal's faces; crosses: not detected, at the fitted depth. "
        f"(b) Potential within {radius:g} Å of each interstitial's column against depth from the atom, "
        "dark to light with depth. "
        "(c) The same for all columns looked at: by depth those with an interstitial (circles), then the others."
    )


def _resolution_caption(tables: DepthTables) -> str:
    return (
        "Mean FWHM (bars: standard deviation over the interstitials), RMSE of depth and RMSE without the mean error. "
        "Above: interstitials detected. All with the same plan of reconstruction."
    )


def _thickness_caption(tables: DepthTables) -> str:
    held = "the number of slices" if tables.hold == "slices" else "the thickness of a slice"
    return (
        "Misfit (negative log-likelihood per electron) of patterns that the reconstruction did not see, and of those "
        f"that it saw, against the thickness that it assumed ({held} is held), and against the number of slices at the "
        "true one. Above: what is held, and what follows."
    )


def _phase_caption(tables: DepthTables) -> str:
    return (
        "Projected phase of the truth (average over thermal motion) and of the reconstruction. Circles: interstitials "
        "(orange: detected); crosses: false positives. Grey values run from the 1st to the 99.5th percentile."
    )


FIGURES = (
    Figure("depths", "Depth of the interstitials", depths, _depths_caption, _no_base),
    Figure("resolution", "Depth resolution against the experiment", resolution, _resolution_caption, _no_variants),
    Figure("thickness", "Thickness and number of slices", thickness, _thickness_caption, _no_guesses),
    Figure("phase", "Projection", phase, _phase_caption, _no_phase),
)
