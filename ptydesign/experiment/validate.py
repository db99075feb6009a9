"""Honest winners: the winner of each dose and the reference are simulated again with fresh noise, and once by abTEM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptydesign import io
from ptydesign.experiment import scope
from ptydesign.experiment.config import OPTIMISED
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import Trial
from ptydesign.study.acquisition import at_point
from ptydesign.study.progress import Progress


def designs(resolved: Resolved, dose: str) -> dict[str, dict[str, Any]]:
    """Points to validate at a dose by design. A search without any success has no winner."""
    study = resolved.study
    best = resolved.read_json(scope.winner(study, dose).best_file)
    found = {} if best["point"] is None else {OPTIMISED: best["point"]}
    reference = at_point(study.experiment, study.reference.point, "reference")
    return {**found, study.reference.name: {name: getattr(reference, name) for name in study.space.root}}


def validate(resolved: Resolved, dose: str, simulator: str, progress: Progress | None = None) -> Path:
    """Simulate both designs of a dose again: `repeats` times with jax, or once with abtem; write their records."""
    study = resolved.study
    value = scope.winner(study, dose).dose_e_per_a2
    runner = Runner(resolved, progress)
    repeats = range(1, study.validation.repeats + 1) if simulator == "jax" else (1,)
    records = []
    for design, point in designs(resolved, dose).items():
        changes = point if design == OPTIMISED else study.reference.point
        config = at_point(study.experiment, changes)
        for repeat in repeats:
            trial = Trial(config, value, simulator, repeat)
            name = f"validation/{dose}/{simulator}/{design}/{repeat}"
            save = _saver(runner) if simulator == "jax" and repeat == 1 else None
            key, result = runner.run(trial, name, save)
            records.append({"design": design, "repeat": repeat, "point": point, "key": key, **result})
    path = resolved.results / scope.VALIDATION.format(dose=dose, simulator=simulator)
    io.write_json(path, {"dose_e_per_a2": value, "simulator": simulator, "trials": records})
    return path


def _saver(runner: Runner) -> Any:
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
