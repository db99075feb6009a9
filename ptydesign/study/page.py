"""The report of a finished study: one self-contained HTML page, a function of its tables, its figures and its settings.

What was found with its first figure, what was asked, failures with their reasons, the other figures and why some are
missing, the tables, how to reproduce it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from ptydesign.errors import InputError
from ptydesign.io import write_text
from ptydesign.study.figures import INDEX, Figure
from ptydesign.study.file import DEFAULT_SCALE
from ptydesign.study.records import SHOWS, file_hash, hashes_of, write_record
from ptydesign.study.tables import HASHES, Tables

if TYPE_CHECKING:
    from ptydesign.study.kind import Kind

REPORT = "report.html"
PAGES = "pages.json"  # hashes of the report and of the pages beside it, by which one that was cut or changed is known


@dataclass(frozen=True)
class Cell:
    """A cell of a table with more than text. small: under it. look: a class of the style sheet, as `yes`, `wrap`."""

    text: str
    small: str = ""
    look: str = ""
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the page. header, rows: text or Cell. groups: (words, columns) of a line above the header. words: the
    columns that hold words, which are set to the left; the first one if nothing is said."""

    title: str
    header: Sequence[str | Cell]
    rows: Sequence[Sequence[str | Cell]]
    note: str = ""
    groups: Sequence[tuple[str, int]] = ()
    words: Sequence[int] = (0,)
    look: str = ""


@dataclass(frozen=True)
class Code:
    """Lines to be copied from the page: a command, a file."""

    title: str
    text: str


@dataclass(frozen=True)
class Page:
    """What a kind says about a finished study.

    facts: what was asked, as (name, value). asked: tables of what was asked. sentences: what was found, the most
    important one first. found: tables and code of it. failures: (where, status, reason, count), and of how many.
    links: (words, file) to go on with. reproduce: further facts of how to reproduce it. trials: where every trial is.
    """

    facts: Sequence[tuple[str, str]]
    sentences: Sequence[str] = ()
    found: Sequence[Table | Code] = ()
    asked: Sequence[Table] = ()
    failures: Sequence[tuple[str, str, str, int]] = ()
    tried: int | None = None
    warnings: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
    reproduce: Sequence[tuple[str, str]] = ()
    trials: str = "tables/"
    command: str = ""


def cell(value: str | Cell) -> Cell:
    """A cell of a table."""
    return value if isinstance(value, Cell) else Cell(value)


def environment(*folders: Path) -> jinja2.Environment:
    """Of the templates of some folders and of this package, strict and escaping."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["cell"] = cell
    made.filters["is_code"] = lambda block: isinstance(block, Code)
    return made


def write_page(tables: Tables, page: Page, figures: Sequence[Figure]) -> Path:
    """Write report.html and return its path; equal tables, figures and settings give equal bytes.

    Raises InputError for a figure that should be there.
    """
    shown, missing = embedded(tables, figures)
    study = tables.study
    html = environment().get_template("page.html.j2").render(
        title=study["title"],
        question=study.get("question", ""),
        scale=study["scale"],
        page=page,
        warnings=[*tables.made.get("warnings", []), *page.warnings],
        figures=shown,
        missing=missing,
        reproduce=_reproduce(tables, page),
        tables=sorted(f"tables/{path.name}" for path in (tables.folder / "tables").glob("[!.]*")),
    )  # fmt: skip
    path = tables.folder / REPORT
    write_text(path, html)
    return path


def write_pages(kind: Kind, tables: Tables) -> Path:
    """Write report.html and what belongs to it, and last of all their hashes; returns the report's path."""
    folder = tables.folder
    (folder / PAGES).unlink(missing_ok=True)  # if this ends half-way, pages without hashes are made again
    paths = kind.write_also(tables)
    report = write_page(tables, kind.make_page(tables), kind.pictures)
    hashes = {path.name: file_hash(path) for path in (*paths, report)}
    write_record(folder, PAGES, {"files": hashes, SHOWS: hashes_of(folder, HASHES, INDEX)})
    return report


def embedded(tables: Tables, figures: Sequence[Figure]) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Figures to embed, and (title, reason) of those that could not be drawn."""
    shown, missing = [], []
    for figure in figures:
        reason = figure.skip(tables)
        if reason:
            missing.append((figure.title, reason))
            continue
        path = tables.folder / "figures" / f"{figure.name}.png"
        if not path.is_file():
            raise InputError(str(path), "must exist", "no file", "Draw the figures first: ptydesign figures <folder>.")
        picture = base64.b64encode(path.read_bytes()).decode("ascii")
        words = {"title": figure.title, "caption": figure.caption(tables), "narrow": figure.narrow}
        shown.append({**words, "png": picture, "name": figure.name})
    return shown, missing


def _reproduce(tables: Tables, page: Page) -> dict[str, Any]:
    study, made = tables.study, tables.made
    command = page.command or f"snakemake studies/{study['study']}"
    if not page.command and study["scale"] != DEFAULT_SCALE:
        command += f" --config scale={study['scale']}"
    libraries = {"ptydesign": made["ptydesign"], "Python": made["python"], **made["libraries"]}
    return {
        "command": command,
        "facts": [
            ("Hash of the settings", made["hash"]),
            ("Study's seed", str(study["seed"])),
            *page.reproduce,
            ("Machine", made["machine"]),
            ("Versions", ", ".join(f"{name} {value}" for name, value in libraries.items() if value)),
        ],
        "study": yaml.safe_dump(study, sort_keys=False, allow_unicode=True, width=100),
    }
