"""Tuning of a plan before it is compared: Bayesian optimisation over paths of the plan, on the study's own data.

The search is that of `ptydesign.design`, the paths are those of tuning studies. What is minimised is the error of all
slices after a short reconstruction; in a simulation it is known, and every plan is tuned with the same number of
trials, so that none is favoured. Trials are kept under a hash of all that determines them: a killed search goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptydesign.design.propose import initial_design, propose
from ptydesign.design.settings import Observation
from ptydesign.design.space import build_space
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.regularisation.config import RegularisationStudy
from ptydesign.regularisation.run import Watch
from ptydesign.study.store import PointStore, digest, seed_of
from ptydesign.study.versions import versions
from ptydesign.thick.config import BASE
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.steps import load_dataset, read_specimen, truth_of


def tune(resolved: ThickResolved, plan: str) -> Path:
    """Tune one plan: tuning/<plan>.json with all trials and the best."""
    study: RegularisationStudy = resolved.study
    named = next(item for item in study.plans if item.name == plan)
    config, seed = study.tuning, seed_of(study.seed, "tune", plan)
    space = build_space(named.tune)
    potential, _ = read_specimen(resolved)
    truth = truth_of(resolved, potential)
    store = PointStore(resolved.root)
    rounds: list[list[Observation]] = []
    trials: list[dict[str, Any]] = []
    state = None
    first = initial_design(space, config.initial, config.initial_design, seed)
    for round_ in range(1 + config.points):
        if round_ == 0:
            points = first
        else:
            points, state = propose(space, config, rounds, 1, seed, state)
        told = []
        for point in points:
            tried = short(study.plan_with(named.plan, point, float(resolved.shape.thickness_a)), config.sweeps)
            inputs = trial_inputs(resolved, tried)
            key = digest(inputs)
            record = store.get(key)
            if record is None:
                record = {"inputs": inputs, "result": trial(resolved, truth, tried)}
                store.put(key, record)
            result = record["result"]
            trials.append({"point": point, **result})
            error = result["rmse_slices_rad"]
            told.append(Observation(point, None if error is None else -error))
        rounds.append(told)
    scored = [t for t in trials if t["rmse_slices_rad"] is not None]
    best = min(scored, key=lambda t: t["rmse_slices_rad"])["point"] if scored else {}
    return resolved.write_json(f"tuning/{plan}.json", {"plan": plan, "best": best, "trials": trials})


def trial_inputs(resolved: ThickResolved, plan: Plan) -> dict[str, Any]:
    """Everything that determines the result of a trial."""
    study: RegularisationStudy = resolved.study
    return {
        "data": resolved.data_settings(BASE),
        "noise_seed": resolved.noise_seed(BASE),
        "dose": resolved.experiments[BASE].dose_e_per_a2,
        "plan": plan.model_dump(mode="json"),
        "seed": study.seed,
        "errors": study.errors.model_dump(mode="json"),
        **versions("reconstruct", "score", "thick"),
    }


def trial(resolved: ThickResolved, truth, plan: Plan) -> dict[str, Any]:
    """Error after a short reconstruction; None if it diverged or can't be scored, with the reason."""
    dataset = load_dataset(resolved, BASE, plan.object.slice_thickness_a)
    state, history, outcome = reconstruct(dataset, plan, resolved.study.seed)
    found = {"status": outcome.status, "reason": outcome.reason, "loss": None}
    found |= {"rmse_slices_rad": None, "rmse_projected_rad": None}
    if outcome.status == "diverged":
        return found
    errors = Watch(resolved, truth, plan).errors(state)
    kept = {name: errors[name] for name in ("rmse_slices_rad", "rmse_projected_rad", "reason") if name in errors}
    return {**found, "loss": float(history.loss[-1]), **kept}


def short(plan: Plan, sweeps: int) -> Plan:
    """The plan with fewer sweeps of its last engine, and schedules that end with them."""
    content = plan.model_dump(mode="json")
    engine = content["engines"][-1]
    for schedule in engine.get("schedules", {}).values():
        if schedule.get("sweeps"):
            schedule["sweeps"] = sweeps
    engine["sweeps"] = sweeps
    return Plan.model_validate(content)
