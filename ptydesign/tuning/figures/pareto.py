"""All plans tried, by ring correlation and held-out misfit, and the front of those that none beats in both."""

from __future__ import annotations

from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.study.figures import Figure
from ptydesign.tuning.tables import METRICS, TuningTables


def _skip(tables: TuningTables) -> str | None:
    return "fewer than two plans gave a score" if len(tables["pareto"]) < 2 else None


def _limits(tables: TuningTables) -> tuple[float, float]:
    """Of the misfits that are drawn: the largest tenth would hide how the others differ."""
    misfits = tables["pareto"]["heldout_misfit"]
    low, high = misfits.min(), misfits.quantile(0.9)
    return low - 0.05 * (high - low), high + 0.1 * (high - low)


def _caption(tables: TuningTables) -> str:
    table = tables["pareto"]
    beyond = int((table["heldout_misfit"] > _limits(tables)[1]).sum())
    left_out = f" Not drawn: {beyond} of larger misfit." if beyond else ""
    colour = " Colour: SSIM against the truth, which neither objective knows." if tables.truth else ""
    return (
        f"{len(table)} different plans at {tables.budget:g} {tables.unit}: how well two scans agree against how "
        "well each "
        "predicts patterns that it has not seen (less is better). Line: the Pareto front, "
        f"{int(table['front'].sum())} plans "
        f"that no other beats in both.{left_out}{colour}"
    )


def _draw(tables: TuningTables) -> mpl.Figure:
    table = tables["pareto"]
    figure = drawing.new_figure(drawing.ONE_COLUMN_IN, 2.8)
    axes = figure.subplots()
    if tables.truth:
        dots = axes.scatter(table["frc_area"], table["heldout_misfit"], c=table["ssim"], s=8, cmap="viridis", lw=0)
        figure.colorbar(dots, ax=axes, label=METRICS["ssim"])
    else:
        axes.scatter(table["frc_area"], table["heldout_misfit"], s=8, color=drawing.BLUE, lw=0)
    front = table[table["front"]].sort_values("frc_area")
    axes.plot(front["frc_area"], front["heldout_misfit"], "o-", color=drawing.VERMILLION, mfc="none", ms=5, lw=0.9)
    axes.set_ylim(*_limits(tables))
    axes.set(xlabel=METRICS["frc_area"], ylabel="Held-out misfit per pixel")
    return figure


FIGURE = Figure("pareto", "Two objectives and the Pareto front", _draw, _caption, _skip, narrow=True)
