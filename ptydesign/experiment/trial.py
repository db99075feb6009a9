"""One trial: simulate, reconstruct, score. What goes wrong in it numerically is a recorded status."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptydesign.errors import InputError
from ptydesign.experiment.config import StudyConfig
from ptydesign.study.acquisition import ExperimentConfig, to_experiment
from ptydesign.study.store import digest, seed_of
from ptydesign.study.versions import TRIAL, versions

if TYPE_CHECKING:
    from ptydesign.score.compare import Comparison
    from ptydesign.types import Dataset, Potential, Truth

SEARCH = 0  # `repeat` of a search's trials; fresh draws are 1, 2, ...


@dataclass(frozen=True)
class Trial:
    """What determines a trial, apart from the study. repeat: 0 in a search, 1... for fresh draws."""

    experiment: ExperimentConfig
    dose_e_per_a2: float
    simulator: str = "jax"
    repeat: int = SEARCH

    def seed(self, study: StudyConfig) -> int:
        """Seed of noise, position errors and the reconstruction's shuffling, keyed by content."""
        content = self.experiment.model_dump(mode="json"), self.dose_e_per_a2, self.simulator, self.repeat
        return seed_of(study.seed, *content)

    def inputs(self, study: StudyConfig, potential_key: str) -> dict[str, Any]:
        """Everything that determines the result."""
        return {
            **study_inputs(study, potential_key),
            "experiment": self.experiment.model_dump(mode="json"),
            "dose_e_per_a2": self.dose_e_per_a2,
            "simulator": self.simulator,
            "seed": self.seed(study),
        }

    def specimen(self, potential: Potential) -> Potential:
        """The specimen as it is; a kind of study may disturb it."""
        return potential

    def known(self, dataset: Dataset) -> Dataset:
        """The data as the operator knows them; a kind of study may make what is believed about them wrong."""
        return dataset

    def key(self, study: StudyConfig, potential_key: str) -> str:
        """The hash under which the trial is stored."""
        return digest(self.inputs(study, potential_key))


def study_inputs(study: StudyConfig, potential_key: str) -> dict[str, Any]:
    """What determines all trials of a study alike."""
    return {
        "potential": potential_key,
        "reconstruction": study.reconstruction.model_dump(mode="json"),
        "score": study.score.model_dump(mode="json"),
        "versions": versions(*TRIAL),
    }


def scored_region_a(
    field_of_view_a: tuple[float, float], rotation_deg: float, extent_a: tuple[float, float]
) -> tuple[float, float, float, float]:
    """(y0, x0, y1, x1): the scanned field about the centre of a specimen of this extent, the same for all trials.

    A rotated scan keeps the largest upright rectangle of the field's aspect that lies inside it.
    """
    height, width = field_of_view_a
    angle = math.radians(rotation_deg)
    sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
    shrink = max(1.0, cosine + sine * width / height, cosine + sine * height / width)
    centre = extent_a[0] / 2, extent_a[1] / 2
    half = height / shrink / 2, width / shrink / 2
    return centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]


def simulate_trial(study: StudyConfig, potential: Potential, trial: Trial) -> tuple[Dataset, Truth]:
    """The data of a trial. Raises InputError for what can't be simulated."""
    from ptydesign.simulate.dataset import simulate

    experiment = to_experiment(trial.experiment, trial.dose_e_per_a2)
    return simulate(trial.specimen(potential), experiment, trial.seed(study), trial.simulator)


Simulate = Callable[["StudyConfig", "Potential", Trial], "tuple[Dataset, Truth]"]


def run_trial(
    study: StudyConfig, potential: Potential, trial: Trial, simulate: Simulate = simulate_trial
) -> tuple[dict[str, Any], dict, Comparison | None]:
    """Result (JSON-able, a function of the inputs alone), cost in seconds, and the images if the trial could be scored.

    status: ok, diverged (the reconstruction), or failed (it could not be simulated or scored); with a reason.
    simulate: gives the data, which may be at hand already.
    """
    from ptydesign.reconstruct.run import reconstruct
    from ptydesign.score.compare import compare
    from ptydesign.score.metrics import ScoreFailure

    seed = trial.seed(study)
    fov, turn = trial.experiment.field_of_view_a, trial.experiment.rotation_deg
    region = scored_region_a(fov, turn, potential.grid.extent_a)
    result: dict[str, Any] = {"status": "failed", "reason": "", "seed": seed, "region_a": list(region)}
    cost: dict[str, float] = {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        cost[name], start = round(now - start, 4), now

    try:
        dataset, truth = simulate(study, potential, trial)
        lap("simulate_s")
        result["positions"] = len(dataset.positions_a)
        state, _, outcome = reconstruct(trial.known(dataset), study.reconstruction, seed)
        lap("reconstruct_s")
        result["sweeps"] = int(outcome.sweeps)
        if outcome.status == "diverged":
            return {**result, "status": "diverged", "reason": outcome.reason}, cost, None
        comparison = compare(state.object, state.pixel_a, state.origin_a, truth, region, study.score)
        lap("score_s")
    except (InputError, ScoreFailure, FloatingPointError) as error:
        return {**result, "reason": str(error)}, cost, None
    score = comparison.score
    scores = {
        "ssim": {f"{width:g}": float(value) for width, value in score.ssim.items()},
        "psnr_db": float(score.psnr_db),
        "mse_rad2": float(score.mse_rad2),
        "frc_area": float(score.frc_area),
        "frc_qmax": float(score.frc_qmax),
        "contrast": float(score.contrast),
        "data_range_rad": float(score.data_range),
        "shift_a": [float(v) for v in score.shift_a],
    }
    numbers = [*scores["ssim"].values(), *(v for v in scores.values() if isinstance(v, float))]
    if not all(math.isfinite(value) for value in numbers):
        return {**result, "reason": "a score is not finite"}, cost, None
    return {**result, "status": "ok", "scores": scores}, cost, comparison


def objective_value(study: StudyConfig, result: dict[str, Any]) -> float | None:
    """What the search maximises; None for a trial that is not ok."""
    if result["status"] != "ok":
        return None
    scores, metric = result["scores"], study.objective.metric
    if metric == "ssim":
        return scores["ssim"][f"{study.objective.width_px:g}"]
    return -scores["mse_rad2"] if metric == "mse_rad2" else scores[metric]
