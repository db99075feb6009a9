"""One trial: a plan reconstructs both scans within a budget; how well they agree, and predict what they haven't seen.

The truth of a simulation is opened here for the scorer alone: it enters the record, and no search looks at it unless
its
objective says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.reconstruct.paths import with_values
from ptydesign.reconstruct.plan import Plan
from ptydesign.study.store import PointStore, digest, seed_of
from ptydesign.study.versions import TRIAL, versions
from ptydesign.tuning.config import OBJECTIVES, TuningConfig
from ptydesign.tuning.data import Pair
from ptydesign.tuning.scope import SECONDS, Budget

MOST_SWEEPS = 100_000
NEVER = 1_000_000  # a sweep that no reconstruction reaches
SWITCHES = {"refine_positions": "positions_start", "refine_intensity": "intensity_start"}

Point = Mapping[str, Any]


def plan_of(study: TuningConfig, values: Point, budget: Budget | None = None, where: str = "space") -> Plan:
    """The study's plan with values at paths, ended by a budget. Raises InputError for values that don't fit."""
    plan = study.plan.model_dump(mode="json", exclude_unset=True)
    if budget is None:
        return with_values(plan, values, where)
    with_values(plan, values, where)  # errors name what the user wrote
    # the last engine goes on until the budget is spent
    plan["budget"] = {budget.unit: budget.value}
    plan["engines"][-1]["sweeps"] = MOST_SWEEPS
    for engine in plan["engines"]:
        if study.prune.factor:
            engine["stop"] = {"worse": study.prune.factor, **engine.get("stop", {})}
    return with_values(plan, switched(study, values), where)


def plan_to_use(study: TuningConfig, values: Point, sweeps: int) -> Plan:
    """The plan of a trial for data of any size: with as many sweeps in all as the trial had, without its budget, which
    buys fewer of them on a larger scan, and without what a search alone needs. Engines that the budget kept from
    beginning are left out; one that stops by itself is taken to have had all its sweeps."""
    written = plan_of(study, values)
    plan, engines = written.model_dump(mode="json", exclude_unset=True, exclude={"budget"}), []
    for content, engine in zip(plan["engines"], written.engines, strict=True):
        last = len(engines) == len(written.engines) - 1
        own = sweeps if last else min(engine.sweeps, sweeps)
        if own > 0 or not engines:
            engines.append({**content, "sweeps": max(1, own)})
        sweeps -= own
    return with_values({**plan, "engines": engines}, {})


def switched(study: TuningConfig, values: Point) -> dict[str, Any]:
    """The values, with what a space switches off written as what never starts: plans that differ in switches then share
    their compiled code, which takes longer to make than a short trial. Work and state are those of what is off."""
    plan = study.plan.model_dump(mode="json")
    result = dict(values)
    for path, dimension in study.space.root.items():
        head, _, last = path.rpartition(".")
        if path == "probe.opr_modes" and dimension.choices and 0 in dimension.choices:
            if not values.get(path, plan["probe"].get("opr_modes", 0)):
                result[path] = min(n for n in dimension.choices if n)
                result["engines.*.opr_start"] = NEVER
        elif last in SWITCHES and dimension.size == 2:
            number = head.rpartition(".")[2]
            engine = plan["engines"][int(number) if number.isdigit() else 0]
            if not values.get(path, engine.get(last, False)):
                result |= {path: True, f"{head}.{SWITCHES[last]}": NEVER}
    return result


DIGITS = 12  # of a score; further ones depend on where in memory an image lies, and tables are to be identical


@dataclass(frozen=True)
class Trial:
    """What determines a trial: the plan's values, the budget, the data."""

    study: TuningConfig
    values: dict[str, Any]
    budget: Budget
    pair: Pair

    @property
    def plan(self) -> Plan:
        """The whole plan, budget included."""
        return plan_of(self.study, self.values, self.budget)

    @property
    def seed(self) -> int:
        """Of the batches' order; the same for all plans, another for each scan."""
        return seed_of(self.study.seed, "reconstruct")

    def inputs(self) -> dict[str, Any]:
        """Everything that determines the result."""
        study = self.study
        return {
            "kind": "tuning",
            "data": self.pair.digest,
            "truth": self.pair.truth is not None,
            "plan": self.plan.model_dump(mode="json"),
            "seed": self.seed,
            "agreement": study.agreement.model_dump(mode="json", exclude={"heldout"}),
            "q_max_per_a": study.objective.q_max_per_a,
            "ssim_width_px": study.objective.ssim_width_px,
            "score": study.score.model_dump(mode="json") if study.truth_known else None,
            "versions": versions(*TRIAL, "tuning"),
        }

    def key(self) -> str:
        """The hash under which the trial is stored."""
        return digest(self.inputs())


class Runner:
    """Runs trials, or takes them from the point store."""

    def __init__(self, study: TuningConfig, root: Any, progress: Any = None):
        self.study, self.store, self.progress = study, PointStore(root), progress

    def run(self, trial: Trial, name: str, images: bool = False) -> dict[str, Any]:
        """The result of a trial, with its key. images: phases and ring correlation are kept beside the record."""
        key = trial.key()
        record, seconds = self.store.get(key), None
        if record is not None and images and record["result"]["status"] == "ok" and not self.store.has_images(key):
            record = None
        if record is None:
            start = time.perf_counter()
            result, pictures = run_trial(trial)
            seconds = round(time.perf_counter() - start, 3)
            if images and pictures is not None:
                self.store.put_images(key, pictures)
            record = {"inputs": trial.inputs(), "result": result, "cost": {"seconds": seconds}}
            self.store.put(key, record)
        if self.progress is not None:
            result = record["result"]
            about = {"point": trial.values, "key": key, "status": result["status"], "reason": result["reason"]}
            self.progress.done(name, trial.budget.value, objective_value(self.study, result), seconds, about)
        return {"key": key, **record["result"]}


def run_trial(trial: Trial) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Result (JSON-able) and pictures of a trial. status: ok; diverged (a reconstruction); failed (couldn't be done or
    scored); with a reason. Under a work budget the result is a function of `trial.inputs()` alone."""
    from ptydesign.reconstruct.predict import heldout_misfit
    from ptydesign.score.halves import compare_halves
    from ptydesign.score.metrics import ScoreFailure

    study, pair = trial.study, trial.pair
    result: dict[str, Any] = {"status": "failed", "reason": "", "sweeps": [], "work_gflop": [], "seconds": None}
    states, seconds = [], []
    try:
        plan = trial.plan
        if trial.budget.unit == SECONDS:
            _warm_up(trial)
        for number, dataset in enumerate(pair.scans):
            state, history, outcome = _reconstruct(dataset, plan, trial.seed + number)
            result["sweeps"].append(int(outcome.sweeps))
            result["work_gflop"].append(float(f"{history.work_gflop[-1]:.6g}") if len(history.work_gflop) else 0.0)
            seconds.append(float(history.seconds[-1]) if len(history.seconds) else 0.0)
            if outcome.status == "diverged":
                return {**result, "status": "diverged", "reason": outcome.reason}, None
            states.append(state)
        if trial.budget.unit == SECONDS:
            result["seconds"] = [round(s, 3) for s in seconds]
        agreement = compare_halves(*states, max_shift_a=study.agreement.max_shift_a, taper=study.agreement.taper)
        curve = agreement.frc_curve
        misfits = [
            heldout_misfit(state, scan.positions_a, out)
            for state, scan, out in zip(states, pair.scans, pair.heldout, strict=True)
        ]
        scores = {
            "frc_area": curve.area(study.objective.q_max_per_a),
            "resolution_a": curve.resolution_a(curve.one_bit),
            "heldout_misfit": float(np.mean(misfits)),
        }
        truth_scores, truth_image = _against_truth(trial, states)
        scores |= truth_scores
    except (InputError, ScoreFailure, FloatingPointError) as error:
        return {**result, "reason": str(error)}, None
    scores["resolution_a"] = None if not np.isfinite(scores["resolution_a"]) else scores["resolution_a"]
    if not all(v is None or np.isfinite(v) for v in scores.values()):
        return {**result, "reason": "a score is not finite"}, None
    pixel = tuple(float(p) for p in np.asarray(states[0].pixel_a))
    arrays = {
        "phase": io.Array(agreement.first.astype(np.float32), "rad", "y,x"),
        "second": io.Array(agreement.second.astype(np.float32), "rad", "y,x"),
        "q": io.Array(curve.q, "1/angstrom", "ring"),
        "frc": io.Array(curve.frc, "1", "ring"),
        "one_bit": io.Array(curve.one_bit, "1", "ring"),
    }
    if truth_image is not None:
        arrays["truth"] = io.Array(truth_image.astype(np.float32), "rad", "y,x")
    scores = {name: None if v is None else float(f"{v:.{DIGITS}g}") for name, v in scores.items()}
    return {**result, "status": "ok", "scores": scores}, {"arrays": arrays, "attrs": {"pixel_a": list(pixel)}}


def _reconstruct(dataset, plan: Plan, seed: int):
    from ptydesign.reconstruct.run import reconstruct

    return reconstruct(dataset, plan, seed)


def _warm_up(trial: Trial) -> None:
    """Compile what the trial needs, so that its seconds are those of the reconstruction."""
    plan = trial.plan.model_dump(mode="json", exclude_unset=True)
    for content, engine in zip(plan["engines"], trial.plan.engines, strict=True):
        content["sweeps"] = 1
        if engine.refine_positions and engine.search_every and engine.positions_start < NEVER:
            content |= {"sweeps": 2, "positions_start": 0, "search_every": 1}  # a search before the second sweep
    plan.pop("budget", None)
    _reconstruct(trial.pair.scans[0], with_values(plan, {}), trial.seed)


def _against_truth(trial: Trial, states: list) -> tuple[dict[str, float], np.ndarray | None]:
    """Mean scores of both reconstructions against the truth, and the truth on the pixels of the first; nothing for
    measured data."""
    from ptydesign.score.compare import compare, scanned_region

    truth = trial.pair.read_truth()
    if truth is None:
        return {}, None
    study = trial.study
    region = scanned_region(np.concatenate([scan.positions_a for scan in trial.pair.scans]))
    config = study.score.model_copy(
        update={"frc_qmax": study.objective.q_max_per_a, "ssim_widths_px": (study.objective.ssim_width_px,)}
    )
    found = [compare(s.object, s.pixel_a, s.origin_a, truth, region, config) for s in states]
    scores = [f.score for f in found]
    return {
        "ssim": float(np.mean([s.ssim[study.objective.ssim_width_px] for s in scores])),
        "psnr_db": float(np.mean([s.psnr_db for s in scores])),
        "mse_rad2": float(np.mean([s.mse_rad2 for s in scores])),
        "frc_area_truth": float(np.mean([s.frc_area for s in scores])),
        "contrast": float(np.mean([s.contrast for s in scores])),
    }, found[0].truth_image


def metric_value(name: str, result: Mapping[str, Any]) -> float | None:
    """A metric of a result, so that more is better; None for a trial that is not ok."""
    return None if result["status"] != "ok" else OBJECTIVES[name] * result["scores"][name]


def objective_value(study: TuningConfig, result: Mapping[str, Any]) -> float | None:
    """What a search maximises; with several metrics, the first of them."""
    return metric_value(study.objective.metrics[0], result)
