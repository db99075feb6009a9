"""A figure of a study, and drawing all of a study's: from its tables alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptydesign.study.records import SHOWS, file_hash, hashes_of, write_record
from ptydesign.study.tables import HASHES, check_files

if TYPE_CHECKING:
    import matplotlib.figure


INDEX = "figures/index.json"


def always(tables: Any) -> None:
    """Of a figure that can be drawn from any tables."""


@dataclass(frozen=True)
class Figure:
    """name: of its files. skip: (tables) -> why it can't be drawn from them, as the end of "not drawn, because ...", or
    None. caption: what is shown, in the units and numbers of these tables. narrow: of one column."""

    name: str
    title: str
    draw: Callable[[Any], matplotlib.figure.Figure]
    caption: Callable[[Any], str]
    skip: Callable[[Any], str | None] = always
    narrow: bool = False


def draw_all(figures: Sequence[Figure], tables: Any) -> list[Path]:
    """Draw every figure that the tables allow into figures/, as PNG and PDF; returns the paths.

    A file of an earlier run, of a figure that can't be drawn now, is removed; the report says why."""
    from ptydesign import drawing

    draw = {one.name: lambda f=one: None if f.skip(tables) else f.draw(tables) for one in figures}
    return drawing.draw_all(draw, tables.folder)


def write_index(results: Path, paths: Sequence[Path]) -> None:
    """Write figures/index.json: the files that were drawn, with their hashes."""
    hashes = {path.name: file_hash(path) for path in paths}
    write_record(results, INDEX, {"files": hashes, SHOWS: hashes_of(results, HASHES)})


def check_index(results: Path) -> None:
    """Refuse figures that aren't those that were drawn. Raises InputError."""
    if (Path(results) / INDEX).exists():
        check_files(results, INDEX, "figures")


def draw(figures: Sequence[Figure], tables: Any, name: str) -> matplotlib.figure.Figure | None:
    """One figure by its name, in the project's style; None if it can't be drawn. Raises InputError."""
    from ptydesign import drawing
    from ptydesign.errors import InputError, nearest

    known = {figure.name: figure for figure in figures}
    if name not in known:
        raise InputError("figure", "is not a known figure", name, nearest(str(name), known))
    with drawing.styled():
        figure = None if known[name].skip(tables) else known[name].draw(tables)
        if figure is not None:
            drawing.literal(figure)
        return figure
