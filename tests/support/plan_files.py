"""A plan of seconds, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from study_files import changed

from ptydesign.planning.load import load
from ptydesign.planning.resolve import PlanningResolved

TINY_PLAN: dict[str, Any] = {
    "kind": "plan",
    "title": "Tiny plan",
    "seed": 3,
    "sample": {"kind": "bilayer", "layers": ["MoS2", "WS2"], "twist_deg": 17},
    "instrument": {
        "voltages_kv": [80],
        "apertures_mrad": [20, 25],
        "defocus_nm": {"low": -6, "high": 0},
        "step_a": {"low": 1.2, "high": 3},
        "pixels_mrad": [4.0],
        "currents_pa": [1, 4, 20],
        "dwell_us": {"low": 1, "high": 20000},
        "flyback_us": 100,
        "drift_a_per_min": 1,
        "defocus_error_nm": 2,
    },
    "detector": {"name": "EMPAD", "bin": 1, "override": {"pixels": [32, 32], "frames_per_s": 10000}},
    "goal": {"doses_e_per_a2": [2000, 8000], "resolution_a": 0.9, "time_limit_s": 60, "field_of_view_a": [60, 80]},
    "simulation": {"field_of_view_a": [7, 8]},
    "search": {"initial": 4, "points": 2, "batch": 2},
    "reconstruction": {"engines": [{"engine": "lsqml", "batches": "compact", "sweeps": 6, "group": 8}]},
    "robustness": {"candidates": 2, "repeats": 2, "draws": 8},
    "chunk": 3,
}


def tiny_plan(**changes: Any) -> dict[str, Any]:
    """The tiny plan with some values replaced; `goal__resolution_a=1` reaches inside."""
    return changed(TINY_PLAN, changes)


def write_plan(path: Path, **changes: Any) -> Path:
    """Write the tiny plan with changes; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tiny_plan(**changes), sort_keys=False), encoding="utf-8")
    return path


def resolved_of(tmp_path: Path, **changes) -> PlanningResolved:
    """The tiny plan with some changes, checked."""
    write_plan(tmp_path / "tiny" / "study.yaml", **changes)
    return load(tmp_path / "tiny", "preview", tmp_path / "results")
