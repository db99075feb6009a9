"""Signal over noise by spatial frequency: down to which period an image tells anything at each dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
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
_MOST_BESIDE = 4  # names of curves in a line
_LOOKS = ((OPTIMISED, drawing.BLUE, "-"), (None, drawing.ORANGE, (0, (5, 1.5))))  # None: the reference


@dataclass(frozen=True)
class Curve:
    """Of something that was drawn several times. rows: of the table `spectrum`."""

    label: str
    colour: str
    dashes: str | tuple
    rows: pd.DataFrame


WHAT = (  # a curve is
    "The signal is what the images have in common, less the part of the noise that is left in their mean; it need "
    "not be the truth. A crystal has no signal between its reflections."
)


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
        f"{WHAT}"
    )


def _draw(tables: ExperimentTables) -> mpl.Figure:
    def curves(dose: float) -> list[Curve]:
        rows = tables.at("spectrum", dose)
        looks = [(design or tables.reference, colour, dashes) for design, colour, dashes in _LOOKS]
        return [Curve(*look, rows[rows["design"] == look[0]]) for look in looks]

    return draw_panels({dose: curves(dose) for dose in tables.doses})


def draw_panels(curves: Mapping[float, Sequence[Curve]]) -> mpl.Figure:
    """A panel for each dose with curves."""
    drawn = {dose: found for dose, own in curves.items() if (found := [one for one in own if len(one.rows)])}
    lines, labels = -(-len(drawn) // _COLUMNS), {one.label: one for own in drawn.values() for one in own}
    beside = min(len(labels), _MOST_BESIDE)
    height = lines * _ROW_IN + _LEGEND_IN * -(-len(labels) // beside)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, height)
    grid = figure.subplots(lines, _COLUMNS, squeeze=False, sharex=True).ravel()
    for index, (dose, own) in enumerate(drawn.items()):
        _panel(grid[index], dose, own)
        drawing.panel_letter(grid[index], index)
        if index + _COLUMNS >= len(drawn):
            grid[index].set_xlabel("Spatial frequency (1/Å)")
            grid[index].tick_params(labelbottom=True)
    for axes in grid[len(drawn) :]:
        axes.set_visible(False)
    handles = [Line2D([], [], color=one.colour, ls=one.dashes, label=label) for label, one in labels.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=beside)
    return figure


def _panel(axes: Axes, dose: float, curves: Sequence[Curve]) -> None:
    highest = 1.0
    axes.axhline(1, color=drawing.GREY, lw=0.8, zorder=1)
    for one in curves:
        ratio = one.rows["ssnr"]
        axes.plot(one.rows["q_per_a"], ratio.clip(lower=_LOWEST / 10), color=one.colour, ls=one.dashes, zorder=3)
        highest = max(highest, float(ratio.max()))
    axes.set_yscale("log")
    axes.set_ylim(_LOWEST, 3 * highest)
    axes.set_xlim(0, None)
    axes.set_ylabel("Signal / noise")
    axes.set_title(dose_text(dose))


FIGURE = Figure("spectrum", "Signal and noise by spatial frequency", _draw, _caption, _skip)
