"""One self-contained HTML file about a finished tuning study, made from its tables, figures and plan."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from ptydesign.errors import InputError
from ptydesign.io import write_text
from ptydesign.tuning import findings
from ptydesign.tuning.figures import FIGURES, Tables, read_tables
from ptydesign.tuning.figures.tables import METRICS


def write_report(results_folder: Path) -> Path:
    """Write results_folder/report.html and return its path. Raises InputError naming a table or figure that is
    missing.
    """
    folder = Path(results_folder)
    tables = read_tables(folder)
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([here, here.parent / "study"]),  # the look is that of all reports
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path = folder / "report.html"
    write_text(path, environment.get_template("tuning.html.j2").render(_content(tables)))
    return path


def _content(tables: Tables) -> dict[str, Any]:
    plan = tables.plan
    figures, skipped = _figures(tables)
    settings = {key: value for key, value in plan.items() if key != "resolved"}
    header = plan["resolved"]
    scale = plan["scale"]
    command = f"snakemake studies/{plan['study']}" + ("" if scale == "preview" else f" --config scale={scale}")
    return {
        "title": plan["title"],
        "question": plan["question"],
        "scale": scale,
        "asked": _asked(tables),
        "space": [
            (
                path,
                tables.labels()[path],
                ", ".join(map(str, d["choices"])) if d.get("choices") else f"{d['low']} to {d['high']}",
            )
            for path, d in plan["space"].items()
        ],
        "grid": plan.get("grid", ""),
        "warnings": header.get("warnings") or [],
        "sentences": findings.sentences(tables),
        "musts": _musts(tables),
        "plans": _plans(tables),
        "metrics": [METRICS[m] for m in _metrics(tables)],
        "best": _best(tables),
        "failures": _failures(tables),
        "figures": figures,
        "skipped": skipped,
        "command": command,
        "hash": header["hash"],
        "seed": plan["seed"],
        "machine": header.get("machine", ""),
        "versions": [("ptydesign", header["ptydesign"]), *((n, v) for n, v in header["libraries"].items() if v)],
        "plan": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100),
    }


def _asked(tables: Tables) -> list[tuple[str, str]]:
    plan = tables.plan
    search, data, budget = plan["search"], plan["data"], plan["budget"]
    what = {
        "simulated": "two scans, simulated",
        "two_files": "two files",
        "file": f"one file, halves by {data.get('split')}",
    }
    size = plan["resolved"]["estimate"]["combinations"]
    facts = [
        ("Data", what[data["kind"]]),
        ("Plans", f"{size:g} combinations" if size else "a space with ranges"),
        ("Maximised", ", ".join(METRICS[m] for m in plan["objective"]["metrics"])),
        (
            "Budgets",
            f"{', '.join(f'{b:g}' for b in budget['values'])} {tables.unit} for each of a trial's two reconstructions",
        ),
        (
            "Searches",
            f"{search['repeats']} of each method, {search['initial']} random plans and {search['points']} "
            "proposed ones",
        ),
        ("Fresh data", f"{plan['validation']['repeats']} further pairs of scans"),
        ("Scale", plan["scale"]),
    ]
    if tables.truth:
        e = data["experiment"]
        optics = f"{e['voltage_kv']:g} kV, {e['semiangle_mrad']:g} mrad, defocus {e['defocus_nm']:g} nm"
        scan = f"step {e['step_a']:g} Å, {e['detector_pixels']} px, {data['dose_e_per_a2']:g} e/Å²"
        facts.insert(1, ("Experiment", f"{optics}, {scan}"))
    return facts


def _metrics(tables: Tables) -> list[str]:
    return ["frc_area", "heldout_misfit", *(findings.TRUE_METRICS if tables.truth else ())]


def _musts(tables: Tables) -> list[tuple[str, str, str]]:
    """(claim, verdict, numbers) of what the study is there to show."""
    rows = []
    margin = findings.search_margin(tables)
    if margin is not None:
        verdict = "yes" if margin.better > 0 else "no"
        numbers = margin.words(4)
        rows.append(("Bayesian optimisation's mean best score is above random search's", verdict, numbers))
    metrics = ("ssim", "mse_rad2") if tables.truth else ("frc_area",)
    for reference in tables.plan["references"]:
        for metric in metrics:
            margin = findings.plan_margin(tables, reference, metric)
            if margin is None:
                continue
            digits = 5 if metric == "mse_rad2" else 3
            numbers = margin.words(digits)
            verdict = margin.verdict
            if not tables.truth:
                verdict = "yes" if margin.better > 0 else "no"
            rows.append((f"The plan found beats {reference} in {METRICS[metric]}", verdict, numbers))
    return rows


def _plans(tables: Tables) -> list[tuple[str, list[str]]]:
    """Scores of each plan at the main budget on the searches' data."""
    table = tables["budgets"]
    table = table[np.isclose(table["budget"], tables.budget)]
    rows = []
    for plan in tables.plans:
        row = table[table["plan"] == plan].iloc[0]
        cells = [f"{row[m]:.4g}" if np.isfinite(row[m]) else str(row["status"]) for m in _metrics(tables)]
        rows.append((plan, [*cells, f"{int(row['sweeps'])}"]))
    return rows


def _best(tables: Tables) -> str:
    name = f"best-{'s' if tables.unit == 's' else 'w'}{tables.budget:g}.yaml"
    path = tables.folder / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _failures(tables: Tables) -> list[tuple[str, str, int]]:
    table = tables["trials"].drop_duplicates("key")
    bad = table[table["status"] != "ok"]
    counted = bad.groupby(["status", "reason"], dropna=False).size().sort_values(ascending=False)
    return [(status, str(reason), int(n)) for (status, reason), n in counted.items()][:12]


def _figures(tables: Tables) -> tuple[list[dict[str, str]], list[tuple[str, str]]]:
    shown, skipped = [], []
    for name, module in FIGURES.items():
        reason = module.skip(tables)
        if reason:
            skipped.append((module.TITLE, reason))
            continue
        path = tables.folder / "figures" / f"{name}.png"
        if not path.is_file():
            raise InputError(str(path), "must exist", "no file", "Draw the figures first: ptydesign figures <folder>.")
        picture = base64.b64encode(path.read_bytes()).decode("ascii")
        shown.append({"title": module.TITLE, "caption": module.caption(tables), "png": picture, "name": name})
    return shown, skipped
