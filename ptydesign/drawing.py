"""The look of all figures, and saving them: column widths, colours, scale bars, panel letters."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from ptydesign.io import atomic

ONE_COLUMN_IN, TWO_COLUMNS_IN = 3.4, 7.0
DPI = 200
# Okabe & Ito, "Color Universal Design" (2008): told apart with every common colour vision deficiency.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
BLUE, VERMILLION, GREEN, ORANGE = OKABE_ITO[:4]
GREY, PALE = "#6E6E6E", "#ECECEC"
# Order of elements' colours differs: neighbours in a compound must differ in lightness too.
ELEMENT_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#000000")

FONT = "DejaVu Sans"
WIDE_FONTS = ("Noto Sans", "Noto Sans CJK JP", "Droid Sans Fallback", "WenQuanYi Zen Hei", "Unifont")

# Suffix -> metadata that would differ from run to run, left out.
_FORMATS = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
_RC = {
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2.0,
    "hatch.linewidth": 0.5,
    "image.origin": "upper",
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,  # text stays text in editors
    "svg.hashsalt": "ptydesign",
    "text.usetex": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """All figures are made and saved inside this context, whatever a user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        mpl.rcParams["font.family"] = [FONT, *_fallbacks()]
        yield


@functools.cache
def _fallbacks() -> tuple[str, ...]:
    """Fonts of this machine for letters that FONT lacks."""
    have = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in WIDE_FONTS if name in have)


def new_figure(width_in: float, height_in: float, automatic: bool = True) -> Figure:
    """An empty figure; `automatic` lays the axes out so that nothing overlaps."""
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained" if automatic else None)
    FigureCanvasAgg(figure)
    if automatic:
        figure.get_layout_engine().set(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.04)
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write name.png and name.pdf, each under a temporary name first; equal figures give equal bytes."""
    paths = []
    literal(figure)
    for suffix, metadata in _FORMATS.items():
        path = folder / f"{name}.{suffix}"
        with atomic(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=DPI, metadata=metadata)
        paths.append(path)
    return paths


def literal(figure: Figure) -> None:
    """Show all words of a figure as they are: a `$` in a title or a name begins no formula. Powers of ten at ticks of
    logarithmic axes are formulas."""
    powers = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = axis.get_ticklabels(which="both")  # makes them, if they aren't there yet
            if isinstance(axis.get_major_formatter(), LogFormatter):
                powers.update(map(id, labels))
    for text in figure.findobj(Text):
        text.set_parse_math(id(text) in powers)


def draw_all(figures: Mapping[str, Callable[[], Figure | None]], results: Path) -> list[Path]:
    """Draw and save figures, by their file names, into results/figures; returns the paths written.

    A figure whose function returns None can't be drawn: its file of an earlier run is removed.
    """
    folder, paths = Path(results) / "figures", []
    for name, draw in figures.items():
        with styled():
            figure = draw()
            if figure is not None:
                paths += save(figure, folder, name)
        if figure is None:
            for suffix in _FORMATS:
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    return paths


def panel_letter(axes: Axes, index: int, x: float = 0.0, y: float = 1.0, dx_pt: float = -24, dy_pt: float = 5) -> None:
    """Bold a, b, c ... outside the upper left corner."""
    letter = chr(ord("a") + index) if index < 26 else f"a{chr(ord('a') + index - 26)}"
    axes.annotate(
        letter,
        (x, y),
        xycoords="axes fraction",
        xytext=(dx_pt, dy_pt),
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
        ha="left",
        va="bottom",
        annotation_clip=False,
    )


def scale_bar(axes: Axes, extent_x_a: float, extent_y_a: float, fraction: float = 0.34) -> float:
    """A bar in the lower left corner of an image drawn in angstrom, y pointing down. Returns its length in angstrom."""
    length = nice_length(extent_x_a * fraction)
    x, y = 0.06 * extent_x_a, extent_y_a - 0.06 * extent_x_a
    outline = [withStroke(linewidth=3.4, foreground="black")]
    axes.plot([x, x + length], [y, y], color="white", lw=2, solid_capstyle="butt", path_effects=outline)
    words = f"{length / 10:g} nm" if length >= 10 else f"{length:g} Å"
    axes.annotate(
        words,
        (x + length / 2, y),
        xytext=(0, 2.5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color="white",
        fontsize=6.5,
        fontweight="bold",
        path_effects=[withStroke(linewidth=1.8, foreground="black")],
    )
    return length


def nice_length(largest: float) -> float:
    """The largest of 1, 2, 5 x 10^n that is not above `largest`."""
    power = 10.0 ** math.floor(math.log10(largest))
    return max(step * power for step in (1, 2, 5) if step * power <= largest * (1 + 1e-9))


def empty_panel(axes: Axes, words: str) -> None:
    """A pale panel that says why it is empty."""
    axes.set_facecolor(PALE)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=7)


def bare(axes: Axes) -> None:
    """No ticks, thin frame: for images."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.4)


def cell_edges(values: Iterable[float], log: bool = False) -> np.ndarray:
    """Edges of cells around sorted values: midpoints (geometric if `log`); the outer cells are symmetric."""
    centres = np.asarray(list(values), dtype=float)
    log = log and bool(np.all(centres > 0))
    work = np.log(centres) if log else centres
    if len(work) == 1:
        half = 0.5 if log else 0.5 * max(abs(work[0]) * 0.1, 1e-9)
        edges = np.array([work[0] - half, work[0] + half])
    else:
        middle = (work[1:] + work[:-1]) / 2
        edges = np.concatenate([[2 * work[0] - middle[0]], middle, [2 * work[-1] - middle[-1]]])
    return np.exp(edges) if log else edges
