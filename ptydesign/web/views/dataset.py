"""A dataset: its patterns one by one, their mean, where each was taken, and how many counts it has."""

from __future__ import annotations

from html import escape

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, TapTool

from ptydesign import io
from ptydesign.drawing import VERMILLION
from ptydesign.errors import InputError
from ptydesign.types import Dataset
from ptydesign.units import MRAD, wavelength_a
from ptydesign.web.site import Site
from ptydesign.web.views import plots, shell

SIZE = 300
MOST_MEAN = 400  # patterns of the mean: a measurement may be larger than memory


def view(site: Site) -> pn.Template:
    """The page of the dataset that the address names."""
    name = shell.query("run")
    try:
        path = site.folder.find(name)
        content = View(io.read_dataset(path, mapped=True))
    except InputError as error:
        return shell.page("Dataset", "/", str(site.folder.path), shell.html(shell.error(str(error))))
    return shell.page(name, "/", str(site.folder.path), shell.html(f"<h1>{escape(name)}</h1>"), content.layout)


class View:
    """The view of one dataset; also a widget of a notebook."""

    def __init__(self, data: Dataset):
        self.data = data
        count = len(data.patterns)
        self.number = pn.widgets.IntSlider(name="Pattern", start=0, end=max(count - 1, 1), value=count // 2, width=330)
        self.root = pn.widgets.Checkbox(name="square root of the counts", value=True, margin=(28, 10))
        self.one = plots.Image("Pattern", unit="mrad", colours="viridis", size=SIZE)
        ranges = self.one.figure.x_range, self.one.figure.y_range
        self.mean = plots.Image("Mean pattern", unit="mrad", colours="viridis", size=SIZE, ranges=ranges)
        positions = np.asarray(data.positions_a)
        self.source = ColumnDataSource({"x": positions[:, 1], "y": positions[:, 0]})
        self.chosen = ColumnDataSource({"x": [], "y": []})
        self.map = plots.plain("Positions: choose one", height=SIZE + 66, width=SIZE + 90, sizing_mode="fixed",
                               match_aspect=True, tools="pan,wheel_zoom,tap,reset")  # fmt: skip
        self.map.y_range.flipped = True
        self.map.xaxis.axis_label, self.map.yaxis.axis_label = "x (Å)", "y (Å)"
        self.map.scatter("x", "y", source=self.source, size=5)
        self.map.scatter("x", "y", source=self.chosen, size=11, color=VERMILLION)
        self.map.select_one(TapTool)
        self.source.selected.on_change("indices", self._tapped)
        chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_MEAN)).astype(int))
        self._mean = np.mean(np.asarray(data.patterns[chosen], float), axis=0)
        for widget in (self.number, self.root):
            widget.param.watch(lambda _: self.show(), "value")
        self.layout = pn.Column(
            pn.Row(self.number, self.root),
            shell.wrapping(self.one.pane, self.mean.pane, pn.pane.Bokeh(self.map)),
        )
        self.show()

    def show(self) -> None:
        """Show the chosen pattern."""
        data, number = self.data, min(self.number.value, len(self.data.patterns) - 1)
        pixel = tuple(wavelength_a(data.voltage_kv) * q / MRAD for q in data.grid.reciprocal_pixel)
        origin = tuple(-(n // 2 + 0.5) * p for n, p in zip(data.grid.shape, pixel, strict=True))
        pattern = np.asarray(data.patterns[number], float)
        for image, values in ((self.one, pattern), (self.mean, self._mean)):
            values = np.fft.fftshift(np.sqrt(values) if self.root.value else values)
            image.show(values, pixel, origin, (0.0, max(float(np.percentile(values, 99.95)), 1e-9)))
        self.one.figure.title.text = f"Pattern {number}: {pattern.sum():,.0f} counts"
        y, x = np.asarray(data.positions_a)[number]
        self.chosen.data = {"x": [x], "y": [y]}

    def _tapped(self, attribute: str, old: list, new: list) -> None:
        if new:
            self.number.value = new[0]
