"""One parameter at a time about the plan that was found, at every budget (Cao Supp. Fig. 1)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.study.figures import Figure
from ptydesign.tuning.tables import METRICS, TuningTables, short


def _skip(tables: TuningTables) -> str | None:
    table = tables["effects"]
    if table is None or table.empty or not table["objective"].notna().any():
        return "no parameter was varied one at a time"
    return None


def _caption(tables: TuningTables) -> str:
    return (
        f"{METRICS[tables.metric]} when one parameter of the plan found at {tables.budget:g} {tables.unit} is "
        "changed and the "
        f"others are kept, at budgets of {', '.join(f'{b:g}' for b in tables.budgets)} {tables.unit}, the darkest "
        "being the "
        "largest. Rings mark the found plan's values. Missing points: the reconstruction diverged or could not "
        "be scored. "
        "After Cao et al. 2022, Supplementary Fig. 1."
    )


def _draw(tables: TuningTables) -> mpl.Figure:
    table, words = tables["effects"], tables.labels()
    parameters = [p for p in tables.parameters if (table["parameter"] == p).any()]
    columns = min(4, len(parameters))
    rows = -(-len(parameters) // columns)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 1.75 * rows + 0.35)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    shades = [str(s) for s in np.linspace(0.72, 0.0, len(tables.budgets))]
    for axes, parameter in zip(grid.flat, parameters, strict=False):
        own = table[table["parameter"] == parameter]
        values = list(dict.fromkeys(own["value"]))
        for shade, budget in zip(shades, tables.budgets, strict=True):
            line = own[np.isclose(own["budget"], budget)].set_index("value").reindex(values)
            heights = tables.sign * line["objective"].to_numpy(float)
            axes.plot(range(len(values)), heights, "o-", ms=2.8, color=shade, label=f"{budget:g} {tables.unit}")
        last = own[np.isclose(own["budget"], tables.budget) & own["chosen"].astype(bool)]
        for _, row in last.iterrows():
            axes.plot(
                values.index(row["value"]),
                tables.sign * row["objective"],
                "o",
                ms=8,
                mfc="none",
                mec=drawing.VERMILLION,
            )
        axes.set_xticks(range(len(values)), [short(v) for v in values])
        if len(values) > 5:
            axes.tick_params(axis="x", labelrotation=60)
        axes.set(xlabel=words[parameter], xlim=(-0.5, len(values) - 0.5))
    for axes in grid.flat[len(parameters) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel(METRICS[tables.metric])
    handles, names = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return figure


def changed(tables: TuningTables) -> list[pd.Series]:
    """For each parameter the value, other than the found plan's, with the lowest objective at the main budget."""
    table = tables["effects"]
    found = []
    for parameter in tables.parameters:
        rows = table[(table["parameter"] == parameter) & np.isclose(table["budget"], tables.budget)]
        rows = rows[~rows["chosen"].astype(bool) & rows["objective"].notna()]
        if len(rows):
            found.append(rows.loc[rows["objective"].idxmin()])
    return found


FIGURE = Figure("effects", "Each parameter's effect against the budget", _draw, _caption, _skip)
