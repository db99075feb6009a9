"""What the ring correlation rewards: one setting varied, with ring correlation, held-out misfit and true accuracy."""

from __future__ import annotations

import numpy as np
from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.reconstruct.paths import label
from ptydesign.study.figures import Figure
from ptydesign.tuning.figures import style
from ptydesign.tuning.tables import METRICS, TuningTables


def _skip(tables: TuningTables) -> str | None:
    table = tables["example"]
    return "the study has no example" if table is None or table["frc_area"].notna().sum() < 2 else None


def _caption(tables: TuningTables) -> str:
    path = tables.study["example"]["path"]
    metrics = "ring correlation, held-out misfit" + (", SSIM against the truth" if tables.truth else "")
    return (
        f"The plan with {path} varied: {metrics}, and phases at three of its values. Stars: the best value by "
        "each. Where the "
        "ring correlation is best far from where the others are, it rewards what both scans share: too much smoothing."
    )


def _draw(tables: TuningTables) -> mpl.Figure:
    table = tables["example"]
    metrics = ["frc_area", "heldout_misfit", *(["ssim"] if tables.truth else [])]
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 4.2)
    top, low = figure.subfigures(2, 1)
    values = list(dict.fromkeys(table["value"]))
    for number, (axes, metric) in enumerate(zip(top.subplots(1, len(metrics)), metrics, strict=True)):
        heights = table.set_index("value")[metric].reindex(values).to_numpy(float)
        axes.plot(range(len(values)), heights, "o-", color=drawing.BLUE)
        best = int(np.nanargmin(heights) if metric == "heldout_misfit" else np.nanargmax(heights))
        axes.plot(best, heights[best], "*", ms=11, color=drawing.VERMILLION)
        axes.set_xticks(range(len(values)), [f"{float(v):g}" if v.replace(".", "").isdigit() else v for v in values])
        axes.set(xlabel=label(tables.study["example"]["path"]), ylabel=METRICS[metric])
        drawing.panel_letter(axes, number)
    groups = tables.pictures(group="example")
    some = [groups[0], groups[len(groups) // 2], groups[-1]] if len(groups) > 2 else groups
    panels = low.subplots(1, len(some) + tables.truth)
    limits = style.phase_limits(some)
    if tables.truth:
        style.phase(panels[0], some[0], limits, "truth")
        panels[0].set_title("truth")
    for axes, group in zip(panels[int(tables.truth) :], some, strict=True):
        style.phase(axes, group, limits)
        attrs = group["attrs"]
        axes.set_title(f"{attrs['value']}: FRC {attrs['frc_area']:.3f}, misfit {attrs['heldout_misfit']:.3f}")
    return figure


FIGURE = Figure(
    "example",
    "Over-smoothing: what the ring correlation rewards and the held-out misfit catches",
    _draw,
    _caption,
    _skip,
)
