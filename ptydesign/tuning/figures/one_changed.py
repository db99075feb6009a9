"""The optimum against one parameter changed: phase and ring correlation (Cao Fig. 3)."""

from __future__ import annotations

from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.study.figures import Figure
from ptydesign.tuning.config import FOUND
from ptydesign.tuning.figures import effects, style
from ptydesign.tuning.tables import TuningTables, short


def _shown(tables: TuningTables) -> list[tuple[str, dict]]:
    if effects.FIGURE.skip(tables):
        return []
    found = []
    for row in effects.changed(tables):
        groups = tables.pictures(group="effects", parameter=row["parameter"])
        group = next((g for g in groups if str(g["attrs"]["value"]) == row["value"]), None)
        if group is not None:
            found.append((f"{tables.labels()[row['parameter']]}:\n{short(row['value'])}", group))
    return found


def _skip(tables: TuningTables) -> str | None:
    if not _shown(tables) or tables.picture(group="budget", budget=tables.budget, plan=FOUND) is None:
        return "no parameter was varied one at a time"
    return None


def _caption(tables: TuningTables) -> str:
    return (
        f"First panel: the plan found at {tables.budget:g} {tables.unit}. The others: one parameter changed to "
        "its worst "
        "value, the rest kept. Above, phase of the first scan, one scale; below, ring correlation of the two "
        "scans, that of "
        "the plan found dashed. Numbers are FRC areas. After Cao et al. 2022, Fig. 3."
    )


def _draw(tables: TuningTables) -> mpl.Figure:
    best = tables.picture(group="budget", budget=tables.budget, plan=FOUND)
    shown = [("found", best), *_shown(tables)]
    columns = min(5, len(shown))
    rows = -(-len(shown) // columns)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, rows * (7.0 / columns + 1.15))
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[7.0 / columns, 0.85] * rows)
    limits = style.phase_limits([best])
    for number, (name, group) in enumerate(shown):
        row, column = divmod(number, columns)
        top, low = grid[2 * row, column], grid[2 * row + 1, column]
        style.phase(top, group, limits)
        top.set_title(name)
        style.ring_correlation(low, best, tables.q_max, color=drawing.GREY, ls=(0, (3, 1.5)), lw=0.9)
        style.ring_correlation(low, group, tables.q_max, color=drawing.BLUE)
        low.text(0.97, 0.95, f"{group['attrs']['frc_area']:.3f}", transform=low.transAxes, ha="right", va="top")
        if column:
            low.set(ylabel="", yticklabels=[])
    for number in range(len(shown), rows * columns):
        row, column = divmod(number, columns)
        grid[2 * row, column].set_visible(False)
        grid[2 * row + 1, column].set_visible(False)
    return figure


FIGURE = Figure("one_changed", "The plan found, with one parameter changed", _draw, _caption, _skip)
