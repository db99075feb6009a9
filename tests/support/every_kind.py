"""A study of seconds of each kind, with which every step of the kind has a job."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import plan_files
import study_files
import tuning_files
import yaml

from ptydesign.config import merge

STUDIES = Path(__file__).parents[2] / "studies"
TITLE = 'HfO\u2082 $x^{ [/111] [bold] <b>film & 50 % of "\u03b1"'  # no formula, no markup: shown as it is everywhere


def write_tiny(kind: str, folder: Path) -> Path:
    """Write the tiny study of a kind, and the structure that it needs; returns the folder."""
    content = {**TINY[kind](), "title": TITLE}
    file = content.get("sample", {}).get("file")
    folder.mkdir(parents=True, exist_ok=True)
    if file is not None:
        (structure,) = STUDIES.glob(f"{content.pop('from')}/{file}")
        shutil.copy(structure, folder)
    return study_files.write_study(folder, content)


def _experiment() -> dict[str, Any]:
    """Rounds of two chunks, and of one."""
    return study_files.tiny(search={"initial": 4, "points": 3, "batch": 2}, validation={"repeats": 1, "abtem": False})


def _planning() -> dict[str, Any]:
    """The least dose of two, each searched in a round of two chunks and one of one."""
    return plan_files.tiny_plan(
        goal__doses_e_per_a2=[400, 4000],
        goal__minimise="dose",
        robustness={"candidates": 1, "repeats": 1, "draws": 1},
        chunk=3,
    )


def _smoke(name: str, **changes: Any) -> dict[str, Any]:
    """A study of the repository at its smoke scale."""
    content = yaml.safe_load((STUDIES / name / "study.yaml").read_text(encoding="utf-8"))
    smoke = content.pop("scales")["smoke"]
    return {**merge(merge(content, smoke), changes), "from": name}


def _regularisation() -> dict[str, Any]:
    """A plan that is tuned, of which one setting varies, and another one."""
    content = _smoke("engines", vary=[{"name": "offset", "path": "engines.0.offset", "values": [0.01]}])
    content["plans"].pop(1)
    return content


def _compare() -> dict[str, Any]:
    """Two designs by two engines."""
    shared = ("title", "question", "seed", "sample", "potential", "experiment", "doses_e_per_a2", "score", "objective")
    content = {name: value for name, value in study_files.tiny().items() if name in shared}
    plans = {engine: {"engines": [{"engine": engine, "sweeps": 3}]} for engine in ("lsqml", "epie")}
    designs = {"expert": {"defocus_nm": -8}, "wide": {"step_a": 3}}
    return {"kind": "compare", **content, "designs": designs, "reconstructions": plans, "draws": 2}


TINY = {
    "experiment": _experiment,
    "depth": lambda: _smoke("depth", variants=[]),
    "tuning": tuning_files.tiny,
    "regularisation": _regularisation,
    "planning": _planning,
    "compare": _compare,
}
