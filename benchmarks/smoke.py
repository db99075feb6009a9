"""Smoke studies of every kind, for what is done to them many times: those of the repository, with less in them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from ptydesign.config import merge

SCALE = "smoke"
# Few detector pixels, a focused probe, and no search of the defocus: a trial takes a second, not half a minute.
SMALL_PLAN: dict[str, Any] = {
    "instrument": {
        "apertures_mrad": [20, 25],
        "defocus_nm": {"low": -6, "high": 6},
        "step_a": {"low": 1.2, "high": 3},
        "pixels_mrad": [4.0],
        "source_size_a": 0,
    },
    "detector": {"override": {"pixels": [32, 32], "frames_per_s": 10000}},
    "goal": {"doses_e_per_a2": [2000], "resolution_a": 0.9},
    "simulation": {"field_of_view_a": [7, 8]},
    "reconstruction": {"engines": [{"engine": "lsqml", "batches": "compact", "sweeps": 6, "group": 8}]},
}
# A study of the repository for each kind, and what is left out of its smoke scale.
STUDIES: dict[str, tuple[str, dict[str, Any]]] = {
    "experiment": ("lowdose", {"doses_e_per_a2": [1000], "validation": {"abtem": False, "repeats": 1}}),
    "depth": ("depth", {"variants": []}),
    "tuning": ("reconparams", {}),
    "regularisation": ("engines", {}),
    "planning": ("plan_bilayer", SMALL_PLAN),
    "compare": ("compare", {"draws": 2}),
}


def write_study(kind: str, studies: Path, folder: Path) -> Path:
    """Copy the study of a kind into `folder`/<its name>; returns that. studies: the repository's."""
    name, less = STUDIES[kind]
    made = folder / name
    shutil.copytree(studies / name, made)
    content = yaml.safe_load((made / "study.yaml").read_text(encoding="utf-8"))
    content["scales"] = {SCALE: merge(content["scales"][SCALE], less)}
    (made / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return made
