"""The probe of a setting on its scan, with every aberration that is known: a picture for the sheet and the report."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import figure as mpl
from matplotlib.axes import Axes

from ptydesign import drawing, waves
from ptydesign.drawing import TWO_COLUMNS_IN, VERMILLION, panel_letter, scale_bar
from ptydesign.grids import Grid
from ptydesign.planning import aberrations
from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.tables import PlanningTables
from ptydesign.units import MRAD, wavelength_a

ACROSS = 5  # positions of the scan along each axis that are shown
PIXELS = 256
DRAW = 0  # whose residuals the last picture has


def probe_intensity(bench: Bench, setting: Setting, more: aberrations.Parts | None = None) -> tuple[np.ndarray, float]:
    """Intensity of the coherent probe (y, x), largest 1, centred, and its pixel in angstrom, on a window of more than
    twice its width. more: residual aberrations of a draw."""
    wavelength, alpha = wavelength_a(setting.voltage_kv), setting.semiangle_mrad * MRAD
    fine, coarse = wavelength / alpha / 12, wavelength / alpha / 4
    pixel = min(coarse, max(fine, 5 * bench.probe_radius_a(setting) / PIXELS))
    grid = Grid((PIXELS, PIXELS), (pixel, pixel))
    given = {**bench.aberrations_of(setting), **aberrations.keywords(bench.instrument.aberrations, more)}
    wave = waves.centre_spectrum(grid, waves.probe_spectrum(grid, wavelength, alpha, **given))
    intensity = np.abs(wave) ** 2
    return intensity / intensity.max(), pixel


def draw_probes(tables: PlanningTables) -> mpl.Figure:
    """The recommended probe and that of the rule of thumb, and the recommended one with residuals of a draw."""
    plan = PlanningStudy.model_validate(tables.study)
    bench, figure = Bench(plan), drawing.new_figure(TWO_COLUMNS_IN, 2.3)
    panels = [("recommended", tables.recommended, None)]
    if tables.expert["setting"] != tables.recommended["setting"]:
        panels.append((tables.recommendation["expert_name"], tables.expert, None))
    if residuals := aberrations.drawn(plan.instrument.aberrations, np.random.default_rng(DRAW)):
        panels.append(("recommended, as one alignment\nmay leave it", tables.recommended, residuals))
    for number, axes in enumerate(np.atleast_1d(figure.subplots(1, len(panels)))):
        words, item, more = panels[number]
        _draw(axes, bench, item, more)
        axes.set_title(words)
        panel_letter(axes, number, dx_pt=-10)
    return figure


def _draw(axes: Axes, bench: Bench, item: dict[str, Any], more: aberrations.Parts | None) -> None:
    setting = Setting(**{**item["setting"], "defocus_nm": item["underfocus_nm"]})
    image, pixel = probe_intensity(bench, setting, more)
    half = PIXELS // 2 * pixel
    shown = min(half, max(1.3 * bench.probe_radius_a(setting), ACROSS / 2 * setting.step_a))
    ends = (shown - half, shown + half)
    axes.imshow(np.sqrt(image), cmap="gray", extent=(*ends, *ends[::-1]), interpolation="bilinear")
    places = shown + np.arange(-(ACROSS // 2), ACROSS // 2 + 1) * setting.step_a
    axes.plot(*(part.ravel() for part in np.meshgrid(places, places)), "+", color=VERMILLION, ms=4, mew=0.8)
    axes.set(xlim=(0, 2 * shown), ylim=(2 * shown, 0))
    drawing.bare(axes)
    scale_bar(axes, 2 * shown, 2 * shown)


def caption(tables: PlanningTables) -> str:
    """What the picture shows."""
    words = "Amplitude of the probe with the aberrations that are known, and positions of the scan."
    plan = PlanningStudy.model_validate(tables.study)
    residuals = aberrations.drawn(plan.instrument.aberrations, np.random.default_rng(DRAW))
    return words + (f" Last: with residuals of one draw, {aberrations.shown(residuals)}." if residuals else "")
