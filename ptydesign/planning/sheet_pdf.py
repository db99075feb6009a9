"""The settings sheet as one page of PDF (A4)."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ptydesign import drawing
from ptydesign.drawing import GREY, PALE
from ptydesign.io import atomic
from ptydesign.planning.tables import PlanningTables

A4_IN = (8.27, 11.69)
LEFT, RIGHT = 0.08, 0.94
USUAL_LINES = 8  # of what to expect, for which the page has room
LINE = 0.0152  # height of a line of text, of the page


def write_pdf(path: Path, content: dict[str, Any], tables: PlanningTables) -> None:
    """Write the page."""
    with drawing.styled():
        figure = draw_page(content, tables)
        with atomic(path) as temporary:
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Producer": None})


def draw_page(content: dict[str, Any], tables: PlanningTables) -> Figure:
    """The page as a figure."""
    figure = drawing.new_figure(*A4_IN, automatic=False)
    place = 0.97
    figure.text(LEFT, place, content["title"], fontsize=13, fontweight="bold", va="top")
    place -= 0.026
    figure.text(LEFT, place, f"{content['instrument']}, {content['detector']}", fontsize=9, color=GREY, va="top")
    place = _settings(figure, content["settings"], place - 0.026)
    place = _pictures(figure, tables, place - 0.008, _picture_size(content["expected"]))
    place = _heading(figure, "What to expect", place - 0.008)
    for name, value in content["expected"]:
        figure.text(LEFT, place, name, fontsize=8, va="top")
        place = _wrapped(figure, value, 0.37, place, 82)
    place = _heading(figure, "Write down", place - 0.012)
    for line in content["checklist"]:
        figure.text(LEFT, place, "□", fontsize=9, va="top")
        place = _wrapped(figure, line, LEFT + 0.022, place, 118)
    place = _heading(figure, "On the day", place - 0.012)
    for line in content["commands"]:
        figure.text(LEFT, place, line, fontsize=7.5, family="DejaVu Sans Mono", va="top")
        place -= LINE
    foot = (
        f"{content['study']}, ptydesign {content['version']}, seed {content['seed']}, settings {content['hash'][:12]}"
    )
    figure.text(LEFT, 0.015, foot, fontsize=6.5, color=GREY)
    return figure


def _heading(figure: Figure, words: str, place: float) -> float:
    figure.text(LEFT, place, words, fontsize=10, fontweight="bold", va="top")
    return place - 0.02


def _wrapped(figure: Figure, words: str, left: float, place: float, width: int) -> float:
    for line in textwrap.wrap(words, width) or [""]:
        figure.text(left, place, line, fontsize=8, va="top")
        place -= LINE * 0.92
    return place - 0.002


def _settings(figure: Figure, rows: list[dict[str, str]], place: float) -> float:
    columns = (LEFT, 0.27, 0.50, 0.66)
    for left, words in zip(columns, ("", "set", "keeps 95 %, if known", ""), strict=True):
        figure.text(left, place, words, fontsize=7.5, color=GREY, va="top")
    place -= 0.018
    for number, row in enumerate(rows):
        notes, ranges = textwrap.wrap(row["note"], 42) or [""], textwrap.wrap(row["tolerance"], 20) or [""]
        height = LINE * max(1, 0.75 * len(notes), 0.9 * len(ranges)) + 0.005
        if number % 2 == 0:
            axes = figure.add_axes((LEFT - 0.01, place - height + 0.003, RIGHT - LEFT + 0.02, height))
            axes.set_axis_off()
            axes.add_patch(Rectangle((0, 0), 1, 1, color=PALE, transform=axes.transAxes))
        figure.text(columns[0], place, row["name"], fontsize=9, va="top")
        figure.text(columns[1], place, row["value"], fontsize=9, fontweight="bold", va="top")
        for offset, line in enumerate(ranges):
            figure.text(columns[2], place - 0.9 * LINE * offset, line, fontsize=8.5, va="top")
        for offset, line in enumerate(notes):
            figure.text(columns[3], place - 0.75 * LINE * offset, line, fontsize=7, va="top")
        place -= height
    return place


def _picture_size(facts: list[tuple[str, str]]) -> float:
    """Width of a picture as part of the page: smaller where there is more than usual to say."""
    lines = sum(len(textwrap.wrap(value, 82)) for _, value in facts)
    return max(0.235 - max(lines - USUAL_LINES, 0) * 0.8 * LINE * A4_IN[1] / A4_IN[0], 0.14)


def _pictures(figure: Figure, tables: PlanningTables, top: float, size: float) -> float:
    """Truth and predictions in a row."""
    from ptydesign.planning.figures import names_of

    gap = 0.265 - size
    height = size * A4_IN[0] / A4_IN[1]
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
        axes = figure.add_axes((LEFT + number * (size + gap), top - 0.02 - height, size, height))
        width_a, height_a = image.shape[1] * pixel_a[1], image.shape[0] * pixel_a[0]
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=(0, width_a, height_a, 0), interpolation="nearest")
        drawing.bare(axes)
        axes.set_title(words, fontsize=8)
        if number == 0:
            drawing.scale_bar(axes, width_a, height_a)
    figure.text(
        LEFT,
        top - 0.026 - height,
        f"phase, black {low:.2f} rad, white {high:.2f} rad",
        fontsize=6.5,
        color=GREY,
        va="top",
    )
    return top - 0.04 - height
