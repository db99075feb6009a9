"""One trial: simulate, reconstruct, score. What goes wrong in it numerically is a recorded status."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptydesign.errors import InputError
from ptydesign.experiment.config import StudyConfig
from ptydesign.reconstruct.plan import Plan
from ptydesign.study.acquisition import ExperimentConfig, to_experiment
from ptydesign.study.store import digest, seed_of
from ptydesign.study.versions import FIELD_TRIAL, versions

if TYPE_CHECKING:
    from ptydesign.score.compare import Comparison
    from ptydesign.types import Dataset, Potential, ReconState, Truth

SEARCH = 0  # `repeat` of a search's trials; fresh draws are 1, 2, ...


@dataclass(frozen=True)
class Trial:
    """What determines a trial, apart from the study. repeat: 0 in a search, 1... for fresh draws. stop: the
    sweep after which the reconstruction ends and is scored; None: it is scored at all sweeps that the study names.
    plan: of reconstruction, where it isn't the study's."""

    experiment: ExperimentConfig
    dose_e_per_a2: float
    simulator: str = "jax"
    repeat: int = SEARCH
    stop: int | None = None
    plan: Plan | None = None

    def seed(self, study: StudyConfig) -> int:
        """Seed of noise, position errors and the reconstruction's shuffling, keyed by content: the same for all plans
        of one experiment, which so get the same data."""
        content = self.experiment.model_dump(mode="json"), self.dose_e_per_a2, self.simulator, self.repeat
        return seed_of(study.seed, *content)

    def inputs(self, study: StudyConfig, potential_key: str) -> dict[str, Any]:
        """Everything that determines the result."""
        own = {} if self.plan is None else {"reconstruction": self.plan.model_dump(mode="json")}
        return {
            **study_inputs(study, potential_key),
            **own,
            **({"scored_sweeps": list(study.scored)} if self.stop is None else {"stop": self.stop}),
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
        "versions": versions(*FIELD_TRIAL),
    }


def scored_region_a(
    field_of_view_a: tuple[float, float], extent_a: tuple[float, float]
) -> tuple[float, float, float, float]:
    """(y0, x0, y1, x1): the field about the centre of a specimen of this extent, the same for all trials."""
    centre = extent_a[0] / 2, extent_a[1] / 2
    half = field_of_view_a[0] / 2, field_of_view_a[1] / 2
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

    status: ok, diverged (the reconstruction), or failed (it could not be simulated or scored); with a reason. `path`
    has the scores after each sweep that is scored, the last one included, of which the images are; `judged` says which
    counts. simulate: gives the data, which may be at hand already.
    """
    from ptydesign.reconstruct.calibrate import calibrated
    from ptydesign.reconstruct.run import reconstruct
    from ptydesign.score.metrics import ScoreFailure
    from ptydesign.simulate.field import check_fluence, fluence

    seed = trial.seed(study)
    extent = potential.grid.extent_a
    region = scored_region_a(trial.experiment.field_of_view_a, extent)
    result: dict[str, Any] = {"status": "failed", "reason": "", "seed": seed, "region_a": list(region)}
    cost: dict[str, float] = {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        cost[name], start = round(now - start, 4), now

    kept: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def keep(sweep: int, loss: float, state: ReconState) -> None:
        if sweep in study.scored:
            kept[sweep] = np.asarray(state.object), np.asarray(state.pixel_a), np.asarray(state.origin_a)

    try:
        planned = to_experiment(trial.experiment, trial.dose_e_per_a2)
        mean, least = fluence(planned, region, (extent[0] / 2, extent[1] / 2))
        result |= {"fluence_mean": round(mean, 4), "fluence_least": round(least, 4)}
        if trial.experiment.scan_margin_a is None:
            check_fluence(mean, least, trial.experiment.margin_a)
        dataset, truth = simulate(study, potential, trial)
        lap("simulate_s")
        result["positions"] = len(dataset.positions_a)
        observers = () if trial.stop else (keep,)
        known = trial.known(dataset)
        plan, found = calibrated(known, trial.plan or study.reconstruction, seed)
        if found:
            result["calibrated"] = {name: round(curve.best, 4) for name, curve in found.items()}
            lap("calibrate_s")
        state, _, outcome = reconstruct(known, plan, seed, observers, most=trial.stop)
        lap("reconstruct_s")
        result["sweeps"] = int(outcome.sweeps)
        if outcome.status == "diverged":
            return {**result, "status": "diverged", "reason": outcome.reason}, cost, None
        kept[int(outcome.sweeps)] = state.object, state.pixel_a, state.origin_a
        path = list(_scored(study, kept, truth, region))
        lap("score_s")
    except (InputError, ScoreFailure, FloatingPointError) as error:
        return {**result, "reason": str(error)}, cost, None
    if not path:
        return {**result, "reason": "a score is not finite"}, cost, None
    result["path"] = [{"sweeps": sweeps, "scores": scores} for sweeps, scores, _ in path]
    return {**result, "status": "ok"}, cost, path[-1][2]


def _scored(
    study: StudyConfig, kept: Mapping[int, tuple], truth: Truth, region: tuple[float, float, float, float]
) -> Iterator[tuple[int, dict[str, Any], Comparison]]:
    """(sweeps, scores, images) of the states that were kept; one before the last that can't be scored is left out."""
    from ptydesign.score.compare import compare
    from ptydesign.score.metrics import ScoreFailure

    for sweeps, (object_, pixel_a, origin_a) in sorted(kept.items()):
        try:
            comparison = compare(object_, pixel_a, origin_a, truth, region, study.score)
        except ScoreFailure:
            if sweeps == max(kept):
                raise
            continue
        scores = _scores(comparison)
        numbers = [*scores["ssim"].values(), *(v for v in scores.values() if isinstance(v, float))]
        if all(math.isfinite(value) for value in numbers):
            yield sweeps, scores, comparison


def _scores(comparison: Comparison) -> dict[str, Any]:
    score = comparison.score
    return {
        "ssim": {f"{width:g}": float(value) for width, value in score.ssim.items()},
        "psnr_db": float(score.psnr_db),
        "mse_rad2": float(score.mse_rad2),
        "frc_area": float(score.frc_area),
        "frc_qmax": float(score.frc_qmax),
        "contrast": float(score.contrast),
        "data_range_rad": float(score.data_range),
        "shift_a": [float(v) for v in score.shift_a],
        **score.own,
    }


def judged(study: StudyConfig, result: Mapping[str, Any]) -> dict[str, Any]:
    """{sweeps, scores} of a trial's best sweep by the study's objective; empty for a trial that is not ok.

    It is found when a result is read, so that trials serve every objective.
    """
    if result["status"] != "ok":
        return {}
    return max(result["path"], key=lambda one: _value(study, one["scores"]))


def objective_value(study: StudyConfig, result: Mapping[str, Any]) -> float | None:
    """What the search maximises; None for a trial that is not ok."""
    best = judged(study, result)
    return _value(study, best["scores"]) if best else None


def value_at(study: StudyConfig, result: Mapping[str, Any], sweeps: int | None) -> float | None:
    """The objective after so many sweeps; None for a trial that is not ok, or isn't scored there."""
    if result["status"] != "ok":
        return None
    return next((_value(study, one["scores"]) for one in result["path"] if one["sweeps"] == sweeps), None)


def common_stop(study: StudyConfig, results: Sequence[Mapping[str, Any]]) -> int | None:
    """The sweep of the greatest mean objective over trials of one design, of those at which all that are ok are scored.

    One trial's best sweep is in part luck; that of several is less so. None: no trial is ok.
    """
    good = [result for result in results if result["status"] == "ok"]
    if not good:
        return None
    shared = set.intersection(*({one["sweeps"] for one in result["path"]} for result in good))
    means = {sweeps: sum(value_at(study, result, sweeps) for result in good) for sweeps in sorted(shared)}
    return max(means, key=means.get)


def _value(study: StudyConfig, scores: Mapping[str, Any]) -> float:
    metric = study.objective.metric
    if metric == "ssim":
        return scores["ssim"][f"{study.objective.width_px:g}"]
    return -scores["mse_rad2"] if metric == "mse_rad2" else scores[metric]
