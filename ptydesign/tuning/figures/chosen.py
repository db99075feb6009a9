"""How often each value of each parameter was chosen by Bayesian optimisation and by random search."""

from __future__ import annotations

import numpy as np
from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.study.figures import Figure
from ptydesign.tuning.figures import style
from ptydesign.tuning.tables import METHODS, TuningTables, short


def _skip(tables: TuningTables) -> str | None:
    return "the space has no choices" if tables["chosen"].empty else None


def _caption(tables: TuningTables) -> str:
    return (
        f"Fraction of the trials at {tables.budget:g} {tables.unit} in which a value was chosen, over all "
        "searches and after "
        f"the first {tables.study['search']['initial']} random plans; random search chooses evenly but for chance."
    )


def _draw(tables: TuningTables) -> mpl.Figure:
    table, words = tables["chosen"], tables.labels()
    parameters = list(dict.fromkeys(table["parameter"]))
    columns = min(4, len(parameters))
    rows = -(-len(parameters) // columns)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 1.65 * rows + 0.35)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    methods = [m for m in METHODS if f"later_{m}" in table]
    for axes, parameter in zip(grid.flat, parameters, strict=False):
        own = table[table["parameter"] == parameter]
        place = np.arange(len(own))
        for number, method in enumerate(methods):
            offset = (number - (len(methods) - 1) / 2) * 0.8 / len(methods)
            heights = 100 * own[f"later_{method}"]
            axes.bar(place + offset, heights, 0.8 / len(methods), color=style.COLOURS[method], label=METHODS[method])
        axes.set_xticks(place, [short(v) for v in own["value"]])
        if len(own) > 5:
            axes.tick_params(axis="x", labelrotation=60)
        axes.set_xlabel(words[parameter])
    for axes in grid.flat[len(parameters) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("Trials (%)")
    handles, names = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure


FIGURE = Figure("chosen", "Values chosen", _draw, _caption, _skip)
