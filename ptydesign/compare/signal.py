"""Signal, bias and scatter of what is compared, by spatial frequency, from draws that differ in their noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ptydesign import drawing
from ptydesign.compare.tables import CompareTables
from ptydesign.experiment.carried import signal_of
from ptydesign.experiment.figures.spectrum import WHAT, Curve, draw_panels
from ptydesign.study.figures import Figure
from ptydesign.study.page import Cell, Table
from ptydesign.study.quantities import dose_number, fixed

if TYPE_CHECKING:
    from matplotlib import figure as mpl

DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))  # of protocols, or of reconstructions
COLOURS = (*drawing.OKABE_ITO[:6], drawing.OKABE_ITO[7])  # of designs; yellow on white is hard to see


def _nothing(tables: CompareTables) -> str | None:
    frame = tables["spectrum"]
    return "it needs two draws or more with a score" if frame is None or frame.empty else None


def _caption(tables: CompareTables) -> str:
    return (
        "Power of the signal over that of the noise in one image, by ring of spatial frequency, from "
        f"{tables.study['draws']} draws with fresh noise each. Below the grey line a period is lost in noise. {WHAT}"
    )


def _draw(tables: CompareTables) -> mpl.Figure:
    designs = list(tables.study["designs"])

    def curves(dose: float) -> Iterator[Curve]:
        for pair in tables.pairs:
            rows = tables.rings(dose, pair)
            if rows is not None:
                colour = COLOURS[designs.index(pair[0]) % len(COLOURS)]
                yield Curve(tables.name(pair), colour, DASHES[tables.ways.index(pair[1]) % len(DASHES)], rows)

    return draw_panels({dose: list(curves(dose)) for dose in tables.doses})


SPECTRUM = Figure("spectrum", "Signal and noise by spatial frequency", _draw, _caption, _nothing)


def signal_table(tables: CompareTables) -> Iterator[Table]:
    """A row for each dose and pair."""
    rows = []
    for dose in tables.doses:
        for pair in tables.pairs:
            found, image = tables.rings(dose, pair), tables.image(dose, pair)
            if found is None or image is None:
                continue
            signal = signal_of(found, image["attrs"]["pixel_a"])
            rows.append((dose_number(dose), *pair, signal.period, fixed(signal.bias_rad, 4),
                         fixed(signal.scatter_rad, 4)))  # fmt: skip
    if not rows:
        return
    header = (Cell("Dose", "e/Å²"), "Design", tables.way_word.capitalize(), Cell("Period", "Å"), Cell("Bias", "rad"),
              Cell("Scatter", "rad"))  # fmt: skip
    note = (
        "Period: down to it an image has more signal than noise. Bias: rms of what all draws have in common beside the "
        "truth. Scatter: rms of what differs between them."
    )
    yield Table("Signal, bias and scatter", header, rows, note, words=(1, 2))
