"""Patterns to compare with in the first ten minutes: one of the scan at the planned defocus (a Ronchigram), and the
mean of all (PACBED), as the simulation has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from ptydesign import drawing, io
from ptydesign.drawing import ORANGE, panel_letter
from ptydesign.experiment.trial import simulate_trial
from ptydesign.planning.instrument import Setting
from ptydesign.planning.resolve import PlanningResolved, for_beam
from ptydesign.planning.search import Runners
from ptydesign.planning.tables import PlanningTables
from ptydesign.types import Potential

TIMES = 100.0  # the plan's electrons, so that noise hardly shows
ROUND = 1.3  # radii of the disk that are shown
DIGITS = 4
GROUP, NAMES = "patterns", {"ronchigram": "one position", "pacbed": "mean of all"}


def expected_patterns(resolved: PlanningResolved, setting: Setting, potential: Potential) -> dict[str, Any]:
    """`ronchigram` and `pacbed`, (ky, kx) electrons in a pixel and frame at the plan's dose, about the beam, as far as
    the disk and a little around it; `pixel_mrad` of them."""
    bench, trial = resolved.bench, Runners(resolved).trial(setting, resolved.dose_e_per_a2, repeat=1, times=TIMES)
    dataset, _ = simulate_trial(for_beam(bench, resolved.of(setting).study, trial.experiment), potential, trial)
    patterns = np.fft.fftshift(np.asarray(dataset.patterns, np.float32), axes=(1, 2)) / TIMES
    pixel = bench.pixel_mrad(setting.camera)
    half = min(bench.pixels // 2, math.ceil(ROUND * setting.semiangle_mrad / pixel))
    here = slice(bench.pixels // 2 - half, bench.pixels // 2 + half)
    centre = np.linalg.norm(dataset.positions_a - dataset.positions_a.mean(axis=0), axis=1).argmin()
    found = {"ronchigram": patterns[centre, here, here], "pacbed": patterns[:, here, here].mean(axis=0)}
    rounded = {name: [[float(f"{v:.{DIGITS}g}") for v in row] for row in values] for name, values in found.items()}
    return {**rounded, "pixel_mrad": pixel}


def as_images(patterns: dict[str, Any]) -> dict[str, Any]:
    """The same as a group of images.h5."""
    arrays = {name: io.Array(np.asarray(patterns[name], np.float32), "electron", "ky,kx") for name in NAMES}
    return {"arrays": arrays, "attrs": {"pixel_mrad": patterns["pixel_mrad"]}}


def draw_patterns(tables: PlanningTables) -> mpl.Figure:
    """Both, with the aperture's edge."""
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN * 0.75, 2.4)
    for number, (axes, name) in enumerate(zip(figure.subplots(1, 2), NAMES, strict=True)):
        picture = show_pattern(axes, tables, name)
        figure.colorbar(picture, ax=axes, label="electrons in a pixel" if number else None, fraction=0.05, pad=0.03)
        panel_letter(axes, number, dx_pt=-10)
    return figure


def show_pattern(axes: Axes, tables: PlanningTables, name: str) -> Any:
    """One of them; returns the picture."""
    item = tables.images[GROUP]
    values, pixel = item["arrays"][name], item["attrs"]["pixel_mrad"]
    half = len(values) / 2
    picture = axes.imshow(values, cmap="gray", vmin=0.0, interpolation="nearest")
    radius = tables.recommended["setting"]["semiangle_mrad"] / pixel
    axes.add_patch(Circle((half, half), radius, fill=False, color=ORANGE, lw=0.6, ls="--"))
    drawing.bare(axes)
    axes.set_title(NAMES[name])
    return picture


def caption(tables: PlanningTables) -> str:
    """What is shown."""
    alpha = tables.recommended["setting"]["semiangle_mrad"]
    return (
        "Patterns to expect, without noise: one at the planned defocus (a Ronchigram), and the mean of those of the "
        f"simulated piece (PACBED). Dashed: the aperture's edge, {alpha:g} mrad."
    )


def missing(tables: PlanningTables) -> str | None:
    """Why they can't be drawn."""
    return None if GROUP in tables.images else "the plan was computed before patterns were kept"
