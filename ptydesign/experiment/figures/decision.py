"""How the winner of each dose was decided: draws of its contenders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ptydesign import drawing
from ptydesign.experiment.tables import ExperimentTables
from ptydesign.study.figures import Figure
from ptydesign.study.quantities import dose_text, number

if TYPE_CHECKING:
    import matplotlib as mpl
    from matplotlib.axes import Axes

_COLUMNS = 3
_FAR = 8  # zones behind the winner: further contenders are shown at the edge
_ROW_IN = 1.75


def _skip(tables: ExperimentTables) -> str | None:
    return None if len(tables["contenders"]) else "no search found a contender"


def _caption(tables: ExperimentTables) -> str:
    config = tables.study["decision"]
    return (
        "How far each contender lies behind the winner in draws with fresh noise: difference of the means with its "
        f"interval of 95 %. Grey: the indifference zone, {number(config['zone'])}. A contender whose bar reaches zero "
        "can't be told from the winner. Triangles: further behind than the axis reaches. Numbers: draws."
    )


def _draw(tables: ExperimentTables) -> mpl.Figure:
    """A panel for each dose."""
    doses = [dose for dose in tables.doses if len(tables.at("contenders", dose))]
    rows = math.ceil(len(doses) / _COLUMNS)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, rows * _ROW_IN)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for index, dose in enumerate(doses):
        _panel(tables, grid[index], dose)
        drawing.panel_letter(grid[index], index)
    for axes in grid[len(doses) :]:
        axes.set_visible(False)
    return figure


def _panel(tables: ExperimentTables, axes: Axes, dose: float) -> None:
    rows, zone = tables.at("contenders", dose), tables.study["decision"]["zone"]
    places = np.arange(len(rows))
    behind = rows["difference"].to_numpy(float)
    reach = np.abs(rows[["low", "high"]].to_numpy(float).T - behind)
    axes.axvspan(-zone, zone, color=drawing.PALE, lw=0, zorder=0)
    axes.axvline(0, color=drawing.GREY, lw=0.8, zorder=1)
    far = np.max(behind[1:], initial=0.0) if zone == 0 else _FAR * zone
    near = np.flatnonzero(behind <= far)
    axes.errorbar(behind[near], places[near], xerr=reach[:, near], fmt="o", color=drawing.BLUE, ms=3.5, lw=1, zorder=3)
    beyond = places[np.nan_to_num(behind) > far]
    axes.plot(np.full(len(beyond), far), beyond, ">", color=drawing.BLUE, mfc="none", ms=4, zorder=3)
    axes.plot([0], [0], "D", color=drawing.VERMILLION, ms=4, zorder=3)
    for place, count in zip(places, rows["n"], strict=True):
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right", "va": "center"}
        axes.annotate(f"{count:.0f}", (1.0, place), (-3, 0), fontsize=6.5, color=drawing.GREY, **at)
    shown = rows.iloc[near]
    ends = [*shown["low"], *shown["high"], -zone, 1.6 * zone, *([far] if len(beyond) else [])]
    ends = [value for value in ends if np.isfinite(value)]
    span = max(ends) - min(ends)
    axes.set_xlim(min(ends) - 0.04 * span, max(ends) + 0.16 * span)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(places, ["winner", *map(str, places[1:] + 1)])
    axes.set_title(dose_text(dose))
    axes.set_xlabel("behind the winner")


FIGURE = Figure("decision", "How the winners were decided", _draw, _caption, _skip)
