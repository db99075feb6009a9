"""Honest winners: the winner of each dose and the reference are simulated again with fresh noise, and once by abTEM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.experiment import layout
from ptydesign.experiment.config import OPTIMISED
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import Trial
from ptydesign.study.acquisition import at_point
from ptydesign.study.file import dose_name
from ptydesign.study.progress import Progress
from ptydesign.study.records import read_json


def designs(resolved: Resolved, dose: float) -> dict[str, dict[str, Any]]:
    """Points to validate at a dose by design. A search without any success has no winner."""
    study = resolved.study
    best = read_json(resolved.results / "search" / f"{layout.BO}-{dose_name(dose)}" / "best.json")
    found = {} if best["point"] is None else {OPTIMISED: best["point"]}
    reference = at_point(study.experiment, study.reference.point, "reference")
    return {**found, study.reference.name: {name: getattr(reference, name) for name in study.space.root}}


def validate(resolved: Resolved, dose: float, simulator: str, progress: Progress | None = None) -> Path:
    """Re-simulate both designs of a dose: `repeats` times with jax, or once with abtem; write their records."""
    study = resolved.study
    if dose not in study.doses_e_per_a2:
        raise InputError("dose", f"must be one of {list(study.doses_e_per_a2)}", dose, "Choose one of them.")
    if simulator not in layout.simulators(study):
        raise InputError("simulator", f"must be one of {layout.simulators(study)}", simulator, "Choose one of them.")
    runner = Runner(resolved, progress)
    repeats = range(1, study.validation.repeats + 1) if simulator == "jax" else (1,)
    records = []
    for design, point in designs(resolved, dose).items():
        changes = point if design == OPTIMISED else study.reference.point
        config = at_point(study.experiment, changes)
        for repeat in repeats:
            trial = Trial(config, dose, simulator, repeat)
            name = f"validation/{dose_name(dose)}/{simulator}/{design}/{repeat}"
            save = None
            if simulator == "jax" and repeat == 1:
                save = _saver(runner, design, dose)
            key, result = runner.run(trial, name, save)
            records.append({"design": design, "repeat": repeat, "point": point, "key": key, **result})
    path = resolved.results / "validation" / f"{dose_name(dose)}-{simulator}.json"
    io.write_json(path, {"dose_e_per_a2": dose, "simulator": simulator, "trials": records})
    return path


def _saver(runner: Runner, design: str, dose: float) -> Any:
    """Keeps the images of a trial in the point store."""

    def save(key: str, comparison: Any) -> None:
        score = comparison.score
        group = {
            "arrays": {
                "phase": io.Array(comparison.image.astype("float32"), "rad", "y,x"),
                "truth": io.Array(comparison.truth_image.astype("float32"), "rad", "y,x"),
            },
            "attrs": {
                "pixel_a": [float(v) for v in score.pixel_a],
                "data_range_rad": float(score.data_range),
                "psnr_db": float(score.psnr_db),
                "ssim_by_width": {f"{w:g}": float(v) for w, v in score.ssim.items()},
            },
        }
        io.write_images(runner.store.images_path(key), {"trial": group})

    return save
