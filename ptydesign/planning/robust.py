"""Candidates and the rule of thumb, tried again under errors that nobody sets on purpose, at the dose limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from ptydesign import io
from ptydesign.errors import InputError, nearest
from ptydesign.experiment.images import keep_images
from ptydesign.planning import scope
from ptydesign.planning.config import RobustnessConfig
from ptydesign.planning.instrument import Setting
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import in_slices
from ptydesign.planning.resolve import (
    LARGEST_SOURCE,
    PlanningResolved,
    detected_dose,
    expert_at,
    thickness_factors,
    to_experiment_config,
)
from ptydesign.planning.search import Runners
from ptydesign.planning.space import setting_of
from ptydesign.planning.trial import PlannedTrial
from ptydesign.study.decide import standing
from ptydesign.study.draws import summarise
from ptydesign.study.file import dose_name
from ptydesign.study.progress import Progress
from ptydesign.study.store import PointStore, seed_of

FIRST_REPEAT = 1000  # repeats of draws, apart from those of plain repeats


@dataclass(frozen=True)
class Errors:
    """One draw of everything that may be wrong. Factors are of the instrument's values; source None is coherent."""

    defocus_nm: float = 0.0
    drift: float = 1.0
    drift_angle_rad: float = math.pi / 4
    source: float | None = None
    tilt_mrad: tuple[float, float] = (0.0, 0.0)
    thickness: float = 1.0


def draw_errors(resolved: PlanningResolved, number: int) -> Errors:
    """Draw `number`: the same for every design, so that they are compared under the same errors."""
    plan, instrument = resolved.study, resolved.study.instrument
    rng = np.random.default_rng(seed_of(plan.seed, "errors", number))
    normal = rng.standard_normal(3)
    thick = in_slices(plan)
    factors = (1.0, *thickness_factors(plan))
    return Errors(
        defocus_nm=round(float(normal[0]) * instrument.defocus_error_nm, 3),
        drift=round(float(rng.uniform(0, 2)), 3),
        drift_angle_rad=round(float(rng.uniform(0, 2 * math.pi)), 3),
        source=round(float(rng.uniform(2 - LARGEST_SOURCE, LARGEST_SOURCE)), 3),
        tilt_mrad=tuple(round(float(v) * plan.robustness.tilt_mrad, 3) for v in normal[1:]) if thick else (0.0, 0.0),
        thickness=float(factors[int(rng.integers(len(factors)))]),
    )


def design_setting(resolved: PlanningResolved, design: str) -> Setting | None:
    """The setting of a design at the dose limit; None for a candidate that the search didn't have."""
    plan, limit = resolved.study, resolved.study.goal.dose_limit
    if design not in scope.designs(plan):
        raise InputError("design", "must be one of the plan's", design, nearest(design, scope.designs(plan)))
    if design == scope.EXPERT_DESIGN:
        return expert_at(resolved.bench, limit)
    best = resolved.read_json(scope.searches(plan)[dose_name(limit)].best_file)
    rank = int(design.rpartition("-")[2])
    if rank >= len(best["candidates"]):
        return None
    return setting_of(resolved.bench, best["candidates"][rank])


def robust(resolved: PlanningResolved, design: str, progress: Progress | None = None) -> Path:
    """Repeats without errors and draws of all errors together for one design; write robust/<design>.json."""
    plan, limit = resolved.study, resolved.study.goal.dose_limit
    setting = design_setting(resolved, design)
    path = resolved.results / f"robust/{design}.json"
    if setting is None:
        io.write_json(path, {"design": design, "setting": None, "trials": []})
        return path
    runners, save = Runners(resolved, progress), keep_images(PointStore(resolved.root))
    stop = runners.stop(setting, limit)
    found = runners.draws(setting, limit, f"{design}/repeat-", plan.robustness.repeats, save, stop)
    trials = [{"kind": "repeat", "number": one.pop("repeat"), **one, **asdict(Errors())} for one in found]
    for number in range(plan.robustness.draws):
        trial, errors = drawn(resolved, setting, number, stop)
        key, result, score = runners.run(trial, setting, f"{design}/draw-{number}", errors.thickness)
        trials.append({"kind": "draw", "number": number, "key": key, "objective": score, **result, **asdict(errors)})
    io.write_json(path, {"design": design, "setting": asdict(setting), "sweeps": stop, "trials": trials})
    return path


def drawn(
    resolved: PlanningResolved, setting: Setting, number: int, stop: int | None = None
) -> tuple[PlannedTrial, Errors]:
    """The trial of a setting at the dose limit under draw `number` of all errors, and these."""
    bench, limit, errors = resolved.bench, resolved.study.goal.dose_limit, draw_errors(resolved, number)
    operation = operate(bench, setting, limit)
    believed = to_experiment_config(bench, operation)
    true = to_experiment_config(bench, operation, errors.drift, errors.drift_angle_rad, errors.source)
    # the scan on the day is the planned one, whatever goes wrong
    wrong = {"defocus_nm": setting.defocus_nm + errors.defocus_nm, "scan_margin_a": believed.margin_a}
    trial = PlannedTrial(
        true.model_copy(update=wrong),
        detected_dose(bench, limit),
        repeat=FIRST_REPEAT + number,
        stop=stop,
        believed=believed,
        tilt_mrad=errors.tilt_mrad,
    )
    return trial, errors


def read_robust(resolved: PlanningResolved) -> dict[str, dict[str, Any]]:
    """robust/<design>.json of the designs that there are, by name."""
    found = {name: resolved.read_json(f"robust/{name}.json") for name in scope.designs(resolved.study)}
    return {name: content for name, content in found.items() if content["setting"] is not None}


def recommended(resolved: PlanningResolved, contents: Mapping[str, dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The recommended design, and what each design's trials say. contents: of `read_robust`."""
    config = resolved.study.robustness
    least = least_score(contents[scope.EXPERT_DESIGN], config)
    return recommend([summarise_design(content, least) for content in contents.values()], contents, config.zone)


def least_score(expert: dict[str, Any], config: RobustnessConfig) -> float:
    """Below which a draw counts as failed, whatever the design; 0 where the rule of thumb has no score itself."""
    own = summarise([t["objective"] for t in expert["trials"] if t["kind"] == "repeat"]).mean
    return config.least_score if config.least_score is not None else config.failed_below * (own or 0.0)


def summarise_design(content: dict[str, Any], least: float) -> dict[str, Any]:
    """What a design's trials say: scores without and with errors, and, apart from them, how often it fails.

    A draw of errors fails if it diverges, can't be scored, or scores less than `least`; trials without errors don't
    count, since on the day there are errors. The mean over draws counts a failed one with its score, or 0. The interval
    is Wilson's, 95 %. unplanned: how many failed without errors.
    """
    repeats = [t["objective"] for t in content["trials"] if t["kind"] == "repeat"]
    draws = [t["objective"] for t in content["trials"] if t["kind"] == "draw"]
    own = summarise(repeats)
    failed = sum(v is None or v < least for v in draws)
    low, high = wilson(failed, len(draws))
    values = [v or 0.0 for v in draws]
    under = summarise(values)
    return {
        "design": content["design"],
        "planned": own.mean,
        "planned_std": own.std,
        "robust": under.mean,
        "robust_std": under.std,
        "worst": float(np.min(values)),
        "least": least,
        "failed": failed,
        "tried": len(draws),
        "unplanned": len(repeats) - own.n,
        "failure_low": low,
        "failure_high": high,
    }


def wilson(failed: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a probability from `failed` of `count` (Wilson, J. Am. Stat. Assoc. 22:209, 1927)."""
    if count == 0:
        return 0.0, 1.0
    found = binomtest(failed, count).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def recommend(
    summaries: list[dict[str, Any]], contents: Mapping[str, dict[str, Any]], zone: float
) -> tuple[str, list[dict[str, Any]]]:
    """The recommended design, and the summaries with how far each lies behind the best, draw by draw.

    The best has the highest mean score under errors: the plateau, not the peak. Where it can't be told from the rule of
    thumb, or is better by no more than the zone, the rule of thumb is recommended: it is what people know how to set.
    """
    able = [s["design"] for s in summaries if s["planned"] is not None]
    if not able:
        mend = "Look at the reasons in robust/*.json."
        raise InputError("robustness", "needs a design that could be scored", "none", mend)
    draws = {name: scores_by_draw(contents[name]) for name in able}
    best = max(able, key=lambda name: np.mean(list(draws[name].values())))
    behind = {name: dict.fromkeys(("behind", "behind_low", "behind_high", "better")) for name in contents}
    chosen = best
    if len(able) > 1 and len(draws[best]) > 1:
        found = standing(list(draws.values()), zone)
        rivals = {name: rival for name, rival in zip(able, found.rivals, strict=True) if rival is not None}
        for name, rival in rivals.items():
            numbers = (rival.difference, rival.low, rival.high, rival.better)
            behind[name] = dict(zip(behind[name], numbers, strict=True))
        rule = rivals.get(scope.EXPERT_DESIGN)
        if rule is not None and (rule.low <= 0 or rule.difference <= zone):
            chosen = scope.EXPERT_DESIGN
    return chosen, [{**s, **behind[s["design"]], "best": s["design"] == best} for s in summaries]


def scores_by_draw(content: dict[str, Any]) -> dict[int, float]:
    """Scores of a design's draws of errors by their number; 0 for one that gave none."""
    return {t["number"]: t["objective"] or 0.0 for t in content["trials"] if t["kind"] == "draw"}
