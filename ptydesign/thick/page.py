"""One self-contained HTML page about a finished study of a thick sample."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

import ptydesign.study
from ptydesign.io import write_text
from ptydesign.study.file import DEFAULT_SCALE


@dataclass(frozen=True)
class Table:
    """A table of the page; cells are text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def fixed(value: float | None, decimals: int) -> str:
    """A number of a table; a dash for one that is missing."""
    return "–" if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def defect_words(plan: dict[str, Any]) -> str:
    """Defects of the sample, as "8 Al interstitial"; nothing if there are none."""
    return ", ".join(
        f"{d.get('count') or len(d['at_a'])} {d.get('element') or d['host']} {d['kind']}"
        for d in plan["sample"]["defects"]
    )


def experiment_words(plan: dict[str, Any]) -> str:
    """The experiment in a line."""
    experiment = plan["experiment"]
    return (
        f"{experiment['voltage_kv']:g} kV, {experiment['semiangle_mrad']:g} mrad, defocus "
        f"{experiment['defocus_nm']:g} nm (positive is underfocus), step {experiment['step_a']:g} Å, "
        f"{experiment['applied_dose_e_per_a2']:.3g} e/Å²"
    )


def write_page(
    folder: Path,
    plan: dict[str, Any],
    facts: Sequence[tuple[str, str]],
    sentences: Sequence[str],
    tables: Sequence[Table],
    pictures: Mapping[str, tuple[str, str]],
) -> Path:
    """Write folder/report.html and return its path; the same content gives the same bytes.

    plan: of plan.yaml. pictures: title and caption of each figure that may be in figures/, in the page's order.
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
            {"title": title, "caption": caption, "png": base64.b64encode(file.read_bytes()).decode("ascii")}
            for name, (title, caption) in pictures.items()
            if (file := folder / "figures" / f"{name}.png").is_file()
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
