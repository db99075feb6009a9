"""Honest winners: the winner of each dose and the reference are simulated again with fresh noise, and once by abTEM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ptydesign.experiment import scope
from ptydesign.experiment.config import OPTIMISED, StudyConfig
from ptydesign.experiment.images import keep_images
from ptydesign.experiment.points import experiment_at, is_path
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import Runner, study_at
from ptydesign.experiment.trial import Trial
from ptydesign.study.draws import Save, fresh_draws
from ptydesign.study.progress import Progress


def designs(resolved: Resolved, dose: str) -> dict[str, tuple[dict[str, Any], int | None]]:
    """(point, sweep after which it ends) to validate at a dose by design. A search without success has no winner.

    Where the space has parameters of the reconstruction, both experiments also come with the study's plan."""
    name, decision = resolved.study.reference.name, resolved.read_json(scope.DECISION.format(dose=dose))
    both = {OPTIMISED: decision, name: decision["reference"]}
    for design, key in ((OPTIMISED, "winner"), (name, "reference")):
        both[design + scope.PLAIN] = decision.get("default", {}).get(key, {"point": None})
    return {design: (one["point"], one["sweeps"]) for design, one in both.items() if one["point"] is not None}


def shown_point(study: StudyConfig, point: dict[str, Any]) -> dict[str, Any]:
    """A design's values of all that the space varies; those of the study's plan are left out."""
    experiment = experiment_at(study.experiment, point)
    return {name: point.get(name) if is_path(name) else getattr(experiment, name) for name in study.space.root}


def validate(resolved: Resolved, dose: str, simulator: str, progress: Progress | None = None) -> Path:
    """Simulate both designs of a dose again: `repeats` times with jax, or once with abtem; write their records."""
    study = resolved.study
    value = scope.winner(study, dose).dose_e_per_a2
    runner = Runner(resolved, progress)
    save = keep_images(runner.store) if simulator == "jax" else None
    draws = study.validation.repeats if simulator == "jax" else 1
    records = []
    for design, (point, stop) in designs(resolved, dose).items():
        trial = Trial(experiment_at(study.experiment, point), value, simulator, stop=stop)
        one = study_at(study, point)

        def run(
            number: int,
            save: Save | None,
            design: str = design,
            trial: Trial = trial,
            one: StudyConfig = one,
        ) -> Any:
            name = f"validation/{dose}/{simulator}/{design}/{number}"
            key, result = runner.run(replace(trial, repeat=number), name, save, one)
            yield {"key": key, **result}

        records += [
            {"design": design, "point": shown_point(study, point), **one}
            for one in fresh_draws(run, draws, save, every=True)
        ]
    content = {"dose_e_per_a2": value, "simulator": simulator, "trials": records}
    return resolved.write_json(scope.VALIDATION.format(dose=dose, simulator=simulator), content)
