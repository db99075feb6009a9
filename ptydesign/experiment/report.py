"""One self-contained HTML file about a finished study, made from its tables, figures and plan."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from ptydesign.errors import InputError
from ptydesign.experiment import findings
from ptydesign.experiment.figures import FIGURES, Tables, read_tables
from ptydesign.experiment.figures.labels import dose_number, dose_text, fixed, number, objective_label, words_and_unit
from ptydesign.experiment.figures.tables import FAILED, OPTIMISED
from ptydesign.io import write_text

_TITLES = {
    "reconstructions": "Reconstructions and scores",
    "settings": "Recommended settings",
    "structure": "Sample",
    "maps": "Parameter maps",
    "convergence": "Convergence of the search",
}
_SEARCHES = {"bo": "optimisation", "random": "random search", "map": "map"}
_DEFAULT_SCALE = "preview"


def write_report(results_folder: Path) -> Path:
    """Write results_folder/report.html and return its path. The same tables, plan and figures give the same bytes.

    Raises InputError naming the table or figure that is missing or wrong.
    """
    folder = Path(results_folder)
    tables = read_tables(folder)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).parent, Path(__file__).parents[1] / "study"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(_content(tables))
    path = folder / "report.html"
    write_text(path, page)
    return path


def _content(tables: Tables) -> dict[str, Any]:
    plan = tables.plan
    figures, skipped = _figures(tables)
    return {
        "title": plan.get("title") or plan.get("study") or tables.folder.name,
        "study": plan.get("study") or tables.folder.name,
        "scale": plan.get("scale", _DEFAULT_SCALE),
        "question": plan.get("question", ""),
        "asked": _asked(tables),
        "space": _space(tables),
        "sentences": findings.sentences(tables),
        "recommended": _recommended(tables),
        "scores": _scores(tables),
        "reference": tables.reference,
        "mapped": tables.maps is not None,
        "paper": tables.paper,
        "trends": findings.trends(tables) if tables.paper else [],
        "least_repeats": findings.LEAST_REPEATS,
        "failures": _failures(tables),
        "figures": figures,
        "skipped": skipped,
        "warnings": (plan.get("resolved") or {}).get("warnings") or [],
        "reproduce": _reproduce(tables),
    }


def _asked(tables: Tables) -> list[tuple[str, str]]:
    """Facts about the study, as (name, value)."""
    plan = tables.plan
    sample, search, validation = (plan.get(name) or {} for name in ("sample", "search", "validation"))
    by = {str(name): int(count) for name, count in tables.trials["search"].value_counts(sort=False).items()}
    counted = ", ".join(f"{count} by {_SEARCHES.get(name, name)}" for name, count in by.items())
    initial, points = search.get("initial"), search.get("points")
    facts = [
        ("Sample", _sample_text(sample)),
        ("Doses", f"{', '.join(dose_number(dose) for dose in tables.doses)} e/Å²"),
        ("Maximised", objective_label(plan)),
        ("Search", f"{initial} first points and {points} proposed ones at each dose" if initial and points else "–"),
        ("Trials", f"{len(tables.trials)} ({counted}), and {len(tables.validation)} re-simulations of the winners"),
        ("Compared with", _reference_text(tables)),
        ("Repeats", f"{validation.get('repeats', '–')} fresh noise seeds for each winner and dose"),
        ("Scale", str(plan.get("scale", _DEFAULT_SCALE))),
    ]
    field = (plan.get("experiment") or {}).get("field_of_view_a")
    if field:
        facts.insert(1, ("Field of view", " × ".join(number(float(v)) for v in reversed(field)) + " Å (x × y)"))
    return facts


def _sample_text(sample: dict[str, Any]) -> str:
    kind = sample.get("kind")
    if kind == "bilayer":
        layers = sample.get("layers") or []
        return f"bilayer {' on '.join(map(str, layers))}, twisted by {number(float(sample.get('twist_deg', 0)))}°"
    shown = {key: value for key, value in sample.items() if key != "kind" and value is not None}
    return f"{kind or 'not stated'}: " + ", ".join(f"{key} {value}" for key, value in shown.items())


def _reference_text(tables: Tables) -> str:
    point = tables.reference_point
    values = [_with_unit(name, point[name]) for name in tables.parameters if name in point]
    return f"{tables.reference}: {', '.join(values)}" if values else tables.reference


def _with_unit(name: str, value: float) -> str:
    words, unit = words_and_unit(name)
    return f"{words.lower()} {number(value)} {unit}".strip()


def _space(tables: Tables) -> list[dict[str, str]]:
    rows = []
    for name, dimension in (tables.plan.get("space") or {}).items():
        words, unit = words_and_unit(name)
        dimension = dimension if isinstance(dimension, dict) else {}
        choices = dimension.get("choices")
        if choices:
            searched, scale = ", ".join(number(float(value)) for value in choices), "choices"
        else:
            ends = [dimension.get(end) for end in ("low", "high")]
            searched = " to ".join("–" if end is None else number(float(end)) for end in ends)
            scale = "integers" if dimension.get("integer") else str(dimension.get("scale", "linear"))
        rows.append({"words": words, "unit": unit, "searched": searched, "scale": scale})
    return rows


def _recommended(tables: Tables) -> dict[str, Any]:
    """Header and rows of the table of settings: value, tolerance, whether at an edge, trials behind it."""
    header = [words_and_unit(name) for name in tables.parameters]
    rows = []
    for dose in tables.doses:
        cells = []
        for name in tables.parameters:
            row = tables.recommendation(dose, name)
            if row is None:
                cells.append(None)
                continue
            known = np.isfinite(row["low"]) and np.isfinite(row["high"])
            span = f"{number(row['low'])} to {number(row['high'])}" if known else "tolerance unknown"
            cells.append({"best": number(row["best"]), "range": span, "edge": findings.at_edge(row.to_dict())})
        fitted = tables.fitted(dose)
        rows.append(
            {
                "dose": dose_number(dose),
                "failed": FAILED if tables.failed(dose, OPTIMISED) else "",
                "cells": cells,
                "fitted": fitted,
                "few": fitted < findings.LEAST_TRIALS,
            }
        )
    return {"header": header, "rows": rows}


def _scores(tables: Tables) -> list[dict[str, str]]:
    rows = []
    for simulator in ("jax", "abtem"):
        psnr = {pair.dose: pair for pair in findings.compare(tables, simulator, "psnr_db")}
        ssim = {pair.dose: pair for pair in findings.compare(tables, simulator)}
        if not ssim and simulator not in set(tables.summary["simulator"]):
            continue
        for dose in tables.doses:
            row = {"dose": dose_number(dose), "simulator": simulator}
            for side, design in zip(_SIDES, (OPTIMISED, tables.reference), strict=True):
                scored = tables.scores(dose, design, simulator)
                row[f"n_{side}"] = "0" if scored is None else str(int(scored["n"]))
                row[f"failed_{side}"] = FAILED if tables.failed(dose, design, simulator) else ""
            for name, pairs, decimals in (("ssim", ssim, 3), ("psnr", psnr, 1)):
                pair = pairs.get(dose)
                if pair is None:
                    row |= {
                        f"{name}_{side}": _one_side(tables, dose, side, simulator, name, decimals) for side in _SIDES
                    }
                    row |= {f"{name}_difference": "–", f"{name}_sigmas": "–"}
                    continue
                for side, (mean, spread), n in zip(_SIDES, (pair.optimised, pair.reference), pair.n, strict=True):
                    row[f"{name}_{side}"] = _mean_text(mean, spread, n, decimals)
                row[f"{name}_difference"] = ("+" if pair.difference > 0 else "") + fixed(pair.difference, decimals)
                row[f"{name}_sigmas"] = fixed(pair.sigmas, 1)
            rows.append(row)
    return rows


_SIDES = ("optimised", "reference")


def _one_side(tables: Tables, dose: float, side: str, simulator: str, name: str, decimals: int) -> str:
    """The score of one design where the other one has none."""
    row = tables.scores(dose, OPTIMISED if side == "optimised" else tables.reference, simulator)
    if row is None:
        return "failed"
    column = "ssim" if name == "ssim" else "psnr_db"
    return _mean_text(row[f"{column}_mean"], row[f"{column}_std"], int(row["n"]), decimals)


def _mean_text(mean: float, spread: float, n: int, decimals: int) -> str:
    return f"{fixed(mean, decimals)} ± {fixed(spread, decimals)}" if n > 1 else fixed(mean, decimals)


def _failures(tables: Tables) -> dict[str, Any]:
    """Number of failed and diverged trials, and the reasons, most frequent first."""
    counts: dict[tuple[str, str, str], int] = {}
    total = 0
    for frame, column in ((tables.trials, "search"), (tables.validation, "simulator")):
        bad = frame[frame["status"] != "ok"]
        total += len(frame)
        for where, status, reason in zip(bad[column], bad["status"], bad["reason"], strict=True):
            place = _SEARCHES.get(where, where) if column == "search" else f"validation ({where})"
            key = (place, status, reason or "no reason recorded")
            counts[key] = counts.get(key, 0) + 1
    rows = [
        {"where": where, "status": status, "reason": reason, "count": count}
        for (where, status, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return {"count": sum(counts.values()), "total": total, "rows": rows}


def _figures(tables: Tables) -> tuple[list[dict[str, str]], list[tuple[str, str]]]:
    """Figures to embed, and (title, reason) of those that could not be drawn."""
    shown, skipped = [], []
    for name, module in FIGURES.items():
        reason = module.skip(tables)
        if reason:
            skipped.append((_TITLES[name], reason))
            continue
        path = tables.folder / "figures" / f"{name}.png"
        if not path.is_file():
            raise InputError(str(path), "must exist", "no file", "Draw the figures first: ptydesign figures <folder>.")
        picture = base64.b64encode(path.read_bytes()).decode("ascii")
        shown.append({"title": _TITLES[name], "caption": module.caption(tables), "png": picture, "name": name})
    return shown, skipped


def _reproduce(tables: Tables) -> dict[str, Any]:
    plan = tables.plan
    header = plan.get("resolved") or {}
    settings = {key: value for key, value in plan.items() if key != "resolved"}
    scale = plan.get("scale", _DEFAULT_SCALE)
    command = f"snakemake studies/{plan.get('study', tables.folder.name)}"
    own_hash = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    versions = {"ptydesign": header.get("ptydesign") or _version("ptydesign"), "Python": header.get("python")}
    versions |= header.get("libraries") or {}
    seeds = sorted({int(seed) for seed in tables.validation.get("seed", []) if np.isfinite(seed)})
    return {
        "command": command if scale == _DEFAULT_SCALE else f"{command} --config scale={scale}",
        "hash": header.get("hash") or own_hash,
        "seed": plan.get("seed", "not stated"),
        "seeds": seeds,
        "versions": [(name, value) for name, value in versions.items() if value],
        "machine": header.get("machine", ""),
        "doses": [dose_text(dose) for dose in tables.doses],
        "plan": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
