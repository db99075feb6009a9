"""Best score against the number of trials: Bayesian optimisation and random search, mean and spread (Cao Fig. 2a)."""

from __future__ import annotations

from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.study.figures import Figure
from ptydesign.tuning.figures import style
from ptydesign.tuning.tables import METHODS, METRICS, TuningTables


def _skip(tables: TuningTables) -> str | None:
    return None if tables["summary"]["mean"].notna().any() else "no trial gave a score"


def _caption(tables: TuningTables) -> str:
    rows = tables["summary"]
    rows = rows[rows["main"]]
    repeats = int(rows["n"].max())
    return (
        f"Best {METRICS[tables.metric]} so far against trials at {tables.budget:g} {tables.unit} for each of two "
        f"reconstructions: mean of {repeats} searches of each method and one standard deviation (band). Thin "
        "lines: single "
        f"searches. Grey: the first {tables.study['search']['initial']} trials are the same random plans for both "
        "methods. "
        "After Cao et al. 2022, Fig. 2."
    )


def _draw(tables: TuningTables) -> mpl.Figure:
    figure = drawing.new_figure(drawing.ONE_COLUMN_IN, 2.7)
    axes = figure.subplots()
    single, mean = tables["convergence"], tables["summary"]
    for method, name in METHODS.items():
        own = single[single["main"] & (single["method"] == method)]
        if own.empty:
            continue
        for _, line in own.groupby("repeat"):
            axes.step(
                line["trials"], tables.sign * line["best_objective"], where="post", lw=0.4, alpha=0.45,
                color=style.COLOURS[method], zorder=1,
            )  # fmt: skip
        rows = mean[mean["main"] & (mean["method"] == method)].sort_values("trials")
        style.spread(axes, rows["trials"], tables.sign * rows["mean"], rows["std"], style.COLOURS[method], name)
    initial = tables.study["search"]["initial"]
    axes.axvspan(0.5, initial + 0.5, color=drawing.PALE, lw=0, zorder=0)
    axes.set(xlim=(0.5, single["trials"].max() + 0.5), xlabel="Trials", ylabel=f"Best {METRICS[tables.metric]}")
    axes.legend(loc="lower right")
    return figure


FIGURE = Figure("convergence", "Best score against number of trials", _draw, _caption, _skip, narrow=True)
