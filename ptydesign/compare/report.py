"""What a comparison shows: its tables, figures and page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ptydesign import drawing
from ptydesign.compare.config import WAYS
from ptydesign.compare.contrasts import CONTRASTS, contrast_sentences, contrast_table
from ptydesign.compare.signal import COLOURS, SPECTRUM, signal_table
from ptydesign.compare.tables import CompareTables, interval_text, value_text
from ptydesign.experiment.figures.reconstructions import show_image
from ptydesign.experiment.page import sample_text
from ptydesign.experiment.tables import extent_a
from ptydesign.study.draws import ALIKE, BETTER, OPEN, WORSE
from ptydesign.study.figures import Figure
from ptydesign.study.page import Cell, Page, Table
from ptydesign.study.quantities import dose_number, dose_text, fixed, number, score_label, words_and_unit
from ptydesign.study.tables import failures

if TYPE_CHECKING:
    from matplotlib import figure as mpl
    from matplotlib.axes import Axes

LEAST_IN, ROW_IN = 1.0, 0.2  # height of the scores' figure without rows, and of a row
LARGEST_IN, BESIDE_IN = 1.7, 1.1  # side of an image; what stands beside images
MARKERS = "osD^vP"


# figures


def _no_images(tables: CompareTables) -> str | None:
    return None if tables.images else "no first draw gave a reconstruction"


def _nothing(tables: CompareTables) -> str | None:
    if tables.way_word == WAYS[0]:
        return "protocols score in their own ways, so that only differences within one compare (contrasts)"
    return None if (tables["comparison"]["n"] > 0).any() else "nothing was scored"


def _score_caption(tables: CompareTables) -> str:
    first, label = tables.name(tables.pairs[0]), score_label(tables.scores[0])
    return (
        f"a: {label} of single draws (small dots), their means, and {tables.level} intervals of the means. "
        f"b: difference from {first}, draw by draw, with {tables.level} intervals; filled where the interval leaves "
        f"out zero. {tables.study['draws']} simulations with fresh noise of each design at each dose. All "
        "reconstructions of a design get the same patterns. Intervals are Student's, and each holds for itself."
    )


def _draw_scores(tables: CompareTables) -> mpl.Figure:
    """A row for each pair at each dose, from top to bottom."""
    score, pairs = tables.scores[0], tables.pairs
    height = LEAST_IN + ROW_IN * len(tables.doses) * (len(pairs) + 1)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, height)
    left, right = figure.subplots(1, 2, sharey=True)
    ticks: list[tuple[float, str]] = []
    for block, dose in enumerate(tables.doses):
        top = block * (len(pairs) + 1)
        ticks.append((top, dose_text(dose)))
        for place, pair in enumerate(pairs, start=top + 1):
            ticks.append((place, tables.name(pair)))
            _score_row(tables, (left, right), place, tables.row(score, dose, pair), tables.values(score, dose, pair))
    for index, (axes, label) in enumerate(
        ((left, score_label(score)), (right, f"Difference from {tables.name(pairs[0])}"))
    ):
        axes.set_xlabel(label)
        axes.grid(axis="x", color=drawing.PALE, lw=0.6)
        axes.set_axisbelow(True)
        axes.locator_params(axis="x", nbins=6)
        drawing.panel_letter(axes, index, dx_pt=-14)
    right.axvline(0, color=drawing.GREY, lw=0.8)
    left.set_yticks(*zip(*ticks, strict=True))
    for tick, (_, text) in zip(left.get_yticklabels(), ticks, strict=True):
        tick.set_fontweight("bold" if text in map(dose_text, tables.doses) else "normal")
    left.tick_params(axis="y", length=0)
    right.tick_params(axis="y", length=0, labelleft=False)
    left.set_ylim(len(ticks) - 0.4, -0.6)
    return figure


def _score_row(
    tables: CompareTables, axes: tuple[Axes, Axes], place: float, row: pd.Series, values: np.ndarray
) -> None:
    colour, marker = _look(tables, (row["design"], row[tables.way_word]))
    style = {"color": colour, "marker": marker, "ms": 4, "lw": 0, "elinewidth": 1, "capsize": 2}
    if not len(values[np.isfinite(values)]):
        axes[0].text(0.5, place, "no draw gave a score", transform=axes[0].get_yaxis_transform(), ha="center",
                     va="center", color=drawing.GREY)  # fmt: skip
        return
    axes[0].plot(values, np.full(len(values), place - 0.27), ".", color=colour, alpha=0.6, ms=3, mew=0)
    axes[0].errorbar(row["mean"], place, xerr=_half(row["mean"], row["low"]), **style)
    if np.isfinite(row["difference_mean"]):
        face = colour if row["verdict"] in (BETTER, WORSE) else "white"
        half = _half(row["difference_mean"], row["difference_low"])
        axes[1].errorbar(row["difference_mean"], place, xerr=half, mfc=face, **style)


def _half(mean: float, low: float) -> float | None:
    """Half an interval's width; None where there is none."""
    return mean - low if np.isfinite(low) else None


def _look(tables: CompareTables, pair: tuple[str, str]) -> tuple[str, str]:
    """Colour of the design and marker of the reconstruction."""
    designs = list(tables.study["designs"])
    return COLOURS[designs.index(pair[0]) % len(COLOURS)], MARKERS[tables.ways.index(pair[1]) % len(MARKERS)]


def _image_caption(tables: CompareTables) -> str:
    of = "design at each dose"
    if tables.way_word == WAYS[0]:
        of = f"design by each protocol at {dose_text(tables.doses[0])}"
    return (
        f"Phase of the first draw's reconstruction of each {of}, and the truth, band-limited to the "
        "reconstruction's pixel; phases of several slices are summed. All images share one phase range, that of the "
        "truths without 0.1 % at either end. Above each image its own SSIM, where that is what counts."
    )


@dataclass(frozen=True)
class _Grid:
    """What images stand where: words of rows and columns, and (dose, pair) of each place."""

    rows: list[str]
    columns: list[str]
    places: list[list[tuple[float, tuple[str, str]]]]


def _grid(tables: CompareTables) -> _Grid:
    """A row for each pair and a column for each dose; with protocols, rows of them and columns of designs."""
    if tables.way_word == WAYS[0]:
        designs, dose = list(tables.study["designs"]), tables.doses[0]
        places = [[(dose, (design, way)) for design in designs] for way in tables.ways]
        return _Grid([_broken(way) for way in tables.ways], [_broken(one) for one in designs], places)
    rows = [tables.name(pair).replace(" with ", "\n") for pair in tables.pairs]
    places = [[(dose, pair) for dose in tables.doses] for pair in tables.pairs]
    return _Grid(rows, list(map(dose_text, tables.doses)), places)


def _broken(name: str) -> str:
    """A name on lines of one word."""
    return name.replace("_", "\n")


def _draw_images(tables: CompareTables) -> mpl.Figure:
    """What `_grid` says, and the truth at the right."""
    grid = _grid(tables)
    truths = [group["arrays"]["truth"].ravel() for group in tables.images.values()]
    low, high = np.percentile(np.concatenate(truths), [0.1, 99.9])
    tall, wide = extent_a(next(iter(tables.images.values())), "truth")
    columns = len(grid.columns) + 1
    side = min(LARGEST_IN, (drawing.TWO_COLUMNS_IN - BESIDE_IN) / columns)
    width = side * columns + BESIDE_IN
    figure = drawing.new_figure(width, len(grid.rows) * (side * tall / wide + 0.18) + 0.25)
    panels = figure.subplots(len(grid.rows), columns, squeeze=False)
    picture = None
    for row, (words, places) in enumerate(zip(grid.rows, grid.places, strict=True)):
        groups = [tables.image(*place) for place in places]
        last = next((group for group in reversed(groups) if group is not None), None)
        for column, (group, array) in enumerate([*((group, "phase") for group in groups), (last, "truth")]):
            axes = panels[row, column]
            title = [[*grid.columns, "truth"][column]] if row == 0 else []
            if group is None:
                drawing.empty_panel(axes, "no reconstruction")
            else:
                picture = show_image(axes, group, array, (float(low), float(high)))
                ssim = group["attrs"].get("ssim") if array == "phase" else None
                title += [] if ssim is None else [f"SSIM {fixed(float(ssim), 3)}"]
            axes.set_title("\n".join(title), pad=3)
            if column == 0:
                axes.set_ylabel(words, fontweight="bold")
    bar = figure.colorbar(picture, ax=panels, shrink=min(1.0, 1.5 / (len(grid.rows) * side)), pad=0.01)
    bar.set_label("Phase (rad)")
    bar.outline.set_linewidth(0.4)
    return figure


FIGURES = (
    Figure("scores", "Scores and differences", _draw_scores, _score_caption, _nothing),
    CONTRASTS,
    SPECTRUM,
    Figure("reconstructions", "Reconstructions", _draw_images, _image_caption, _no_images),
)


# the page


def page(tables: CompareTables) -> Page:
    """What was asked and found."""
    draws = tables["draws"]
    where = [f"{tables.name((r['design'], r[tables.way_word]))} at {dose_text(r['dose_e_per_a2'])}"
             for _, r in draws.iterrows()]  # fmt: skip
    return Page(
        facts=_facts(tables),
        asked=[_designs(tables), _reconstructions(tables), *_protocols(tables)],
        sentences=list(sentences(tables)),
        found=[*contrast_table(tables), *(_scores(tables, score) for score in tables.scores), *signal_table(tables)],
        failures=failures(draws.assign(where=where), "where"),
        tried=len(draws),
        trials="tables/draws.csv",
    )


def _facts(tables: CompareTables) -> list[tuple[str, str]]:
    study = tables.study
    field = " × ".join(number(value) for value in reversed(study["experiment"]["field_of_view_a"]))
    return [
        ("Sample", sample_text(study["sample"])),
        ("Field of view", f"{field} Å (x × y)"),
        ("Doses", f"{', '.join(map(dose_number, tables.doses))} e/Å²"),
        ("Draws", f"{study['draws']} simulations with fresh noise of each design at each dose"),
        ("Compared with", tables.name(tables.pairs[0])),
        ("Intervals", f"{tables.level}, Student's"),
        ("Scale", study["scale"]),
    ]


def _designs(tables: CompareTables) -> Table:
    """What differs between designs, with the experiment's own value where one doesn't say."""
    study = tables.study
    names = list(dict.fromkeys(name for point in study["designs"].values() for name in point))
    rows = [
        [name, *(_value({**study["experiment"], **point}[one]) for one in names)]
        for name, point in study["designs"].items()
    ]
    return Table("Designs", ("Design", *(Cell(*words_and_unit(name)) for name in names)), rows)


def _value(value: float | None) -> str:
    return "–" if value is None else number(value, 4)


def _reconstructions(tables: CompareTables) -> Table:
    rows = []
    for name, plan in tables.study["reconstructions"].items():
        engines = [f"{e['engine']}, {e['sweeps']} sweeps, {e['noise']} noise" for e in plan["engines"]]
        rows.append((name, "; then ".join(engines), str(plan["object"]["slices"])))
    return Table("Reconstructions", ("Reconstruction", "Engines", "Slices"), rows, words=(0, 1))


def _protocols(tables: CompareTables) -> Iterator[Table]:
    if tables.way_word != WAYS[0]:
        return
    rows = []
    for name, one in tables.study["protocols"].items():
        changes = {**one["experiment"], **one["score"]}
        words = [f"{key}: {'null' if value is None else str(value).lower()}" for key, value in changes.items()]
        stops = ", ".join(map(str, one["scored_sweeps"]))
        rows.append((name, one["reconstruction"], "; ".join(words) or "–", stops or "the last sweep"))
    yield Table("Protocols", ("Protocol", "Reconstruction", "Changed", "Scored after"), rows, words=(0, 1, 2, 3))


def sentences(tables: CompareTables) -> Iterator[str]:
    """What is better and worse at each dose, and what may mislead."""
    if tables.way_word == WAYS[0]:
        yield from contrast_sentences(tables)
    else:
        yield from _compared(tables)
    lost = int((tables["draws"]["status"] != "ok").sum())
    if lost:
        yield (
            f"{lost} of {len(tables['draws'])} trials gave no score and are left out, so that what fails often looks "
            "better than it is."
        )


def _compared(tables: CompareTables) -> Iterator[str]:
    score, first = tables.scores[0], tables.pairs[0]
    for dose in tables.doses:
        found: dict[str, list[str]] = {}
        for pair in tables.pairs[1:]:
            row = tables.row(score, dose, pair)
            by = f" by {value_text(score, abs(row['difference_mean']))}" if row["verdict"] in (BETTER, WORSE) else ""
            found.setdefault(row["verdict"], []).append(tables.name(pair) + by)
        mean = tables.row(score, dose, first)["mean"]
        parts = [
            f"{word.capitalize()}: {', '.join(found[word])}." for word in (BETTER, WORSE, ALIKE, OPEN) if word in found
        ]
        value = f"is {value_text(score, mean)}" if np.isfinite(mean) else "is not known"
        yield f"At {dose_text(dose)} the {score_label(score)} of {tables.name(first)} {value}. {' '.join(parts)}"


def _scores(tables: CompareTables, score: str) -> Table:
    rows = []
    for dose in tables.doses:
        for pair in tables.pairs:
            row = tables.row(score, dose, pair)
            verdict = row["verdict"] if isinstance(row["verdict"], str) else "–"
            look = {BETTER: "yes", WORSE: "no"}.get(verdict, "")
            rows.append(
                (
                    dose_number(dose),
                    pair[0],
                    pair[1],
                    str(int(row["n"])),
                    Cell(value_text(score, row["mean"]), interval_text(score, row["low"], row["high"])),
                    value_text(score, row["std"]),
                    Cell(
                        value_text(score, row["difference_mean"]),
                        interval_text(score, row["difference_low"], row["difference_high"]),
                    ),
                    Cell(verdict, look=look),
                )
            )
    header = (Cell("Dose", "e/Å²"), "Design", tables.way_word.capitalize(), "n", "Mean", "Spread", "Difference",
              "Verdict")  # fmt: skip
    less = " Less is better." if score == "mse_rad2" else ""
    note = (
        f"Below means and differences: their {tables.level} intervals. Spread: standard deviation of draws. "
        f"Differences are from {tables.name(tables.pairs[0])}, draw by draw; better and worse where the interval "
        f"leaves out zero.{less} "
        "Each interval holds for itself: among many comparisons some look like differences by chance."
    )
    return Table(score_label(score), header, rows, note, words=(1, 2, 7))
