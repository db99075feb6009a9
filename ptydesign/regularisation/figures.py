"""Figures of a study of regularisation, drawn from its tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from ptydesign import drawing
from ptydesign.regularisation.tables import RegularisationTables
from ptydesign.study.figures import Figure

WORDS = {
    "offset": "noise offset ε",
    "layer_tikhonov": "layer Tikhonov",
    "object_l2": "object L2",
    "object_tikhonov": "object Tikhonov",
}
BAR_IN = 0.5  # width of a colour bar with its labels
DASHES = ("-", "--", ":", "-.")


def errors(tables: RegularisationTables) -> mpl.Figure:
    """Error of all slices against sweep, one panel for each factor."""
    factors = tables.factors
    columns = 2 if len(factors) > 1 else 1
    rows = -(-len(factors) // columns)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN * columns / 2, 2.4 * rows + 0.1)
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for index, (axes, factor) in enumerate(zip(panels, factors, strict=False)):
        series = tables.series(factor)
        for place, (value, item, own) in enumerate(series):
            curve = tables.curve(item)
            shade = colormaps["viridis"](0.9 * place / max(1, len(series) - 1))
            colour, width = ("black", 1.8) if own else (shade, 1.1)
            words = f"{value:g}" + (" (plan)" if own else "")
            axes.plot(curve["sweep"], curve["rmse_slices_rad"], color=colour, lw=width, label=words)
        axes.set_yscale("log")
        _plain_log(axes)
        axes.set(xlabel="Sweep", ylabel="Error of the slices (rad)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(title=WORDS.get(factor, factor.replace("_", " ")), loc="best", title_fontsize=7)
        drawing.panel_letter(axes, index, dx_pt=-32)
    for axes in panels[len(factors) :]:
        axes.set_visible(False)
    return figure


def images(tables: RegularisationTables) -> mpl.Figure:
    """Projected phase at the end, a row for each factor; the plan's own value is framed."""
    factors = tables.factors
    most = max(len(tables.series(factor)) for factor in factors)
    size = min(1.35, (drawing.TWO_COLUMNS_IN - BAR_IN) / (most + 1))
    figure = drawing.new_figure(size * (most + 1) + BAR_IN, (size + 0.22) * len(factors))
    panels = figure.subplots(len(factors), most + 1, squeeze=False)
    low, high = np.percentile(tables.images["truth"]["arrays"]["phase"], (1, 99.5))
    for row, factor in zip(panels, factors, strict=True):
        for axes in row:
            axes.set_axis_off()
        shown = [("truth", "truth", False)]
        shown += [(f"{value:g}", item, own) for value, item, own in tables.series(factor)]
        for axes, (words, item, own) in zip(row, shown, strict=False):
            if item in tables.images:
                picture = _show(axes, tables.images[item], low, high, bar=item == "truth")
                if own:
                    for spine in axes.spines.values():
                        spine.set(linewidth=1.6, edgecolor=drawing.VERMILLION)
            else:
                axes.set_axis_on()
                drawing.empty_panel(axes, "diverged")
            axes.set_title(f"{WORDS.get(factor, factor)}\n{words}" if item == "truth" else words, fontsize=6.5, pad=2)
    _colour_bar(figure, picture, panels, "Phase (rad)", extend="both", aspect=15 * len(factors))
    return figure


def engines(tables: RegularisationTables) -> mpl.Figure:
    """Projected phase and power spectrum of each plan."""
    names = [name for name in tables.plans["item"] if name in tables.images]
    shown = ["truth", *names]
    size = (drawing.TWO_COLUMNS_IN - BAR_IN) / len(shown)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2 * size + 0.25)
    panels = figure.subplots(2, len(shown))
    low, high = np.percentile(tables.images["truth"]["arrays"]["phase"], (1, 99.5))
    top = float(tables.images["truth"]["arrays"]["power"].max())
    for column, name in enumerate(shown):
        group = tables.images[name]
        phase = _show(panels[0, column], group, low, high, bar=column == 0)
        panels[0, column].set_title(name.replace("_", " "))
        power, pixel = group["arrays"]["power"], group["attrs"]["pixel_a"]
        edge = [0.5 / p for p in pixel]
        axes = panels[1, column]
        spectrum = axes.imshow(
            np.log10(np.maximum(power / top, 1e-9)),
            cmap="magma",
            vmin=-8,
            vmax=0,
            extent=(-edge[1], edge[1], edge[0], -edge[0]),
        )
        circle = np.linspace(0, 2 * np.pi, 200)
        for q in (1.0, 2.0):
            axes.plot(q * np.cos(circle), q * np.sin(circle), color="white", lw=0.4, ls=":")
            axes.text(0, -q, f"{q:g} Å⁻¹", color="white", fontsize=5.5, ha="center", va="bottom")
        axes.set(xlim=(-edge[1], edge[1]), ylim=(edge[0], -edge[0]))
        drawing.bare(axes)
    drawing.panel_letter(panels[0, 0], 0, dx_pt=-8, dy_pt=8)
    drawing.panel_letter(panels[1, 0], 1, dx_pt=-8, dy_pt=2)
    _colour_bar(figure, phase, panels[0], "Phase (rad)", extend="both")
    _colour_bar(figure, spectrum, panels[1], "log₁₀ (relative power)", extend="both")
    return figure


def convergence(tables: RegularisationTables) -> mpl.Figure:
    """Error of each plan against sweep, and the separation of dumbbells."""
    names = list(tables.plans["item"])
    with_pairs = len(tables["dumbbells"]) > 0
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN if with_pairs else drawing.ONE_COLUMN_IN, 2.5)
    panels = np.atleast_1d(figure.subplots(1, 2 if with_pairs else 1))
    colours = {name: drawing.OKABE_ITO[place % len(drawing.OKABE_ITO)] for place, name in enumerate(names)}
    for place, name in enumerate(names):
        curve = tables.curve(name)
        label = name.replace("_", " ")
        panels[0].plot(curve["sweep"], curve["rmse_slices_rad"], color=colours[name], ls=DASHES[place % 4], label=label)
    panels[0].set_yscale("log")
    _plain_log(panels[0])
    panels[0].set(xlabel="Sweep", ylabel="Error of the slices (rad)")
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].legend(loc="best")
    drawing.panel_letter(panels[0], 0, dx_pt=-32)
    if with_pairs:
        axes = panels[1]
        for place, name in enumerate(names):
            rows = tables["dumbbells"][tables["dumbbells"]["item"] == name]
            spread = np.linspace(-0.15, 0.15, len(rows)) if len(rows) > 1 else np.zeros(len(rows))
            axes.plot(place + spread, rows["separation_a"], ".", color=colours[name], alpha=0.5, mew=0)
            if len(rows):
                axes.errorbar(
                    place, rows["separation_a"].mean(), rows["separation_a"].std(), fmt="o", color="black", ms=3.5
                )
        for column, dashes, words in (("true_a", "-", "atoms"), ("truth_fit_a", "--", "truth, same fit")):
            height = tables["dumbbells"][column].mean()
            axes.axhline(height, color=drawing.GREY, lw=0.8, ls=dashes, zorder=0)
            place = {"xytext": (0, 2), "textcoords": "offset points", "ha": "right", "va": "bottom"}
            axes.annotate(words, (len(names) - 0.52, height), **place, fontsize=6.5, color=drawing.GREY)
        axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
        axes.set(ylabel="Separation of dumbbells (Å)", xlim=(-0.5, len(names) - 0.5))
        drawing.panel_letter(axes, 1, dx_pt=-32)
    return figure


def _show(axes: Axes, group: dict, low: float, high: float, bar: bool) -> AxesImage:
    image, pixel = group["arrays"]["phase"], group["attrs"]["pixel_a"]
    tall, wide = (n * p for n, p in zip(image.shape, pixel, strict=True))
    axes.set_axis_on()
    picture = axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=(0, wide, tall, 0))
    axes.set(xlim=(0, wide), ylim=(tall, 0))
    drawing.bare(axes)
    if bar:
        drawing.scale_bar(axes, wide, tall)
        axes.set(xlim=(0, wide), ylim=(tall, 0))
    return picture


def _colour_bar(figure: mpl.Figure, picture: AxesImage, panels: np.ndarray, words: str, **more: Any) -> None:
    """One bar for all panels, to their right; pointed ends: there are values beyond the range."""
    bar = figure.colorbar(picture, ax=panels, pad=0.01, fraction=0.03, extendfrac=0.02, **more)
    bar.set_label(words)
    bar.outline.set_linewidth(0.4)


def _plain_log(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    low, high = axes.get_ylim()
    if high / low < 12:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())


def _no_curves(tables: RegularisationTables) -> str | None:
    if not tables.factors:
        return "no setting is varied alone"
    return _no_scores(tables)


def _no_images(tables: RegularisationTables) -> str | None:
    if not tables.factors:
        return "no setting is varied alone"
    return None if "truth" in tables.images else "every reconstruction diverged"


def _few_images(tables: RegularisationTables) -> str | None:
    shown = [name for name in tables.plans["item"] if name in tables.images]
    return None if len(shown) > 1 else "fewer than two plans gave an image"


def _few_plans(tables: RegularisationTables) -> str | None:
    return _no_scores(tables) if len(tables.plans) > 1 else "the study has one plan only"


def _no_scores(tables: RegularisationTables) -> str | None:
    return None if tables["errors"]["rmse_slices_rad"].notna().any() else "no reconstruction could be scored"


def _errors_caption(tables: RegularisationTables) -> str:
    return (
        "Root mean squared error of the phase over all slices and pixels of the scored region against sweep, "
        "while one setting of the first plan varies. Black: the plan's own value."
    )


def _images_caption(tables: RegularisationTables) -> str:
    return (
        "Projected phase after the last sweep, on one scale of grey, which runs from the 1st to the 99.5th "
        "percentile of the truth. Framed: the plan's own value."
    )


def _engines_caption(tables: RegularisationTables) -> str:
    return (
        "(a) Projected phase after the last sweep, and the truth at the same pixels, on one scale of grey, which "
        "runs from the 1st to the 99.5th percentile of the truth. (b) Power spectrum relative to the truth's "
        "largest value; rings at 1 and 2 Å⁻¹."
    )


def _convergence_caption(tables: RegularisationTables) -> str:
    return (
        "(a) Error of all slices against sweep. (b) Separation of each dumbbell (dots), mean and standard "
        "deviation; lines: distance of the atoms, and what the same fit finds in the truth at the "
        "reconstruction's pixels."
    )


FIGURES = (
    Figure("errors", "Error against iteration", errors, _errors_caption, _no_curves),
    Figure("images", "Final images", images, _images_caption, _no_images),
    Figure("engines", "Engines: phase and power spectrum", engines, _engines_caption, _few_images),
    Figure("convergence", "Engines: error and dumbbells", convergence, _convergence_caption, _few_plans),
)
