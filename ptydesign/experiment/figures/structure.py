"""The sample: atoms seen along the beam, and the projected potential (Cao et al. 2022, Supp. Fig. 2)."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from ptydesign import drawing
from ptydesign.experiment.tables import ExperimentTables, extent_a
from ptydesign.study.figures import Figure

_LARGEST_A = 30.0  # what is shown at most of a large sample, so that atoms stay visible


def _skip(tables: ExperimentTables) -> str | None:
    """Needs the potential."""
    group = tables.images.get("structure")
    if group is None or "potential_va" not in group["arrays"]:
        return "images.h5 has no structure"
    return None


def _caption(tables: ExperimentTables) -> str:
    """What is shown, with the number of atoms in view."""
    group = tables.images["structure"]
    window = _window(group)
    seen, numbers = _atoms(group, window)
    size = f"{window[3] - window[1]:.1f} Å wide and {window[2] - window[0]:.1f} Å high"
    if len(seen):
        kinds = ", ".join(f"{np.sum(numbers == z)} {chemical_symbols[z]}" for z in np.unique(numbers)[::-1])
        atoms = (
            f"Atoms seen along the beam ({kinds} in view; discs have half the covalent radius, paler ones lie deeper)"
        )
    elif "positions" in group["arrays"]:
        atoms = "No atom lies in the part shown"
    else:
        atoms = "The sample is given as an image, so there are no atoms to show"
    field = f"the projected potential of the same field, {size} (brightest 0.2 % clipped)"
    return f"{atoms}, and {field}.{tables.after('Supp. Fig. 2')}"


def _draw(tables: ExperimentTables) -> mpl.Figure:
    """Two panels of the same field, 7 inch wide."""
    group = tables.images["structure"]
    window = _window(group)
    aspect = (window[2] - window[0]) / (window[3] - window[1])
    side = 2.75
    tall = float(np.clip(side * aspect, 1.2, 5.0))
    height = tall + 0.62
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, height, automatic=False)
    width = drawing.TWO_COLUMNS_IN
    boxes = [(x / width, 0.30 / height, side / width, tall / height) for x in (0.32, 0.32 + side + 0.33)]
    top, projected = (figure.add_axes(box) for box in boxes)
    _draw_atoms(top, group, window)
    picture = _draw_potential(projected, group, window)
    box = projected.get_position()
    scale = figure.add_axes((box.x1 + 0.08 / width, box.y0, 0.1 / width, box.height))
    bar = figure.colorbar(picture, cax=scale, extend="max")
    bar.set_label("Projected potential (V Å)")
    bar.outline.set_linewidth(0.4)
    for index, axes in enumerate((top, projected)):
        drawing.panel_letter(axes, index, dx_pt=-14, dy_pt=3)
    return figure


def _window(group: dict) -> tuple[float, float, float, float]:
    """(y0, x0, y1, x1) of what is shown, in angstrom from the crop's corner: its centre if the crop is large."""
    extent = extent_a(group, "potential_va")
    size = [min(length, _LARGEST_A) for length in extent]
    start = [(length - shown) / 2 for length, shown in zip(extent, size, strict=True)]
    return start[0], start[1], start[0] + size[0], start[1] + size[1]


def _atoms(group: dict, window: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 3) as (x, y, z) in the crop's frame and numbers (n,) of the atoms in view, the lowest z first."""
    arrays = group["arrays"]
    if "positions" not in arrays or len(arrays["positions"]) == 0:
        return np.empty((0, 3)), np.empty(0, dtype=int)
    positions = np.asarray(arrays["positions"], dtype=float)
    origin_y, origin_x = np.broadcast_to(np.asarray(group["attrs"].get("origin_a", 0.0), dtype=float), (2,))
    positions = positions - [origin_x, origin_y, 0.0]
    y0, x0, y1, x1 = window
    inside = (positions[:, 0] >= x0) & (positions[:, 0] <= x1) & (positions[:, 1] >= y0) & (positions[:, 1] <= y1)
    positions, numbers = positions[inside], np.asarray(arrays["numbers"], dtype=int)[inside]
    order = np.argsort(-positions[:, 2], kind="stable")  # the beam enters at z = 0: what it meets first is drawn last
    return positions[order], numbers[order]


def _draw_atoms(axes: Axes, group: dict, window: tuple[float, float, float, float]) -> None:
    positions, numbers = _atoms(group, window)
    if len(positions) == 0:
        given = "positions" in group["arrays"]
        drawing.empty_panel(axes, "no atoms in view" if given else "sample given as an image:\nno atoms")
        return
    kinds = [int(z) for z in np.unique(numbers)[::-1]]
    colours = {z: drawing.ELEMENT_COLOURS[i % len(drawing.ELEMENT_COLOURS)] for i, z in enumerate(kinds)}
    depth = positions[:, 2]
    span = float(np.ptp(depth)) or 1.0
    pale = 0.55 * (depth - depth.min()) / span if np.ptp(depth) > 0 else np.zeros(len(depth))
    base = np.array([to_rgb(colours[int(z)]) for z in numbers])
    faces = base + (1 - base) * pale[:, None]
    diameters = covalent_radii[numbers]  # half the radius: neighbours stay apart
    discs = EllipseCollection(
        diameters,
        diameters,
        np.zeros(len(numbers)),
        units="xy",
        offsets=positions[:, :2],
        offset_transform=axes.transData,
    )
    discs.set(facecolor=faces, edgecolor="black", linewidth=0.25)
    axes.add_collection(discs)
    y0, x0, y1, x1 = window
    axes.set(xlim=(x0, x1), ylim=(y1, y0), aspect="equal")
    drawing.bare(axes)
    handles = [
        Line2D([], [], ls="", marker="o", color=colours[z], mec="black", mew=0.25, label=chemical_symbols[z])
        for z in kinds
    ]
    axes.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(kinds),
        borderaxespad=0.2,
        handletextpad=0.1,
    )
    _scale_bar_under(axes, window)


def _draw_potential(axes: Axes, group: dict, window: tuple[float, float, float, float]):
    tall, wide = extent_a(group, "potential_va")
    values = group["arrays"]["potential_va"]
    top = float(np.percentile(values, 99.8))  # one coincidence of atoms would darken all the others
    picture = axes.imshow(values, cmap="cividis", vmax=top, extent=(0, wide, tall, 0))
    y0, x0, y1, x1 = window
    axes.set(xlim=(x0, x1), ylim=(y1, y0))
    drawing.bare(axes)
    _scale_bar_under(axes, window)
    return picture


def _scale_bar_under(axes: Axes, window: tuple[float, float, float, float]) -> None:
    """A scale bar below the panel, where it hides no atom."""
    wide = window[3] - window[1]
    length = drawing.nice_length(0.34 * wide)
    transform = axes.get_xaxis_transform()
    style_line = {"color": "black", "lw": 2, "solid_capstyle": "butt", "clip_on": False}
    axes.plot([window[1], window[1] + length], [-0.035, -0.035], transform=transform, **style_line)
    words = f"{length / 10:g} nm" if length >= 10 else f"{length:g} Å"
    axes.text(window[1] + length + 0.02 * wide, -0.035, words, transform=transform, ha="left", va="center")


FIGURE = Figure("structure", "Sample", _draw, _caption, _skip)
