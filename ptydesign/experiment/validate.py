"""Honest winners: the winner of each dose and the reference are simulated again with fresh noise, and once by abTEM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptydesign import io
from ptydesign.experiment import scope
from ptydesign.experiment.config import OPTIMISED
from ptydesign.experiment.images import keep_images
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import Trial
from ptydesign.study.acquisition import ExperimentConfig, at_point
from ptydesign.study.draws import Save, fresh_draws
from ptydesign.study.progress import Progress


def designs(resolved: Resolved, dose: str) -> dict[str, tuple[dict[str, Any], int | None]]:
    """(point, sweep after which it ends) to validate at a dose by design. A search without success has no winner."""
    study = resolved.study
    decision = resolved.read_json(scope.DECISION.format(dose=dose))
    found = {} if decision["point"] is None else {OPTIMISED: (decision["point"], decision["sweeps"])}
    reference = at_point(study.experiment, study.reference.point, "reference")
    point = {name: getattr(reference, name) for name in study.space.root}
    return {**found, study.reference.name: (point, decision["reference"]["sweeps"])}


def validate(resolved: Resolved, dose: str, simulator: str, progress: Progress | None = None) -> Path:
    """Simulate both designs of a dose again: `repeats` times with jax, or once with abtem; write their records."""
    study = resolved.study
    value = scope.winner(study, dose).dose_e_per_a2
    runner = Runner(resolved, progress)
    save = keep_images(runner.store) if simulator == "jax" else None
    draws = study.validation.repeats if simulator == "jax" else 1
    records = []
    for design, (point, stop) in designs(resolved, dose).items():
        changes = point if design == OPTIMISED else study.reference.point
        config = at_point(study.experiment, changes)

        def run(
            number: int,
            save: Save | None,
            design: str = design,
            config: ExperimentConfig = config,
            stop: int | None = stop,
        ) -> Any:
            name = f"validation/{dose}/{simulator}/{design}/{number}"
            key, result = runner.run(Trial(config, value, simulator, number, stop), name, save)
            yield {"key": key, **result}

        records += [{"design": design, "point": point, **one} for one in fresh_draws(run, draws, save)]
    path = resolved.results / scope.VALIDATION.format(dose=dose, simulator=simulator)
    io.write_json(path, {"dose_e_per_a2": value, "simulator": simulator, "trials": records})
    return path
