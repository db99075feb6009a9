"""Signal over noise by spatial frequency: down to which period an image tells anything at each dose."""

from __future__ import annotations

from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ptydesign import drawing
from ptydesign.experiment.config import OPTIMISED
from ptydesign.experiment.tables import ExperimentTables
from ptydesign.study.figures import Figure
from ptydesign.study.quantities import count_text, dose_text

_COLUMNS = 2
_ROW_IN, _LEGEND_IN = 2.0, 0.35
_LOWEST = 0.05  # of the ratio that is shown
_LOOKS = ((OPTIMISED, drawing.BLUE, "-"), (None, drawing.ORANGE, (0, (5, 1.5))))  # None: the reference


def _skip(tables: ExperimentTables) -> str | None:
    """Needs two repeats of something."""
    rows = tables["spectrum"]
    return "it needs two re-simulations or more of a design" if rows is None or rows.empty else None


def _caption(tables: ExperimentTables) -> str:
    rows = tables["validation"]
    counts = rows[(rows["simulator"] == "jax") & (rows["status"] == "ok")].groupby(["dose_e_per_a2", "design"]).size()
    return (
        "Power of the signal over that of the noise in one image, by ring of spatial frequency, from "
        f"{count_text(counts)} re-simulations with fresh noise each. Below the grey line a period is lost in noise. "
        "The signal is what the images have in common, less the part of the noise that is left in their mean; it need "
        "not be the truth. A crystal has no signal between its reflections."
    )


def _draw(tables: ExperimentTables) -> mpl.Figure:
    """A panel for each dose."""
    doses = [dose for dose in tables.doses if len(tables.at("spectrum", dose))]
    lines = -(-len(doses) // _COLUMNS)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, lines * _ROW_IN + _LEGEND_IN)
    grid = figure.subplots(lines, _COLUMNS, squeeze=False, sharex=True).ravel()
    for index, dose in enumerate(doses):
        _panel(tables, grid[index], dose)
        drawing.panel_letter(grid[index], index)
        if index + _COLUMNS >= len(doses):
            grid[index].set_xlabel("Spatial frequency (1/Å)")
            grid[index].tick_params(labelbottom=True)
    for axes in grid[len(doses) :]:
        axes.set_visible(False)
    handles = [Line2D([], [], color=c, ls=dashes, label=name or tables.reference) for name, c, dashes in _LOOKS]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _panel(tables: ExperimentTables, axes: Axes, dose: float) -> None:
    rows, highest = tables.at("spectrum", dose), 1.0
    axes.axhline(1, color=drawing.GREY, lw=0.8, zorder=1)
    for design, colour, dashes in _LOOKS:
        own = rows[rows["design"] == (design or tables.reference)]
        if own.empty:
            continue
        axes.plot(own["q_per_a"], own["ssnr"].clip(lower=_LOWEST / 10), color=colour, ls=dashes, zorder=3)
        highest = max(highest, float(own["ssnr"].max()))
    axes.set_yscale("log")
    axes.set_ylim(_LOWEST, 3 * highest)
    axes.set_xlim(0, None)
    axes.set_ylabel("Signal / noise")
    axes.set_title(dose_text(dose))


FIGURE = Figure("spectrum", "Signal and noise by spatial frequency", _draw, _caption, _skip)
