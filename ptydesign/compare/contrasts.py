"""What contrasts say: the difference of two designs by each protocol, in a figure, a table and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from ptydesign import drawing
from ptydesign.compare.tables import CompareTables, interval_text, value_text
from ptydesign.study.draws import ALIKE, BETTER, OPEN, WORSE
from ptydesign.study.figures import Figure
from ptydesign.study.page import Cell, Table
from ptydesign.study.quantities import dose_number, dose_text, score_label

if TYPE_CHECKING:
    from matplotlib import figure as mpl

PER_ROW = 3  # panels side by side
LEAST_IN, ROW_IN = 0.75, 0.26  # height of a panel without rows, and of a row
SPREAD = 0.5  # of a row's height, over which its doses lie
COLOURS = (*drawing.OKABE_ITO[:6], drawing.OKABE_ITO[7])  # yellow on white is hard to see
WORDS = {BETTER: "yes", WORSE: "no, the other one is better", ALIKE: "can't be told", OPEN: "no scores"}


def words_of(name: str) -> str:
    """A name from the file as words."""
    return name.replace("_", " ")


def _nothing(tables: CompareTables) -> str | None:
    if not tables.asked:
        return "the study has no contrasts"
    return None if (tables["contrasts"]["n"] > 0).any() else "nothing was scored"


def _caption(tables: CompareTables) -> str:
    pairs = "; ".join(f"{words_of(name)}: {a} less {b}" for name, (a, b) in tables.asked.items())
    return (
        f"Difference in {score_label(tables.scores[0])} of two designs by each {tables.way_word}, draw by draw, with "
        f"{tables.level} intervals (Student's) of {tables.study['draws']} draws; filled where the interval leaves out "
        f"zero. {pairs}. Each interval holds for itself."
    )


def _draw(tables: CompareTables) -> mpl.Figure:
    """A panel for each contrast, a row for each protocol, a colour for each dose."""
    score, names, ways = tables.scores[0], list(tables.asked), tables.ways
    lines = -(-len(names) // PER_ROW)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, lines * (LEAST_IN + ROW_IN * len(ways)) + 0.3)
    panels = figure.subplots(lines, min(PER_ROW, len(names)), sharey=True, squeeze=False)
    places = np.linspace(-SPREAD / 2, SPREAD / 2, len(tables.doses)) if len(tables.doses) > 1 else [0.0]
    for index, axes in enumerate(panels.flat):
        if index >= len(names):
            axes.axis("off")
            continue
        for colour, dose, shift in zip(COLOURS * len(tables.doses), tables.doses, places, strict=False):
            for row, way in enumerate(ways):
                found = tables.contrast(score, names[index], dose, way)
                if not np.isfinite(found["mean"]):
                    continue
                half = found["mean"] - found["low"] if np.isfinite(found["low"]) else None
                face = colour if found["verdict"] in (BETTER, WORSE) else "white"
                axes.errorbar(
                    found["mean"], row + shift, xerr=half, fmt="o", ms=4, color=colour, mfc=face, elinewidth=1
                )
        axes.axvline(0, color=drawing.GREY, lw=0.8)
        axes.grid(axis="x", color=drawing.PALE, lw=0.6)
        axes.set_axisbelow(True)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(words_of(names[index]), pad=3)
        axes.set_xlabel(f"Difference in {score_label(score)}")
        axes.tick_params(axis="y", length=0)
    panels[0, 0].set_yticks(range(len(ways)), [words_of(way) for way in ways])
    panels[0, 0].set_ylim(len(ways) - 0.5, -0.5)
    handles = [
        Line2D([], [], color=colour, marker="o", lw=0, ms=4, label=dose_text(dose))
        for colour, dose in zip(COLOURS * 9, tables.doses, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


CONTRASTS = Figure("contrasts", "Contrasts", _draw, _caption, _nothing)


def contrast_table(tables: CompareTables) -> Iterator[Table]:
    """A row for each contrast and dose, a column for each protocol."""
    if not tables.asked:
        return
    score, rows = tables.scores[0], []
    for name, (one, other) in tables.asked.items():
        for dose in tables.doses:
            cells = []
            for way in tables.ways:
                found = tables.contrast(score, name, dose, way)
                look = {BETTER: "yes", WORSE: "no"}.get(found["verdict"], "")
                interval = interval_text(score, found["low"], found["high"])
                cells.append(Cell(value_text(score, found["mean"]), interval, look=look))
            rows.append((Cell(words_of(name), f"{one} less {other}"), dose_number(dose), *cells))
    header = ("Contrast", Cell("Dose", "e/Å²"), *map(words_of, tables.ways))
    note = f"Below differences: their {tables.level} intervals."
    yield Table(f"Contrasts: differences in {score_label(score)}", header, rows, note)


def contrast_sentences(tables: CompareTables) -> Iterator[str]:
    """Of each contrast and dose: by which protocols the first design is better."""
    score = tables.scores[0]
    for name, (one, other) in tables.asked.items():
        for dose in tables.doses:
            found: dict[str, list[str]] = {}
            for way in tables.ways:
                found.setdefault(tables.contrast(score, name, dose, way)["verdict"], []).append(words_of(way))
            parts = [f"{WORDS[word]} by {', '.join(found[word])}" for word in WORDS if word in found]
            yield f"{words_of(name).capitalize()} ({one} better than {other}) at {dose_text(dose)}: {'; '.join(parts)}."
