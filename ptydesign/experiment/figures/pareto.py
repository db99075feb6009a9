"""Score against dose or time of all trials, and the front of those that no other beats in all objectives."""

from __future__ import annotations

import math

import numpy as np
from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.experiment.objectives import COLUMNS
from ptydesign.experiment.tables import ExperimentTables
from ptydesign.study.figures import Figure
from ptydesign.study.quantities import axis_label, dose_text, words_and_unit

_WIDE = 10.0  # of a span: more of it on a logarithmic axis


def _skip(tables: ExperimentTables) -> str | None:
    if tables["pareto"] is None:
        return "the study has one objective"
    return "fewer than two trials gave a score" if len(tables["pareto"]) < 2 else None


def _costs(tables: ExperimentTables) -> list[str]:
    return [COLUMNS[name] for name in tables.study["objective"]["against"]]


def _caption(tables: ExperimentTables) -> str:
    table, (first, *more) = tables["pareto"], _costs(tables)
    words = words_and_unit(first)[0].lower()
    colour = f" Colour: {words_and_unit(more[0])[0].lower()}, a third objective." if more else ""
    line = "" if more else " Line: what is reached at most."
    return (
        f"{len(table)} trials: {tables.objective} against {words}. Circles: the {int(table['front'].sum())} trials of "
        f"the Pareto front, which no other beats in all objectives.{line}{colour} One noisy trial for each design, so "
        "the front is a little too good."
    )


def _draw(tables: ExperimentTables) -> mpl.Figure:
    table, (first, *more) = tables["pareto"], _costs(tables)
    doses = sorted(table["dose_e_per_a2"].unique())
    columns = min(3, len(doses))
    width = drawing.ONE_COLUMN_IN if columns == 1 else drawing.TWO_COLUMNS_IN
    rows = math.ceil(len(doses) / columns)
    figure = drawing.new_figure(width, 2.6 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    norm = _norm(table[more[0]].to_numpy(float)) if more else None
    for one in axes.flat[len(doses) :]:
        one.set_axis_off()
    for one, dose in zip(axes.flat, doses, strict=False):
        here = table[table["dose_e_per_a2"] == dose]
        best = here[here["front"].astype(bool)].sort_values(first)
        look = {"c": here[more[0]], "norm": norm, "cmap": "viridis"} if more else {"color": drawing.BLUE}
        dots = one.scatter(here[first], here["objective"], s=9, lw=0, zorder=2, **look)
        one.scatter(best[first], best["objective"], s=34, facecolors="none", edgecolors=drawing.VERMILLION, zorder=3)
        if not more:
            one.step(best[first], best["objective"], where="post", color=drawing.VERMILLION, lw=0.9, zorder=1)
        if here[first].max() > _WIDE * here[first].min():
            one.set_xscale("log")
        one.set_xlabel(axis_label(first))
        if len(doses) > 1:
            one.set_title(dose_text(dose))
    for one in axes[:, 0]:
        one.set_ylabel(tables.objective)
    if more:
        figure.colorbar(dots, ax=axes, label=axis_label(more[0]))
    return figure


def _norm(values: np.ndarray) -> object:
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(values.min()), float(values.max())
    return LogNorm(low, high) if high > _WIDE * low else Normalize(low, high)


FIGURE = Figure("pareto", "Several objectives and the Pareto front", _draw, _caption, _skip)
