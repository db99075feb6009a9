"""The plan that was found and its references: phases, diffractograms, ring correlations (Cao Fig. 2b)."""

from __future__ import annotations

from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.study.figures import Figure
from ptydesign.tuning.figures import style
from ptydesign.tuning.tables import TuningTables


def _shown(tables: TuningTables) -> list[tuple[str, dict]]:
    found = [(p, tables.picture(group="budget", budget=tables.budget, plan=p)) for p in tables.plans]
    return [(plan, group) for plan, group in found if group is not None]


def _skip(tables: TuningTables) -> str | None:
    return None if _shown(tables) else "no plan gave a reconstruction"


def _caption(tables: TuningTables) -> str:
    words = ", ".join(f"{p} {g['attrs']['frc_area']:.3f}" for p, g in _shown(tables))
    truth = " The truth, at the left, is band-limited to the reconstruction's pixels." if tables.truth else ""
    return (
        f"Phase of the first scan and power spectrum (logarithmic, four decades) of the plans at {tables.budget:g} "
        f"{tables.unit}, and the ring correlation of the two scans; FRC area up to {tables.q_max:g} 1/Å: "
        f"{words}.{truth} "
        "One grey scale for all phases."
    )


def _draw(tables: TuningTables) -> mpl.Figure:
    shown = _shown(tables)
    columns = len(shown) + tables.truth
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2 * 7.0 / (columns + 1.6) + 0.5)
    grid = figure.add_gridspec(2, columns + 1, width_ratios=[1] * columns + [1.5])
    limits = style.phase_limits([group for _, group in shown])
    panels = [("truth", shown[0][1], "truth")] if tables.truth else []
    panels += [(plan, group, "phase") for plan, group in shown]
    for column, (name, group, array) in enumerate(panels):
        top, low = figure.add_subplot(grid[0, column]), figure.add_subplot(grid[1, column])
        image = style.phase(top, group, limits, array)
        top.set_title(name)
        style.diffractogram(low, group, 1.15 * tables.q_max, array)
    figure.colorbar(image, ax=top, shrink=0.85, pad=0.03, label="Phase (rad)")
    axes = figure.add_subplot(grid[:, -1])
    for plan, group in shown:
        look = style.plan_look(tables.plans, plan)
        style.ring_correlation(axes, group, tables.q_max, color=look["color"], label=plan)
    axes.plot(group["arrays"]["q"], group["arrays"]["one_bit"], color=drawing.GREY, lw=0.8, ls=":", label="1 bit")
    axes.legend(loc="lower left")
    return figure


FIGURE = Figure("reconstructions", "Reconstructions and diffractograms", _draw, _caption, _skip)
