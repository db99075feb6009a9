"""A study of seconds, for tests: 6 x 6 A, few sweeps, one dose."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

TINY: dict[str, Any] = {
    "title": "Tiny",
    "question": "Does it run?",
    "seed": 7,
    "sample": {"kind": "bilayer", "layers": ["MoS2", "WS2"], "twist_deg": 17},
    "potential": {"pixel_a": 0.125},
    "experiment": {
        "voltage_kv": 80,
        "step_a": 2,
        "semiangle_mrad": 25,
        "defocus_nm": -5,
        "detector_pixels": 32,
        "pixel_a": 0.25,
        "field_of_view_a": [6, 7],
    },
    "doses_e_per_a2": [2000],
    "space": {"step_a": {"low": 1.5, "high": 3}, "defocus_nm": {"low": -8, "high": 0}},
    "search": {"initial": 4, "points": 4, "batch": 4},
    "random": {"dose_e_per_a2": 2000},
    "reference": {"name": "expert", "step_a": 2, "defocus_nm": -8},
    "decision": {"contenders": 3, "first": 2, "draws": 8, "refine": 2},
    "validation": {"repeats": 2, "abtem": False},
    "map": {
        "dose_e_per_a2": 2000,
        "x": {"name": "defocus_nm", "values": [-6, -2]},
        "y": {"name": "step_a", "values": [1.5, 3]},
    },
    "reconstruction": {"engines": [{"engine": "lsqml", "batches": "compact", "sweeps": 4, "group": 8}]},
    "score": {"ssim_widths_px": [0.5, 1.5], "frc_qmax": 1.5},
    "objective": {"metric": "ssim", "width_px": 1.5},
    "jobs": {"chunk": 2},
    "scales": {"smoke": {"doses_e_per_a2": [2000, 500]}, "preview": {}},
}


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny study with some values replaced; `space__step_a__low=3` reaches inside."""
    return changed(TINY, changes)


def changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of a study's content with some values replaced; a key as `space__step_a__low` reaches inside."""
    content = copy.deepcopy(content)
    for path, value in changes.items():
        *parents, last = path.split("__")
        section = content
        for name in parents:
            section = section.setdefault(name, {})
        section[last] = value
    return content


def write_study(folder: Path, content: dict[str, Any]) -> Path:
    """Write study.yaml into a folder; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder
