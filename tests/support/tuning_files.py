"""A tuning study of seconds, for tests: 36 positions of 24 x 24 px, engines that compile once or twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study_files import changed, write_study

from ptydesign.cli import main
from ptydesign.tuning import scope
from ptydesign.tuning.kind import KIND
from ptydesign.tuning.resolve import Resolved, resolve

TINY: dict[str, Any] = {
    "kind": "tuning",
    "title": "Tiny",
    "question": "Does it run?",
    "seed": 3,
    "data": {
        "kind": "simulated",
        "sample": {"kind": "bilayer", "layers": ["MoSe2", "WS2"], "twist_deg": 5},
        "potential": {"pixel_a": 0.6},
        "experiment": {
            "voltage_kv": 80,
            "semiangle_mrad": 15,
            "step_a": 2.5,
            "defocus_nm": -21,
            "detector_pixels": 24,
            "pixel_a": 0.6,
            "field_of_view_a": [12.5, 15],
            "position_jitter_a": 0.1,
            "background_e_per_px": 0.01,
            "intensity_rms": 0.03,
            "defocus_drift_nm": 1,
        },
        "second": {"drift_a": [0.2, 0.1]},
        "nominal": {"defocus_nm": -20},
        "dose_e_per_a2": 5000,
        "doses_e_per_a2": [500],
    },
    "plan": {"engines": [{"engine": "lsqml", "group": 12}]},
    "space": {
        "engines.0.object_step": {"choices": [0.1, 0.5, 1]},
        "engines.0.batches": {"choices": ["sparse", "compact"]},
        "engines.0.probe_step": {"low": 0.0, "high": 1.0},
    },
    "references": {"default": {}, "timid": {"engines.0.object_step": 0.1}},
    "budget": {"values": [0.02, 0.04]},
    "search": {"initial": 3, "points": 3, "repeats": 2, "segment": 4},
    "objective": {"metrics": ["frc_area"], "q_max_per_a": 0.8},
    "effects": ["engines.0.batches"],
    "example": {"path": "engines.0.object_step", "values": [0.05, 1.0]},
    "validation": {"repeats": 1},
}


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny study with some values replaced; `budget__values=[1]` reaches inside."""
    return changed(TINY, changes)


def resolved_in(folder: Path, **changes: Any) -> Resolved:
    """The tiny study in a folder, with some values replaced."""
    write_study(folder / "studies" / "tiny", tiny(**changes))
    return resolve(folder / "studies" / "tiny", "preview", folder / "results")


def run_all(resolved: Resolved) -> None:
    """All jobs of a study in the order of its steps, each as its rule runs it but in this process."""
    study = resolved.study
    folder = resolved.root.parent / "studies" / study.study
    options = [str(folder), "--scale", study.scale, "--root", str(resolved.root)]
    assert main(["step", "tuning", "resolve", *options]) == 0
    for job in KIND.jobs(resolved):
        job.step.run(resolved, job.which)
    report(resolved)


def report(resolved: Resolved) -> str:
    """The page, figures and page made anew."""
    for command in ("figures", "report"):
        assert main([command, str(resolved.results)]) == 0
    return (resolved.results / "report.html").read_text(encoding="utf-8")


def total(resolved: Resolved) -> int:
    """Trials of a study."""
    return sum(scope.trials(resolved.study).values())
