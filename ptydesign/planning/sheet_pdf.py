"""The settings sheet as PDF: a page (A4) of what to set and to expect, and one of what to check first."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ptydesign import drawing
from ptydesign.drawing import GREY, PALE
from ptydesign.io import atomic
from ptydesign.planning import patterns
from ptydesign.planning.tables import PlanningTables
from ptydesign.study.quantities import fixed

A4_IN = (8.27, 11.69)
LEFT, RIGHT = 0.08, 0.94
TOP, FOOT = 0.97, 0.03  # between which all is, but for the line at the foot
LINE = 0.0152  # height of a line of text, of the page
MEASURED = 0.85  # where the operator writes
CHECK_PARTS, CHECK_LETTERS = ("what", "expect", "otherwise"), (22, 26, 37)
LARGE, SMALL = 0.235, 0.14  # width of a picture, of the page


def write_pdf(path: Path, content: dict[str, Any], tables: PlanningTables) -> None:
    """Write the pages."""
    with drawing.styled():
        figures = [draw_page(content, tables), draw_checks(content, tables)]
        with atomic(path) as temporary, PdfPages(temporary, metadata={"CreationDate": None, "Producer": None}) as pages:
            for figure in figures:
                drawing.literal(figure)
                pages.savefig(figure)


def draw_checks(content: dict[str, Any], tables: PlanningTables) -> Figure:
    """The back of the sheet, as a figure: the first ten minutes. Where there is much to say all of it is smaller."""
    page, left = _checks(content, tables)
    if left < FOOT:
        page, left = _checks(content, tables, (TOP - FOOT) / (TOP - left))
    return page.figure


def draw_page(content: dict[str, Any], tables: PlanningTables) -> Figure:
    """The page as a figure. Where there is much to say pictures are smaller, and then all of it is."""
    page, left = _draw(content, tables)
    if left < FOOT:
        size = max(LARGE - (FOOT - left) * A4_IN[1] / A4_IN[0], SMALL)
        page, left = _draw(content, tables, size)
        if left < FOOT:
            page, left = _draw(content, tables, size, (TOP - FOOT) / (TOP - left))
    return page.figure


@dataclass(frozen=True)
class _Page:
    """The page, drawn from the top; scale: of all heights and letters."""

    figure: Figure
    scale: float

    def text(self, left: float, place: float, words: str, size: float, **look: Any) -> None:
        """A line whose upper edge is at `place`."""
        self.figure.text(left, place, words, fontsize=size * self.scale, va="top", **look)

    def band(self, top: float, height: float) -> None:
        """A pale row from `top` down, as wide as the page."""
        axes = self.figure.add_axes((LEFT - 0.01, top - height, RIGHT - LEFT + 0.02, height))
        axes.set_axis_off()
        axes.add_patch(Rectangle((0, 0), 1, 1, color=PALE, transform=axes.transAxes))

    def heading(self, words: str, place: float) -> float:
        """A heading; returns the place below it, as all others do."""
        self.text(LEFT, place, words, 10, fontweight="bold")
        return place - 0.02 * self.scale

    def blanks(self, names: tuple[str, ...], lefts: tuple[float, ...], place: float) -> None:
        """Names on one line, each with a line to write on up to the next."""
        for name, left, end in zip(names, lefts, (*(left - 0.015 for left in lefts[1:]), RIGHT), strict=True):
            self.text(left, place, name, 7.5, color=GREY)
            self.rule(left + 0.012 + 0.0075 * len(name) * self.scale, end, place)

    def rule(self, left: float, right: float, place: float) -> None:
        """A line to write on, under a line of text whose upper edge is at `place`."""
        y = place - LINE * 0.85 * self.scale
        self.figure.add_artist(Line2D((left, right), (y, y), color=GREY, lw=0.5))

    def wrapped(self, words: str, left: float, place: float, width: int) -> float:
        """A paragraph of lines of at most `width` letters."""
        for line in textwrap.wrap(words, width) or [""]:
            self.text(left, place, line, 8)
            place -= LINE * 0.92 * self.scale
        return place - 0.002 * self.scale


def _draw(
    content: dict[str, Any], tables: PlanningTables, size: float = LARGE, scale: float = 1.0
) -> tuple[_Page, float]:
    """The page, and the place down to which it is filled. size: width of a picture at scale 1."""
    page = _Page(drawing.new_figure(*A4_IN, automatic=False), scale)
    page.text(LEFT, TOP, content["title"], 13, fontweight="bold")
    place = TOP - 0.026 * scale
    page.text(LEFT, place, f"{content['instrument']}, {content['detector']}", 9, color=GREY)
    page.blanks(("Date", "Name", "Specimen"), (0.50, 0.64, 0.80), place)
    place = _settings(page, content["settings"], place - 0.026 * scale)
    place = _pictures(page, tables, place - 0.008 * scale, size * scale)
    place = page.heading("What to expect", place - 0.008 * scale)
    for name, value in content["expected"]:
        page.text(LEFT, place, name, 8)
        place = page.wrapped(value, 0.37, place, 82)
    place = page.heading("Write down", place - 0.012 * scale)
    for line in content["checklist"]:
        page.text(LEFT, place, "□", 9)
        place = page.wrapped(line, LEFT + 0.022, place, 118)
    place = page.heading("On the day", place - 0.012 * scale)
    for line in content["commands"]:
        page.text(LEFT, place, line, 7.5, family="DejaVu Sans Mono")
        place -= LINE * scale
    _footed(page, content)
    return page, place


def _footed(page: _Page, content: dict[str, Any]) -> Figure:
    """The page with its foot: what made it."""
    made = f"ptydesign {content['version']}, seed {content['seed']}, settings {content['hash'][:12]}"
    page.figure.text(LEFT, 0.015, f"{content['study']}, {made}", fontsize=6.5, color=GREY)
    return page.figure


def _settings(page: _Page, rows: list[dict[str, str]], place: float) -> float:
    """The table of what to set."""
    columns, scale = (LEFT, 0.24, 0.465, 0.62, MEASURED), page.scale
    for left, words in zip(columns, ("", "set", "keeps 95 %, if known", "", "measured"), strict=True):
        page.text(left, place, words, 7.5, color=GREY)
    place -= 0.018 * scale
    for number, row in enumerate(rows):
        notes, ranges = textwrap.wrap(row["note"], 34) or [""], _ranges(row["tolerance"])
        height = (LINE * max(1, 0.75 * max(len(notes), len(ranges) + 0.2)) + 0.005) * scale
        if number % 2 == 0:
            page.band(place + 0.003 * scale, height)
        page.text(columns[0], place, row["name"], 9)
        page.text(columns[1], place, row["value"], 9, fontweight="bold")
        for offset, line in enumerate(ranges):
            page.text(columns[2], place - 0.75 * LINE * scale * offset, line, 7 if offset else 8.5)
        for offset, line in enumerate(notes):
            page.text(columns[3], place - 0.75 * LINE * scale * offset, line, 7)
        page.rule(MEASURED, RIGHT, place)
        place -= height
    return place


def _checks(content: dict[str, Any], tables: PlanningTables, scale: float = 1.0) -> tuple[_Page, float]:
    """The back, and the place down to which it is filled."""
    page = _Page(drawing.new_figure(*A4_IN, automatic=False), scale)
    page.text(LEFT, TOP, "The first ten minutes", 13, fontweight="bold")
    place = TOP - 0.026 * scale
    page.text(LEFT, place, content["title"], 9, color=GREY)
    place -= 0.03 * scale
    columns = (LEFT, 0.27, 0.53, MEASURED)
    for left, words in zip(columns, ("look at", "expect", "if it isn't so", "measured"), strict=True):
        page.text(left, place, words, 7.5, color=GREY)
    place -= 0.02 * scale
    for number, check in enumerate(content["first_minutes"]):
        parts = [textwrap.wrap(check[name], width) for name, width in zip(CHECK_PARTS, CHECK_LETTERS, strict=True)]
        height = (LINE * max(map(len, parts)) + 0.014) * scale
        if number % 2 == 0:
            page.band(place + 0.007 * scale, height)
        for left, lines, weight in zip(columns, parts, ("normal", "bold", "normal"), strict=False):
            for offset, line in enumerate(lines):
                page.text(left, place - LINE * scale * offset, line, 9, fontweight=weight)
        page.rule(MEASURED, RIGHT, place)
        place -= height
    if patterns.GROUP in tables.images:
        place = _patterns(page, tables, place - 0.012 * scale)
    _footed(page, content)
    return page, place


def _patterns(page: _Page, tables: PlanningTables, top: float) -> float:
    """The patterns to expect, in a row."""
    size = LARGE * page.scale
    height = size * A4_IN[0] / A4_IN[1]
    for number, name in enumerate(patterns.NAMES):
        axes = page.figure.add_axes((LEFT + number * 0.265, top - 0.02 * page.scale - height, size, height))
        patterns.show_pattern(axes, tables, name)
        axes.title.set_fontsize(8 * page.scale)
    place = top - 0.032 * page.scale - height
    return page.wrapped(patterns.caption(tables), LEFT, place, 118)


def _ranges(tolerance: str) -> list[str]:
    """A tolerance, and below it in smaller letters what ends it."""
    kept, bracket, why = tolerance.partition(" (")
    return [kept, *textwrap.wrap(bracket.strip() + why, 28)]


def _pictures(page: _Page, tables: PlanningTables, top: float, size: float) -> float:
    """Truth and predictions in a row."""
    from ptydesign.planning.figures import names_of

    height, scale = size * A4_IN[0] / A4_IN[1], page.scale
    shown = tables.images.get("recommended") or tables.images.get("expert")
    truth = shown["arrays"]["truth"]
    low, high = np.percentile(truth, [0.5, 99.8])
    panels = [("truth", truth, shown["attrs"]["pixel_a"])]
    for name, called in names_of(tables).items():
        item = tables.images.get(name)
        if item is not None:
            words = f"{called}: SSIM {item['attrs']['ssim']:.2f}"
            panels.append((words, item["arrays"]["phase"], item["attrs"]["pixel_a"]))
    for number, (words, image, pixel_a) in enumerate(panels):
        axes = page.figure.add_axes((LEFT + number * 0.265, top - 0.02 * scale - height, size, height))
        width_a, height_a = image.shape[1] * pixel_a[1], image.shape[0] * pixel_a[0]
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=(0, width_a, height_a, 0), interpolation="nearest")
        drawing.bare(axes)
        axes.set_title(words, fontsize=8 * scale)
        if number == 0:
            drawing.scale_bar(axes, width_a, height_a)
    words = f"Figure 1. {_caption(low, high)} The report (report.html) has all figures and tables."
    page.text(LEFT, top - 0.026 * scale - height, words, 6.5, color=GREY)
    return top - 0.04 * scale - height


def _caption(low_rad: float, high_rad: float) -> str:
    """What the pictures of the sheet show, with their range of grey."""
    low, high = (fixed(round(value, 2) + 0.0, 2) for value in (low_rad, high_rad))
    return f"Phase of the sample and of its simulated reconstructions, black {low} rad, white {high} rad."
