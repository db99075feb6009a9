"""Best value of each parameter against dose, with its tolerance (Cao et al. 2022, Fig. 6)."""

from __future__ import annotations

import math

import numpy as np
from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ptydesign import drawing
from ptydesign.experiment.figures.style import dose_axis
from ptydesign.experiment.tables import ExperimentTables
from ptydesign.experiment.words import label as setting_label
from ptydesign.study.figures import Figure
from ptydesign.study.quantities import count_text, dose_number, number

_ROW_IN, _LEGEND_IN = 1.75, 0.75


def _skip(tables: ExperimentTables) -> str | None:
    """Needs at least one recommended setting."""
    if tables["recommended"]["best"].notna().any():
        return None
    return "no setting is recommended at any dose: all trials failed"


def _caption(tables: ExperimentTables) -> str:
    """What is shown, and which doses lack."""
    missing = [dose for dose in tables.doses if not _found(tables, dose)]
    gap = f" No design was found at {', '.join(map(dose_number, missing))} e/Å² (all trials failed)." if missing else ""
    counts = [tables.fitted(dose) for dose in tables.doses if dose not in missing]
    return (
        "Best value of each parameter against dose. Dots: best point found. Bars: range of that one parameter in which "
        "the objective stays within 5 % of the best, according to the search's surrogate model, which was fitted to "
        f"{count_text(counts)} scored trials at each dose. Grey: range searched. "
        f"Dashed: {tables.reference} setting.{gap}{tables.after('Fig. 6')}"
    )


def _draw(tables: ExperimentTables) -> mpl.Figure:
    """Two panels in a row at 7 inch; one parameter alone at 3.4 inch."""
    names = tables.parameters
    columns = 2 if len(names) > 1 else 1
    rows = math.ceil(len(names) / columns)
    width = drawing.TWO_COLUMNS_IN if columns == 2 else drawing.ONE_COLUMN_IN
    legend = _LEGEND_IN if columns == 2 else 1.0
    figure = drawing.new_figure(width, rows * _ROW_IN + legend)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for index, name in enumerate(names):
        lowest = index + columns >= len(names)
        _panel(tables, grid[index], name, width / columns - 0.7, label=lowest)
        drawing.panel_letter(grid[index], index, dx_pt=-30)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    figure.legend(handles=_handles(tables), loc="outside upper center", ncols=4 if columns == 2 else 2)
    return figure


def _found(tables: ExperimentTables, dose: float) -> bool:
    return any(tables.recommendation(dose, name) is not None for name in tables.parameters)


def _panel(tables: ExperimentTables, axes: Axes, name: str, width_in: float, label: bool) -> None:
    doses = tables.doses
    rows = {dose: tables.recommendation(dose, name) for dose in doses}
    found = {dose: row for dose, row in rows.items() if row is not None}
    axes.set_ylabel(setting_label(name))
    if not found:
        drawing.empty_panel(axes, "no value was found")
        return
    low = min(row["searched_low"] for row in found.values())
    high = max(row["searched_high"] for row in found.values())
    log = tables.log_scale(name) and low > 0
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.axhspan(low, high, color=drawing.PALE, lw=0, zorder=0)
    reference = tables.reference_point.get(name)
    if reference is not None:
        # above the line of best values, which it may coincide with and leaves visible in its gaps
        axes.axhline(reference, color=drawing.VERMILLION, ls=(0, (4, 2)), lw=1, zorder=3.5)
    for dose, row in found.items():
        if np.isfinite(row["low"]) and np.isfinite(row["high"]):
            bar = {"color": drawing.BLUE, "alpha": 0.35, "lw": 6, "solid_capstyle": "butt", "zorder": 2}
            axes.plot([dose, dose], [row["low"], row["high"]], **bar)
    axes.plot(list(found), [row["best"] for row in found.values()], "o-", color=drawing.BLUE, lw=0.9, zorder=3)
    shown = [low, high] if reference is None or (log and reference <= 0) else [low, high, reference]
    axes.set_ylim(*_padded(min(shown), max(shown), log))
    dose_axis(axes, doses, width_in, label)
    if not label:
        axes.tick_params(labelbottom=False)
    for dose in doses:
        if dose not in found:
            words = {
                "rotation": 90,
                "ha": "center",
                "va": "center",
                "color": drawing.GREY,
                "fontsize": 6.5,
                "zorder": 4,
            }
            words["bbox"] = {"facecolor": drawing.PALE, "edgecolor": "none", "pad": 1.0}
            axes.text(dose, 0.5, "all trials failed", transform=axes.get_xaxis_transform(), **words)


def _padded(low: float, high: float, log: bool) -> tuple[float, float]:
    if log:
        factor = max((high / low) ** 0.06, 1.02)
        return low / factor, high * factor
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - pad, high + pad


def _handles(tables: ExperimentTables) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=drawing.BLUE, marker="o", lw=0.9, label="best"),
        Patch(facecolor=drawing.BLUE, alpha=0.35, label="within 5 % of the best"),
        Patch(facecolor=drawing.PALE, label="searched"),
    ]
    if any(name in tables.reference_point for name in tables.parameters):
        line = Line2D([], [], color=drawing.VERMILLION, ls=(0, (4, 2)), lw=1, label=tables.reference)
        handles.append(line)
    return handles


FIGURE = Figure("settings", "Recommended settings", _draw, _caption, _skip)
