"""Candidates and the rule of thumb, tried again under errors that nobody sets on purpose, at the dose limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from ptydesign.errors import InputError, nearest
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.images import keep_images
from ptydesign.experiment.trial import common_stop, value_at
from ptydesign.planning import scope
from ptydesign.planning.config import RobustnessConfig
from ptydesign.planning.errors import Errors, drawn
from ptydesign.planning.instrument import Setting
from ptydesign.planning.resolve import PlanningResolved, expert_at
from ptydesign.planning.search import Runners
from ptydesign.planning.space import setting_of
from ptydesign.study.decide import standing
from ptydesign.study.draws import summarise
from ptydesign.study.file import dose_name
from ptydesign.study.progress import Progress
from ptydesign.study.store import PointStore


def design_setting(resolved: PlanningResolved, design: str) -> Setting | None:
    """The setting of a design at the dose limit; None for a candidate that the search didn't have."""
    plan, limit = resolved.study, resolved.dose_e_per_a2
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
    """Draws of all errors together for one design, and repeats without any; write robust/<design>.json.

    Its reconstruction ends, in all of them, at the sweep that is best on average over the draws."""
    plan, limit = resolved.study, resolved.dose_e_per_a2
    setting = design_setting(resolved, design)
    file = f"robust/{design}.json"
    if setting is None:
        return resolved.write_json(file, {"design": design, "setting": None, "trials": []})
    runners, save = Runners(resolved, progress), keep_images(PointStore(resolved.root))
    found = []
    for number in range(plan.robustness.draws):
        trial, errors = drawn(resolved, setting, limit, number)
        key, result, _ = runners.run(trial, setting, f"{design}/draw-{number}", errors.thickness)
        found.append({"kind": "draw", "number": number, "key": key, **result, **asdict(errors)})
    study = resolved.of(setting).study
    stop = common_stop(study, found)
    draws = [{**one, **at_stop(study, one, stop)} for one in found]
    repeats = runners.draws(setting, limit, f"{design}/repeat-", plan.robustness.repeats, save, stop)
    trials = [{"kind": "repeat", "number": one.pop("repeat"), **one, **asdict(Errors())} for one in repeats]
    content = {"design": design, "setting": asdict(setting), "sweeps": stop, "trials": [*trials, *draws]}
    return resolved.write_json(file, content)


def at_stop(study: StudyConfig, result: Mapping[str, Any], stop: int | None) -> dict[str, Any]:
    """`objective`, `scores` and `sweeps` of a trial after the sweep at which its design's reconstruction ends.

    The stop is the best on average over all draws, since on the day nobody knows the best of that one."""
    scores = next((one["scores"] for one in result.get("path", ()) if one["sweeps"] == stop), None)
    return {"objective": value_at(study, result, stop), "scores": scores, "sweeps": stop}


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
