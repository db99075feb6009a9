"""Ring correlation and true accuracy against the dose (Cao Supp. Fig. 4)."""

from __future__ import annotations

import numpy as np
from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.study.figures import Figure
from ptydesign.tuning.figures import style
from ptydesign.tuning.tables import METRICS, TuningTables


def _skip(tables: TuningTables) -> str | None:
    table = tables["doses"]
    return "the study has one dose, or no truth" if table is None or table["frc_area"].isna().all() else None


def _caption(tables: TuningTables) -> str:
    dose = tables.study["data"]["dose_e_per_a2"]
    return (
        "a, FRC area of two scans (no truth needed); b, SSIM of the phase against the truth; c, one against the "
        "other, of "
        f"all plans. The plan was found at {dose:g} e/Å². Where the lines of c leave the diagonal trend, the ring "
        "correlation doesn't tell accuracy. After Cao et al. 2022, Supplementary Fig. 4."
    )


def _draw(tables: TuningTables) -> mpl.Figure:
    table = tables["doses"]
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2.5)
    panels = figure.subplots(1, 3)
    for plan in tables.plans:
        rows = table[table["plan"] == plan].sort_values("dose_e_per_a2")
        look = style.plan_look(tables.plans, plan)
        panels[0].plot(rows["dose_e_per_a2"], rows["frc_area"], label=plan, **look)
        panels[1].plot(rows["dose_e_per_a2"], rows["ssim"], label=plan, **look)
        panels[2].plot(rows["frc_area"], rows["ssim"], label=plan, lw=0.6, **look)
    for number, (axes, metric) in enumerate(zip(panels, ("frc_area", "ssim", "ssim"), strict=True)):
        axes.set_ylabel(METRICS[metric])
        drawing.panel_letter(axes, number)
    for axes in panels[:2]:
        axes.set(xscale="log", xlabel="Dose (e/Å²)")
        axes.set_xticks(np.unique(table["dose_e_per_a2"]), [f"{d:g}" for d in np.unique(table["dose_e_per_a2"])])
        axes.tick_params(axis="x", labelrotation=45)
        axes.minorticks_off()
    panels[2].set_xlabel(METRICS["frc_area"])
    panels[0].legend()
    return figure


FIGURE = Figure("doses", "Ring correlation and true accuracy against the dose", _draw, _caption, _skip)
