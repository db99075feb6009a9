"""Scores over a grid of two parameters at one dose (Cao et al. 2022, Supp. Fig. 3)."""

from __future__ import annotations

import math

import numpy as np
from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from ptydesign import drawing
from ptydesign.experiment.tables import ExperimentTables
from ptydesign.experiment.words import label, setting
from ptydesign.study.figures import Figure
from ptydesign.study.quantities import (
    dose_text,
    number,
    score_label,
    ssim_width,
    words_and_unit,
)

_ROW_IN = 2.25
_ROOM = 0.05  # of the axis, about a marker


def _skip(tables: ExperimentTables) -> str | None:
    """Needs a map with at least one good cell."""
    if tables["map"] is None:
        return "the study has no map of two parameters"
    if not (tables["map"]["status"] == "ok").any():
        return "every trial of the map failed"
    return None


def _caption(tables: ExperimentTables) -> str:
    """What is shown, at which dose, and what the other parameters were."""
    frame = tables["map"]
    x, y = tables.map_axes
    others = [
        setting(name, frame[name].iloc[0]).join((f"{words_and_unit(name)[0].lower()} ", ""))
        for name in tables.parameters
        if name not in (x, y) and name in frame.columns and frame[name].nunique() == 1
    ]
    held = f" with {', '.join(others)}" if others else ""
    failed = int((frame["status"] != "ok").sum())
    lost = f" {failed} of {len(frame)} trials failed (hatched)." if failed else ""
    return (
        f"Scores over {words_and_unit(x)[0].lower()} and {words_and_unit(y)[0].lower()} at "
        f"{dose_text(frame['dose_e_per_a2'].iloc[0])}{held}; one trial for each cell. Star: best cell of that panel. "
        f"Triangle: {tables.reference} setting, where its two values lie inside.{lost}"
        f"{tables.after('Supp. Fig. 3')}"
    )


def _draw(tables: ExperimentTables) -> mpl.Figure:
    """One panel for each score that has values, two in a row, 7 inch wide."""
    frame = tables["map"]
    widths = sorted((name for name in frame.columns if ssim_width(name) is not None), key=ssim_width)
    scores = [name for name in [*widths, "psnr_db"] if frame.loc[frame["status"] == "ok", name].notna().any()]
    rows = math.ceil(len(scores) / 2)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, rows * _ROW_IN + 0.35)
    grid = figure.subplots(rows, 2, squeeze=False).ravel()
    inside = False
    for index, score in enumerate(scores):
        inside |= _panel(figure, grid[index], tables, score)
        drawing.panel_letter(grid[index], index, dx_pt=-30, dy_pt=3)
    for axes in grid[len(scores) :]:
        axes.set_visible(False)
    handles = [Line2D([], [], ls="", marker="*", ms=9, color="white", mec="black", mew=0.8, label="best")]
    if inside:
        handles.append(Line2D([], [], ls="", marker="^", ms=6, color="white", mec="black", label=tables.reference))
    if (frame["status"] != "ok").any():
        handles.append(Patch(facecolor=drawing.PALE, hatch="////", edgecolor=drawing.GREY, lw=0, label="failed"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _panel(figure: mpl.Figure, axes: Axes, tables: ExperimentTables, score: str) -> bool:
    """Draw one map. Returns whether the reference lies inside."""
    name_x, name_y = tables.map_axes
    frame = tables["map"]
    table = frame.assign(value=frame[score].where(frame["status"] == "ok"))
    table = table.pivot_table(index=name_y, columns=name_x, values="value", aggfunc="mean", dropna=False)
    xs, ys, values = table.columns.to_numpy(float), table.index.to_numpy(float), table.to_numpy(float)
    log_x, log_y = (tables.log_scale(name) for name in (name_x, name_y))
    edges_x, edges_y = drawing.cell_edges(xs, log_x), drawing.cell_edges(ys, log_y)
    axes.set_facecolor(drawing.PALE)
    if np.isnan(values).any():  # what the mesh leaves open shows the hatching beneath
        axes.fill_between(
            edges_x[[0, -1]], *edges_y[[0, -1]], facecolor=drawing.PALE, hatch="////", ec=drawing.GREY, lw=0
        )
    mesh = axes.pcolormesh(edges_x, edges_y, np.ma.masked_invalid(values), cmap="viridis", rasterized=True)
    for log, axis, setter, centres in (
        (log_x, axes.xaxis, axes.set_xscale, xs),
        (log_y, axes.yaxis, axes.set_yscale, ys),
    ):
        if log:
            setter("log")
        chosen = centres[:: math.ceil(len(centres) / 8)]  # ticks at the values that were tried
        axis.set_ticks(chosen, [number(value) for value in chosen])
        axis.set_minor_locator(NullLocator())
    axes.set(xlim=edges_x[[0, -1]], ylim=edges_y[[0, -1]], xlabel=label(name_x), ylabel=label(name_y))
    for spine in axes.spines.values():
        spine.set_visible(True)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=18)
    bar.set_label(score_label(score))
    bar.outline.set_linewidth(0.4)
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    axes.plot(xs[column], ys[row], "*", ms=9, color="white", mec="black", mew=0.8)
    point = tables.reference_point
    if name_x not in point or name_y not in point:
        return False
    x, y = point[name_x], point[name_y]
    inside = edges_x[0] <= x <= edges_x[-1] and edges_y[0] <= y <= edges_y[-1]
    if inside:
        axes.plot(x, y, "^", ms=6, color="white", mec="black", mew=0.8, clip_on=False, zorder=5)
        axes.set_xlim(*_with_room(edges_x[0], edges_x[-1], x, log_x))
        axes.set_ylim(*_with_room(edges_y[0], edges_y[-1], y, log_y))
    return bool(inside)


def _with_room(low: float, high: float, value: float, log: bool) -> tuple[float, float]:
    """Limits wide enough that a marker at `value` doesn't lie across the border."""
    if log:
        ends = _with_room(math.log(low), math.log(high), math.log(value), log=False)
        return math.exp(ends[0]), math.exp(ends[1])
    room = _ROOM * (high - low)
    return min(low, value - room), max(high, value + room)


FIGURE = Figure("maps", "Parameter maps", _draw, _caption, _skip)
