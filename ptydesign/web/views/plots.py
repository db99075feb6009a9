"""Bokeh figures that several views share: images with pixel values, and plain plots, in one look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import panel as pn
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import FIXED_SIZING_MODE
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    CustomJSTicker,
    CustomJSTickFormatter,
    HoverTool,
    LinearColorMapper,
    LogAxis,
    Range1d,
)
from bokeh.plotting import figure
from matplotlib import colormaps
from matplotlib.colors import to_hex

silence(FIXED_SIZING_MODE)  # of an image the frame has the fixed size, and its words go around it
GREYS = [f"#{g:02x}{g:02x}{g:02x}" for g in range(256)]
# Bokeh's own ticks of a logarithmic axis are even ones below two decades: crowded above, and none below.
LOG_TICKS = """
const [low, high] = [cb_data.range.min, cb_data.range.max]
if (!(low > 0) || !(high > low)) return []
const decades = Math.log10(high / low), found = []
if (decades < 0.5) {  // even ones
  const unit = 10 ** Math.floor(Math.log10((high - low) / 4))
  const step = [1, 2, 5, 10].map(m => m * unit).find(s => (high - low) / s < 6)
  for (let n = Math.ceil(low / step); n * step <= high; n++) found.push(n * step)
  return found
}
const steps = decades < 1 ? [1, 1.5, 2, 3, 5, 7] : decades < 2.5 ? [1, 2, 5] : [1]
const every = Math.ceil(decades / 7)
for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k++)
  if (k % every == 0) for (const m of steps) if (m * 10 ** k >= low && m * 10 ** k <= high) found.push(m * 10 ** k)
return found
"""
PLAIN_NUMBER = "return Number(tick.toPrecision(3)).toString()"
MOST_SHOWN = 640  # pixels of an image along an axis that are sent to a browser; more are averaged


def palette(name: str) -> list[str]:
    """256 colours of a map of matplotlib, or of greys."""
    return GREYS if name == "gray" else [to_hex(colour) for colour in colormaps[name](np.linspace(0, 1, 256))]


def plain(title: str = "", **options: Any) -> figure:
    """An empty plot."""
    options = {"height": 240, "tools": "pan,wheel_zoom,box_zoom,reset,save", "sizing_mode": "stretch_width"} | options
    plot = figure(title=title, **options)
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.title.text_font_size = "12.5px"
    plot.title.text_font_style = "bold"
    plot.outline_line_color = "#dfe5e9"
    plot.grid.grid_line_color = "#eef1f3"
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "12px"
        axis.minor_tick_line_color = None
        axis.axis_line_color = axis.major_tick_line_color = "#9aa7b1"
        if isinstance(axis, LogAxis):  # Bokeh's own words are powers of ten, also between two of them
            axis.ticker = CustomJSTicker(major_code=LOG_TICKS)
            axis.formatter = CustomJSTickFormatter(code=PLAIN_NUMBER)
    return plot


def same(one: Mapping[str, list], other: Mapping[str, list]) -> bool:
    """Whether two sources hold the same, so that a browser need not get it again."""
    return all(
        np.array_equal(a, b, equal_nan=True) for name in one for a, b in zip(one[name], other[name], strict=True)
    )


class Image:
    """A figure of one image (y, x) with square pixels, y pointing down, values under the pointer, and a colour bar.

    pixel: (y, x) size of a pixel; origin: (y, x) of the first pixel's corner; unit: of both. `show` changes the image.
    """

    def __init__(
        self,
        title: str,
        unit: str = "Å",
        value: str = "",
        colours: str = "gray",
        size: int = 300,
        ranges: tuple[Range1d, Range1d] | None = None,
        bar: bool = True,
    ):
        self._shape: tuple | None = None
        self._colours, self._gamma = palette(colours), 1.0
        self.keep_ranges = False  # of an image that follows another one's zoom
        self.mapper = LinearColorMapper(palette=self._colours, low=0, high=1, nan_color="#d8dee3")
        self.source = ColumnDataSource({"image": [np.zeros((1, 1))], "x": [0], "y": [0], "w": [1], "h": [1]})
        x_range, y_range = ranges or (Range1d(0, 1), Range1d(1, 0))
        self.figure = plain(
            title=title, frame_height=size, frame_width=size, sizing_mode="fixed", x_range=x_range, y_range=y_range,
            tools="pan,wheel_zoom,box_zoom,reset,save", active_scroll="wheel_zoom",
        )  # fmt: skip
        self.figure.update(width=None, height=None)  # they'd stretch the frame, and pixels would not be square
        self.figure.grid.visible = False
        self.figure.axis.major_label_text_font_size = "10px"
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = f"x ({unit})", f"y ({unit})"
        self.figure.min_border = 2
        self.figure.image("image", "x", "y", "w", "h", source=self.source, color_mapper=self.mapper, level="image")
        tips = [("value", "@image{0.0000 a}"), (f"x, y ({unit})", "$x{0.00}, $y{0.00}")]
        self.figure.add_tools(HoverTool(tooltips=tips))
        if bar:
            bar_ = ColorBar(color_mapper=self.mapper, width=8, title=value, title_text_font_size="10px", padding=4,
                            major_label_text_font_size="10px", title_text_font_style="normal")  # fmt: skip
            self.figure.add_layout(bar_, "right")

    @property
    def pane(self) -> pn.pane.Bokeh:
        """The figure, to be placed on a page."""
        return pn.pane.Bokeh(self.figure, margin=(4, 8, 4, 0))

    def show(
        self,
        image: np.ndarray,
        pixel: tuple[float, float] = (1.0, 1.0),
        origin: tuple[float, float] = (0.0, 0.0),
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Show an image; limits of its colours, or the percentiles that leave out a thousandth at either end."""
        image = np.asarray(image, np.float32)
        factor = -(-max(image.shape) // MOST_SHOWN)
        if factor > 1:
            ny, nx = (n // factor * factor for n in image.shape)
            image = image[:ny, :nx].reshape(ny // factor, factor, nx // factor, factor).mean(axis=(1, 3))
            pixel = (pixel[0] * factor, pixel[1] * factor)
        height, width = image.shape[0] * pixel[0], image.shape[1] * pixel[1]
        low, high = limits or self.percentiles(image)
        self.mapper.update(low=low, high=high)
        # with y pointing down, a figure's first row is at its top
        new = {"image": [image], "x": [origin[1]], "y": [origin[0]], "w": [width], "h": [height]}
        if not same(new, self.source.data):
            self.source.data = new
        if not self.keep_ranges and self._shape != (height, width, *origin):  # else a zoom stays
            self._shape = (height, width, *origin)
            middle, half = (origin[0] + height / 2, origin[1] + width / 2), max(height, width) / 2
            left, right, top, bottom = middle[1] - half, middle[1] + half, middle[0] - half, middle[0] + half
            self.figure.x_range.update(start=left, end=right, reset_start=left, reset_end=right)
            self.figure.y_range.update(start=bottom, end=top, reset_start=bottom, reset_end=top)

    def set_gamma(self, gamma: float) -> None:
        """Bend the colours: below 1, small values show more."""
        if gamma != self._gamma:
            self._gamma = gamma
            places = np.rint(np.linspace(0, 1, 256) ** gamma * 255).astype(int)
            self.mapper.palette = [self._colours[place] for place in places]

    @staticmethod
    def percentiles(image: np.ndarray, low: float = 0.1, high: float = 99.9) -> tuple[float, float]:
        """Limits that leave out the extremes."""
        finite = image[np.isfinite(image)]
        if not finite.size:
            return 0.0, 1.0
        ends = np.percentile(finite, (low, high))
        return float(ends[0]), float(ends[1]) if ends[1] > ends[0] else float(ends[0]) + 1e-9
