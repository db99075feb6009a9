"""Optimised and reference reconstructions for each dose, and their scores against dose (Cao et al. 2022, Fig. 5)."""

from __future__ import annotations

import math

import numpy as np
from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from ptydesign import drawing
from ptydesign.experiment.figures.style import dose_axis
from ptydesign.experiment.tables import FAILED, LEAST_SSIM, OPTIMISED, ExperimentTables, extent_a
from ptydesign.study.figures import Figure
from ptydesign.study.quantities import dose_text, fixed, number

_PER_ROW = 6  # images side by side, the truth included
_LARGEST_IN = 1.55
_LEFT, _RIGHT, _GAP, _TOP, _UNDER = 0.36, 0.12, 0.07, 0.42, 0.19
_SCORES_IN, _LEGEND_IN, _BOTTOM_IN, _BETWEEN = 1.75, 0.56, 0.68, 0.08
_COLOURS = {True: drawing.BLUE, False: drawing.VERMILLION}  # optimised, reference


def _skip(tables: ExperimentTables) -> str | None:
    """Needs at least one reconstruction or one score."""
    images = [tables.image(dose, design) for dose in tables.doses for design in (OPTIMISED, tables.reference)]
    if not any(image is not None for image in images) and not (tables["summary"]["n"] > 0).any():
        return "no design was validated: there is neither a reconstruction nor a score to show"
    return None


def _caption(tables: ExperimentTables) -> str:
    """What is shown, with the number of repeats."""
    repeats = sorted({int(n) for n in tables["summary"]["n"] if n > 1})
    spread = (
        f"Error bars: one standard deviation over {' or '.join(map(str, repeats))} simulations with fresh noise. "
        if repeats
        else "One simulation each, so there are no error bars. "
    )
    simulators = [name for name in ("jax", "abtem") if name in set(tables["summary"]["simulator"])]
    lost = f"; '{FAILED}': SSIM below {LEAST_SSIM:g} or contrast not positive" if _any_failed(tables) else ""
    marks = {"jax": "circles: the simulator used in the search (jax)", "abtem": "squares: an independent one (abTEM)"}
    return (
        f"Phase of the reconstructions with optimised and {tables.reference} settings at each dose, and the truth, "
        "band-limited to the reconstruction's pixel; phases of several slices are summed. Under each image its own "
        f"SSIM and PSNR{lost}. The two images of a dose share "
        "the grey scale above them, so that faint ones can be seen too; 0.5 % of the values at each end are beyond it. "
        "The truth has its own. Graphs: means of SSIM and PSNR against "
        f"dose; {'; '.join(marks[name] for name in simulators)}. {spread}"
        f"Scores come from these repeats, never from the search.{tables.after('Fig. 5')}"
    )


def _draw(tables: ExperimentTables) -> mpl.Figure:
    """7 inch wide; images in blocks of two rows, scores below."""
    doses = tables.doses
    blocks = _blocks(len(doses) + 1)
    columns = max(len(block) for block in blocks)
    aspect = _aspect(tables)
    side = min((drawing.TWO_COLUMNS_IN - _LEFT - _RIGHT) / columns - _GAP, _LARGEST_IN)
    tall = side * aspect
    block_in = _TOP + 2 * (tall + _UNDER)
    height = len(blocks) * (block_in + _BETWEEN) + _LEGEND_IN + _SCORES_IN + _BOTTOM_IN
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, height, automatic=False)
    left = (drawing.TWO_COLUMNS_IN - columns * (side + _GAP) + _GAP + _LEFT - _RIGHT) / 2  # centred when images are few
    limits = {dose: _limits(tables, dose) for dose in doses}

    def place(x_in: float, y_in: float, w_in: float, h_in: float) -> Axes:
        """Axes by their distance from the upper left corner, in inch."""
        width = drawing.TWO_COLUMNS_IN
        return figure.add_axes((x_in / width, 1 - (y_in + h_in) / height, w_in / width, h_in / height))

    for index, block in enumerate(blocks):
        top = _TOP + index * (block_in + _BETWEEN)
        for column, item in enumerate(block):
            x = left + column * (side + _GAP)
            if item == len(doses):
                _truth(tables, place(x, top, side, tall))
                continue
            for row, design in enumerate((OPTIMISED, tables.reference)):
                axes = place(x, top + row * (tall + _UNDER), side, tall)
                _reconstruction(tables, axes, doses[item], design, limits[doses[item]])
                if row == 0:
                    _title(axes, dose_text(doses[item]), limits[doses[item]])
                if column == 0:
                    axes.set_ylabel(design, color=_COLOURS[row == 0], labelpad=3, fontweight="bold")
                if column == 0 and row == 0 and index == 0:
                    drawing.panel_letter(axes, 0, dx_pt=-18, dy_pt=4)
    top = len(blocks) * (block_in + _BETWEEN) + _LEGEND_IN
    width = (drawing.TWO_COLUMNS_IN - 0.62 - 0.72 - _RIGHT) / 2
    for index, (quantity, label) in enumerate((("ssim", _ssim_label(tables)), ("psnr_db", "PSNR (dB)"))):
        axes = place(0.62 + index * (width + 0.72), top, width, _SCORES_IN)
        _score_panel(tables, axes, quantity, width)
        axes.set_ylabel(label)
        drawing.panel_letter(axes, 1 + index, dx_pt=-38, dy_pt=4)
    handles = _legend_handles(tables)
    y = 1 - (top - 0.2) / height
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, y), ncols=len(handles))
    return figure


def _blocks(count: int) -> list[list[int]]:
    """Indices of images in blocks of nearly equal length."""
    rows = math.ceil(count / _PER_ROW)
    size = math.ceil(count / rows)
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


def _groups(tables: ExperimentTables) -> list[dict]:
    pairs = [(dose, design) for dose in tables.doses for design in (OPTIMISED, tables.reference)]
    return [group for group in (tables.image(*pair) for pair in pairs) if group is not None]


def _aspect(tables: ExperimentTables) -> float:
    """Height over width of the tallest image."""
    sizes = [extent_a(group, "phase") for group in _groups(tables)]
    return float(np.clip(max((y / x for y, x in sizes), default=1.0), 0.3, 2.0))


def _limits(tables: ExperimentTables, dose: float) -> tuple[float, float] | None:
    """The phase range of a dose's images, but for 0.5 % of the values at either end; None if it has none."""
    groups = [tables.image(dose, design) for design in (OPTIMISED, tables.reference)]
    images = [group["arrays"]["phase"].ravel() for group in groups if group is not None]
    return _range(np.concatenate(images), 0.5) if images else None


def _range(values: np.ndarray, beyond: float) -> tuple[float, float]:
    """What values span, but for `beyond` % of them at either end."""
    low, high = np.percentile(values, [beyond, 100 - beyond])
    return float(low), float(high if high > low else low + 1e-6)


def _title(axes: Axes, words: str, limits: tuple[float, float] | None) -> None:
    """What a column of images is, and its grey scale from black to white."""
    axes.set_title(words, pad=3 if limits is None else 12)
    if limits is not None:
        told = f"{number(limits[0], 2)} to {number(limits[1], 2)} rad"
        axes.annotate(told, (0.5, 1), (0, 3), "axes fraction", "offset points", ha="center", fontsize=6.5)


def show_image(axes: Axes, group: dict, array: str, limits: tuple[float, float]) -> AxesImage:
    """Draw one of the images of a trial, with its scale bar. limits: of its grey, in rad."""
    tall, wide = extent_a(group, array)
    picture = axes.imshow(
        group["arrays"][array], cmap="gray", vmin=limits[0], vmax=limits[1], extent=(0, wide, tall, 0)
    )
    drawing.bare(axes)
    drawing.scale_bar(axes, wide, tall)
    axes.set(xlim=(0, wide), ylim=(tall, 0))
    return picture


def _reconstruction(
    tables: ExperimentTables, axes: Axes, dose: float, design: str, limits: tuple[float, float] | None
) -> None:
    group = tables.image(dose, design)
    if group is None or limits is None:
        lost = tables.at("validation", dose)
        lost = lost[(lost["design"] == design) & (lost["status"] != "ok")]
        drawing.empty_panel(axes, "every repeat\nfailed" if len(lost) else "no design:\nall trials failed")
        return
    show_image(axes, group, "phase", limits)
    ssim, psnr = (group["attrs"].get(name) for name in ("ssim", "psnr_db"))
    if ssim is not None and psnr is not None:
        axes.set_xlabel(f"SSIM {fixed(ssim, 3)}, {fixed(psnr, 1)} dB", fontsize=6.5, labelpad=2)
    if tables.failed(dose, design):
        words = {"ha": "center", "va": "top", "color": "black", "fontsize": 6.5}
        words["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(0.5, 0.95, FAILED.replace(" ", "\n"), transform=axes.transAxes, **words)


def _any_failed(tables: ExperimentTables) -> bool:
    return any(tables.failed(dose, design) for dose in tables.doses for design in (OPTIMISED, tables.reference))


def _truth(tables: ExperimentTables, axes: Axes) -> None:
    """The truth that belongs to the optimised image of the highest dose that has one."""
    groups = [tables.image(dose, OPTIMISED) for dose in reversed(tables.doses)] + _groups(tables)
    group = next((group for group in groups if group is not None), None)
    if group is None:
        _title(axes, "truth", None)
        drawing.empty_panel(axes, "no image")
        return
    limits = _range(group["arrays"]["truth"], 0.1)
    _title(axes, "truth", limits)
    show_image(axes, group, "truth", limits)


def _score_panel(tables: ExperimentTables, axes: Axes, quantity: str, width_in: float) -> None:
    doses = tables.doses
    axes.grid(axis="y", color=drawing.PALE, lw=0.6)
    axes.set_axisbelow(True)
    drawn = False
    for simulator, shape, line, filled, shift in (("jax", "o", "-", True, 1.0), ("abtem", "s", ":", False, 1.035)):
        for design in (OPTIMISED, tables.reference):
            rows = [tables.scores(dose, design, simulator) for dose in doses]
            if not any(row is not None for row in rows):
                continue
            mean = np.array([np.nan if row is None else row[f"{quantity}_mean"] for row in rows])
            spread = np.array([np.nan if row is None or row["n"] < 2 else row[f"{quantity}_std"] for row in rows])
            colour = _COLOURS[design == OPTIMISED]
            axes.errorbar(
                np.array(doses) * shift,
                mean,
                yerr=spread,
                color=colour,
                marker=shape,
                ls=line,
                lw=1.2 if filled else 0.9,
                mfc=colour if filled else "white",
                elinewidth=0.9,
                ms=3.6,
                capsize=3,
            )
            drawn = True
    if not drawn:
        drawing.empty_panel(axes, "nothing was scored")
        return
    axes.margins(y=0.1)
    dose_axis(axes, doses, width_in)


def _ssim_label(tables: ExperimentTables) -> str:
    label = tables.objective
    return label if label.startswith("SSIM") else "SSIM"


def _legend_handles(tables: ExperimentTables) -> list[Line2D]:
    found = set(tables["summary"]["simulator"])
    handles = [
        Line2D([], [], color=_COLOURS[design == OPTIMISED], lw=2, label=design)
        for design in (OPTIMISED, tables.reference)
    ]
    if "jax" in found:
        handles.append(Line2D([], [], color=drawing.GREY, marker="o", ls="-", label="jax simulator"))
    if "abtem" in found:
        handles.append(Line2D([], [], color=drawing.GREY, marker="s", mfc="white", ls=":", label="abtem simulator"))
    return handles


FIGURE = Figure("reconstructions", "Reconstructions and scores", _draw, _caption, _skip)
