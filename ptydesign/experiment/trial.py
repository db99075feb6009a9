"""One trial: simulate, reconstruct, score. What goes wrong in it numerically is a recorded status."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptydesign import accelerator
from ptydesign.errors import InputError
from ptydesign.experiment.config import StudyConfig
from ptydesign.study.acquisition import ExperimentConfig, to_experiment
from ptydesign.study.store import digest, seed_of
from ptydesign.study.versions import FIELD_TRIAL, versions

if TYPE_CHECKING:
    from ptydesign.reconstruct.observers import Observer
    from ptydesign.reconstruct.plan import Plan
    from ptydesign.score.compare import Comparison
    from ptydesign.types import Dataset, Outcome, Potential, ReconState, Truth

SEARCH = 0  # `repeat` of a search's trials; fresh draws are 1, 2, ...


@dataclass(frozen=True)
class Trial:
    """What determines a trial, apart from the study. repeat: 0 in a search, 1... for fresh draws. stop: the
    sweep after which the reconstruction ends and is scored; None: it is scored at all sweeps that the study names."""

    experiment: ExperimentConfig
    dose_e_per_a2: float
    simulator: str = "jax"
    repeat: int = SEARCH
    stop: int | None = None

    @property
    def asked_e_per_a2(self) -> float:
        """The dose by which a study's trials are told apart."""
        return self.dose_e_per_a2

    def seed(self, study: StudyConfig) -> int:
        """Seed of noise, position errors and the reconstruction's shuffling, keyed by content: the same for all plans
        of one experiment, which so get the same data."""
        content = self.experiment.model_dump(mode="json"), self.dose_e_per_a2, self.simulator, self.repeat
        return seed_of(study.seed, *content)

    def inputs(self, study: StudyConfig, potential_key: str) -> dict[str, Any]:
        """Everything that determines the result."""
        return {
            **study_inputs(study, potential_key),
            **(path_inputs(study) if self.stop is None else {"stop": self.stop}),
            "experiment": self.experiment.model_dump(mode="json"),
            "dose_e_per_a2": self.dose_e_per_a2,
            "simulator": self.simulator,
            "seed": self.seed(study),
            **({"device": accelerator.kind()} if accelerator.used() else {}),  # sums round otherwise than on a CPU
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


def path_inputs(study: StudyConfig) -> dict[str, Any]:
    """What determines the path of a trial that is scored on its way. The objective does only if it ends trials."""
    own: dict[str, Any] = {"scored_sweeps": list(study.scored)}
    if study.patience is not None:
        own |= {"patience": study.patience, "objective": study.objective.model_dump(mode="json")}
    return own


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


class Running:
    """A trial on its way: begun, reconstructed by whoever holds it, ended.

    result: JSON-able, a function of the inputs alone. cost: seconds. images: of the last scored sweep, if any.
    known, plan: what to reconstruct, and how. path: scores along the way.
    """

    known: Dataset | None
    plan: Plan
    path: ScoredPath

    def __init__(self, study: StudyConfig, potential: Potential, trial: Trial):
        self.study, self.potential, self.trial = study, potential, trial
        self.seed = trial.seed(study)
        self.region = scored_region_a(trial.experiment.field_of_view_a, potential.grid.extent_a)
        self.result: dict[str, Any] = {
            "status": "failed",
            "reason": "",
            "seed": self.seed,
            "region_a": list(self.region),
        }
        self.cost: dict[str, float] = {}
        self.images: Comparison | None = None
        self.failed = False

    @property
    def observers(self) -> tuple[Observer, ...]:
        """What looks at the reconstruction after the study's scored sweeps."""
        return () if self.trial.stop else (self.path.observe,)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """What goes wrong numerically within it is the trial's result."""
        from ptydesign.score.metrics import ScoreFailure

        try:
            yield
        except (InputError, ScoreFailure, FloatingPointError) as error:
            self.result["reason"], self.failed = str(error), True

    def begin(self, simulate: Simulate) -> None:
        """Simulate, and find what was told wrongly. Raises what `judged` takes."""
        from ptydesign.reconstruct.calibrate import calibrated
        from ptydesign.simulate.field import check_fluence, fluence

        study, trial, extent = self.study, self.trial, self.potential.grid.extent_a
        start = time.perf_counter()
        planned = to_experiment(trial.experiment, trial.dose_e_per_a2)
        mean, least = fluence(planned, self.region, (extent[0] / 2, extent[1] / 2))
        self.result |= {"fluence_mean": round(mean, 4), "fluence_least": round(least, 4)}
        if trial.experiment.scan_margin_a is None:
            check_fluence(mean, least, trial.experiment.margin_a)
        dataset, truth = simulate(study, self.potential, trial)
        start = self._lap("simulate_s", start)
        self.result["positions"] = len(dataset.positions_a)
        self.path = ScoredPath(study, truth, self.region, study.patience)
        self.known = trial.known(dataset)
        self.plan, found = calibrated(self.known, study.reconstruction, self.seed)
        if found:
            self.result["calibrated"] = {name: round(curve.best, 4) for name, curve in found.items()}
            self._lap("calibrate_s", start)

    def _lap(self, name: str, start: float) -> float:
        now = time.perf_counter()
        self.cost[name] = round(now - start, 4)
        return now

    def reconstruct(self) -> None:
        """Reconstruct what was begun, and end it. Raises what `judged` takes."""
        from ptydesign.reconstruct.run import reconstruct

        start = time.perf_counter()
        state, _, outcome = reconstruct(self.known, self.plan, self.seed, self.observers, most=self.trial.stop)
        self.end(state, outcome, time.perf_counter() - start - self.path.seconds)

    def end(self, state: ReconState, outcome: Outcome, seconds: float) -> None:
        """Score the last sweep; seconds: that the reconstruction took. Raises what `judged` takes."""
        self.cost["reconstruct_s"] = round(seconds, 4)
        self.result["sweeps"] = int(outcome.sweeps)
        if outcome.status == "diverged":
            self.result |= {"status": "diverged", "reason": outcome.reason}
            return
        self.path.end(int(outcome.sweeps), state)
        self.cost["score_s"] = round(self.path.seconds, 4)
        if not self.path.scores:
            self.result["reason"] = "a score is not finite"
            return
        path = [{"sweeps": sweeps, "scores": scores} for sweeps, scores in self.path.scores.items()]
        self.result |= {"status": "ok", "path": path}
        self.images = self.path.images


def run_trial(
    study: StudyConfig, potential: Potential, trial: Trial, simulate: Simulate = simulate_trial
) -> tuple[dict[str, Any], dict, Comparison | None]:
    """Result (JSON-able, a function of the inputs alone), cost in seconds, and the images if the trial could be scored.

    status: ok, diverged (the reconstruction), or failed (it could not be simulated or scored); with a reason. `path`
    has the scores after each sweep that is scored, the last one included, of which the images are; `judged` says which
    counts. simulate: gives the data, which may be at hand already.
    """
    running = Running(study, potential, trial)
    with running.judged():
        running.begin(simulate)
        running.reconstruct()
    return running.result, running.cost, running.images


class ScoredPath:
    """The scores of a reconstruction on its way. scores: by sweeps. images: of the last. seconds: spent on it.
    patience: as the study's; None goes on to the end."""

    def __init__(
        self, study: StudyConfig, truth: Truth, region: tuple[float, float, float, float], patience: int | None = None
    ):
        from ptydesign.score.align import Projected

        self.study, self.truth, self.region, self.patience = study, Projected(truth), region, patience
        self.scores: dict[int, dict[str, Any]] = {}
        self.images: Comparison | None = None
        self.seconds = 0.0

    def observe(self, sweep: int, loss: float, state: ReconState) -> bool:
        """Score a sweep if the study names it, and say whether the best one has passed for good.

        What can't be scored is left out: it may be later.
        """
        from ptydesign.score.metrics import ScoreFailure

        if sweep not in self.study.scored:
            return False
        with suppress(ScoreFailure):
            self.score(sweep, state)
        values = [_value(self.study, scores) for scores in self.scores.values()]
        return passed(values, self.patience)

    def end(self, sweep: int, state: ReconState) -> None:
        """Score the last sweep. Raises ScoreFailure."""
        if sweep not in self.scores:
            self.score(sweep, state)

    def score(self, sweep: int, state: ReconState) -> None:
        """Score a state, unless a score is not finite."""
        from ptydesign.score.compare import compare

        start = time.perf_counter()
        arrays = (np.asarray(array) for array in (state.object, state.pixel_a, state.origin_a))
        comparison = compare(*arrays, self.truth, self.region, self.study.score)
        scores = _scores(comparison)
        numbers = [*scores["ssim"].values(), *(v for v in scores.values() if isinstance(v, float))]
        if all(math.isfinite(value) for value in numbers):
            self.scores[sweep], self.images = scores, comparison
        self.seconds += time.perf_counter() - start


def passed(values: Sequence[float], patience: int | None) -> bool:
    """Whether the last `patience` values of a path are all below its best; None: never."""
    return patience is not None and len(values) - 1 - int(np.argmax(values or [0.0])) >= patience


def _scores(comparison: Comparison) -> dict[str, Any]:
    score = comparison.score
    return {
        "ssim": {f"{width:g}": float(value) for width, value in score.ssim.items()},
        "psnr_db": float(score.psnr_db),
        "mse_rad2": float(score.mse_rad2),
        "frc_area": float(score.frc_area),
        "frc_qmax": float(score.frc_qmax),
        "information": float(score.information),
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


def lengthened(study: StudyConfig, factor: int) -> StudyConfig:
    """The study with so many times the sweeps of its last engine, scored at its own sweeps and up to their end."""
    plan = study.reconstruction
    last = plan.engines[-1].model_copy(update={"sweeps": factor * plan.engines[-1].sweeps})
    scored = sorted({factor * count for count in study.scored} | set(study.scored))
    plan = plan.model_copy(update={"engines": (*plan.engines[:-1], last)})
    return study.model_copy(update={"reconstruction": plan, "scored_sweeps": tuple(scored)})


def _value(study: StudyConfig, scores: Mapping[str, Any]) -> float:
    metric = study.objective.metric
    if metric == "ssim":
        return scores["ssim"][f"{study.objective.width_px:g}"]
    return -scores["mse_rad2"] if metric == "mse_rad2" else scores[metric]
