"""HTML of data, plans, states, results and designs: a small picture and the numbers that matter."""

from __future__ import annotations

import base64
import io as text_io
from functools import singledispatch
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ptydesign import drawing
from ptydesign.pictures import panels
from ptydesign.pictures.region import flattened, phase_rad, scanned_part
from ptydesign.planning.api import Design
from ptydesign.reconstruct.plan import Plan
from ptydesign.study.quantities import number, words_and_unit
from ptydesign.types import Dataset, ReconState, Reconstruction
from ptydesign.units import MRAD, NM
from ptydesign.waves import all_modes

MOST_PATTERNS = 256  # of which the mean is shown: a measurement may be larger than memory
DPI = 110


@singledispatch
def html_of(item: Any) -> str:
    """HTML of anything that shows itself."""
    return f"<pre>{escape(repr(item))}</pre>"


@html_of.register
def _(item: Dataset) -> str:
    count, ny, nx = item.patterns.shape
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_PATTERNS)).astype(int))
    mean = np.fft.fftshift(np.mean(np.asarray(item.patterns[chosen], float), axis=0))
    with drawing.styled():
        figure = drawing.new_figure(4.4, 2.0)
        left, right = figure.subplots(1, 2)
        left.imshow(np.sqrt(mean), cmap="magma")
        left.set_title("√ of the mean pattern")
        drawing.bare(left)
        positions = np.asarray(item.positions_a)
        right.plot(positions[:, 1], positions[:, 0], ".", ms=1.5, color=drawing.BLUE)
        right.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal", title="Positions")
        right.invert_yaxis()
        picture = _png(figure)
    rows = {
        "Patterns": f"{count:,} of {ny} × {nx} px, {item.patterns.dtype}",
        "Pixel": f"{number(item.grid.pixel_a[0])} × {number(item.grid.pixel_a[1])} Å",
        "Beam energy": f"{number(item.voltage_kv)} keV",
        "Counts of a pattern": number(float(mean.sum())),
        "Masked": f"{1 - float(np.mean(item.mask)):.1%}",
    }
    if item.optics is not None:
        rows["Aperture"] = f"{number(item.optics.semiangle_rad / MRAD)} mrad"
        rows["Defocus"] = f"{number(item.optics.defocus_a / NM)} nm"
    return _block("Dataset", rows, picture)


@html_of.register
def _(item: ReconState) -> str:
    with drawing.styled():
        figure = drawing.new_figure(4.4, 2.1)
        left, right = figure.subplots(1, 2)
        _draw_phase(figure, left, item)
        pixel = tuple(float(p) for p in np.asarray(item.pixel_a))
        panels.image_in_a(right, panels.complex_colours(all_modes(item.probe)[0]), pixel)
        right.set_title("First probe mode")
        picture = _png(figure)
    return _block("Reconstruction's state", _state_rows(item), picture)


@html_of.register
def _(item: Reconstruction) -> str:
    loss = np.asarray(item.history["loss"])
    with drawing.styled():
        figure = drawing.new_figure(4.8, 2.1)
        left, right = figure.subplots(1, 2)
        _draw_phase(figure, left, item.state)
        right.plot(np.arange(1, len(loss) + 1), loss, color=drawing.BLUE)
        right.set(xlabel="Sweep", ylabel="Loss per count")
        picture = _png(figure)
    engines = ", ".join(str(engine["engine"]) for engine in item.plan["engines"])
    rows = {
        "Ended": item.outcome.words.capitalize(),
        "Loss": number(float(loss[-1]), 4) if len(loss) else "–",
        "Engines": engines,
        **_state_rows(item.state),
        "Seed": str(item.seed),
    }
    return _block("Reconstruction", rows, picture)


@html_of.register
def _(item: Plan) -> str:
    rows = {}
    for place, engine in enumerate(item.engines, 1):
        given = engine.model_dump(mode="json", exclude_defaults=True, exclude={"engine"})
        rows[f"{place}. {engine.engine}"] = ", ".join(f"{name} {value}" for name, value in given.items())
    rows["Probe"] = f"{1 + len(item.probe.mode_powers)} modes"
    rows["Object"] = f"{item.object.slices} slices" if item.object.slices > 1 else "1 slice"
    return _block("Plan", rows)


@html_of.register
def _(item: Design) -> str:
    rows = {}
    tolerance = item.tolerance
    for name, value in item.settings.items():
        words, unit = words_and_unit(name)
        text = f"{number(value, 4)} {unit}" if isinstance(value, int | float) else escape(str(value))
        if name in tolerance:
            text += f" ({number(tolerance[name]['low'])} to {number(tolerance[name]['high'])})"
        rows[words] = text
    image = next((a for a in item.results.images["recommended"]["arrays"].values() if np.ndim(a) == 2), None)
    picture = ""
    if image is not None:
        with drawing.styled():
            figure = drawing.new_figure(2.2, 2.2)
            axes = figure.subplots()
            axes.imshow(np.asarray(image, float), cmap="gray")
            axes.set_title("Simulated at this setting")
            drawing.bare(axes)
            picture = _png(figure)
    return _block(f"Design: {item.results.study.get('title', '')}", rows, picture)


def _state_rows(state: ReconState) -> dict[str, str]:
    slices, ny, nx = state.object.shape
    pixel = np.asarray(state.pixel_a)
    return {
        "Object": f"{slices} × {ny} × {nx} px of {number(float(pixel[0]))} Å",
        "Probe modes": " × ".join(map(str, state.probe.shape[:-2])),
        "Positions": f"{len(state.positions_px):,}",
    }


def _draw_phase(figure: Figure, axes: Any, state: ReconState) -> None:
    object_ = np.asarray(state.object)
    rows, columns = scanned_part(np.asarray(state.positions_px), object_.shape[-2:])
    total = np.prod(object_, axis=0, keepdims=True)[:, rows, columns]
    pixel = tuple(float(p) for p in np.asarray(state.pixel_a))
    shown = panels.image_in_a(axes, phase_rad(flattened(total))[0], pixel, cmap="gray")
    panels.colour_bar(figure, shown, axes, "Phase (rad)")


def _png(figure: Figure) -> str:
    buffer = text_io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _block(title: str, rows: dict[str, str], picture: str = "") -> str:
    lines = "".join(
        f'<tr><td style="text-align:left;padding:1px 12px 1px 0">{escape(name)}</td>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return (
        f'<div style="display:flex;gap:16px;align-items:flex-start;flex-wrap:wrap"><div><b>{escape(title)}</b>'
        f"<table>{lines}</table></div>{picture}</div>"
    )
