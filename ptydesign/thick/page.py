"""One self-contained HTML page about a finished study of a thick sample."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

import ptydesign.study
from ptydesign.errors import InputError
from ptydesign.io import write_text
from ptydesign.study.file import DEFAULT_SCALE


@dataclass(frozen=True)
class Table:
    """A table of the page; cells are text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure of the page: file name in figures/ without suffix."""

    name: str
    title: str
    caption: str


def write_page(
    folder: Path,
    plan: dict[str, Any],
    facts: Sequence[tuple[str, str]],
    sentences: Sequence[str],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
) -> Path:
    """Write folder/report.html and return its path; the same content gives the same bytes.

    plan: of plan.yaml. Raises InputError for a figure that is missing.
    """
    places = [Path(__file__).parent, Path(ptydesign.study.__file__).parent]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(places),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    header = plan["resolved"]
    settings = {key: value for key, value in plan.items() if key != "resolved"}
    command = f"snakemake studies/{plan['study']}"
    libraries = {"ptydesign": header["ptydesign"], "Python": header["python"], **header["libraries"]}
    page = environment.get_template("page.html.j2").render(
        title=plan["title"],
        question=plan["question"],
        scale=plan["scale"],
        facts=facts,
        warnings=header.get("warnings", []),
        sentences=sentences,
        tables=tables,
        figures=[
            {"title": p.title, "caption": p.caption, "png": _encoded(folder / "figures" / f"{p.name}.png")}
            for p in pictures
        ],
        reproduce={
            "command": command if plan["scale"] == DEFAULT_SCALE else f"{command} --config scale={plan['scale']}",
            "hash": header["hash"],
            "seed": plan["seed"],
            "machine": header["machine"],
            "versions": ", ".join(f"{name} {value}" for name, value in libraries.items() if value),
            "plan": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100),
        },
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _encoded(path: Path) -> str:
    if not path.is_file():
        raise InputError(str(path), "must exist", "no file", "Draw the figures first: ptydesign figures <folder>.")
    return base64.b64encode(path.read_bytes()).decode("ascii")
