"""How far each parameter of the recommended design may be off, by simulation: "42 +- 12 nm keeps 95 % of the score".

The search's model only says how far to look. Values on both sides are simulated with fresh noise, the other parameters
held, and the operator knows the value that was set (what happens where he doesn't is `robust`'s).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import io
from ptydesign.design.space import Dimension
from ptydesign.errors import InputError, nearest
from ptydesign.planning import layout
from ptydesign.planning.instrument import Setting
from ptydesign.planning.resolve import Resolved
from ptydesign.planning.robust import recommend, summarise
from ptydesign.planning.search import WITHIN, Runners
from ptydesign.planning.space import make_space
from ptydesign.study.progress import Progress
from ptydesign.study.search import read_json

LEVELS = (0.5, 1.0)  # of the way to the last value on a side
LEAST_STEP = 0.15  # of the step: how far is looked even where the search's model is sure of nothing
LEAST_DEFOCUS = 2.0  # the same, in standard deviations of the defocus
LEAST_RANGE = 0.05  # the same, of the range of the instrument where it has no error of defocus


def read_robust(resolved: Resolved) -> dict[str, dict[str, Any]]:
    """robust/<design>.json of the designs that there are, by name."""
    found = {name: read_json(resolved.results / f"robust/{name}.json") for name in layout.designs(resolved.study)}
    return {name: content for name, content in found.items() if content["setting"] is not None}


def recommended(resolved: Resolved, robust: Mapping[str, dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The recommended design, and what each design's trials say."""
    summaries = [summarise(content, resolved.study.robustness.failed_below) for content in robust.values()]
    return recommend(summaries), summaries


def values_to_try(
    dimension: Dimension, value: Any, predicted: Sequence[Any] | None, least: float
) -> list[tuple[int, Any]]:
    """(side, value) from the inside out: side -1 below and +1 above `value`.

    Of a list of choices the next on each side. Of a range, LEVELS of the way to the end of what the search's model
    predicts ([low, high] or None), or to `least` away if that is further, inside the range.
    """
    if dimension.choices is not None:
        values = sorted({*dimension.values, value})
        place = values.index(value)
        return [(side, values[place + side]) for side in (-1, 1) if 0 <= place + side < len(values)]
    low, high = predicted if predicted is not None else (value, value)
    ends = {-1: max(dimension.low, min(low, value - least)), 1: min(dimension.high, max(high, value + least))}
    tried = [(side, float(f"{value + level * (end - value):.5g}")) for side, end in ends.items() for level in LEVELS]
    return [(side, v) for side, v in tried if abs(v - value) > 1e-6]


def kept_range(value: Any, tried: Sequence[Mapping[str, Any]], score: float) -> tuple[list[Any], list[bool]]:
    """[low, high] within which all values that were tried keep 1 - WITHIN of `score`, and whether each end is the last
    one that was tried (so that more may be possible). tried: `side`, `value`, `score` from the inside out."""
    ends, is_last = [value, value], [False, False]
    for number, side in enumerate((-1, 1)):
        here = [t for t in tried if t["side"] == side]
        good = 0
        while good < len(here) and here[good]["score"] is not None and here[good]["score"] >= (1 - WITHIN) * score:
            good += 1
        if good:
            ends[number], is_last[number] = here[good - 1]["value"], good == len(here)
    return ends, is_last


def write_tolerance(resolved: Resolved, parameter: str, progress: Progress | None = None) -> Path:
    """Simulate the recommended design with other values of one parameter; write tolerance/<parameter>.json."""
    plan, bench, limit = resolved.study, resolved.bench, resolved.study.goal.dose_limit
    names = layout.parameters(plan)
    if parameter not in names:
        raise InputError("parameter", "must be one of the plan's", parameter, nearest(parameter, names))
    robust = read_robust(resolved)
    design, summaries = recommended(resolved, robust)
    score = next(s for s in summaries if s["design"] == design)["planned"]
    setting = Setting(**robust[design]["setting"])
    space = make_space(bench, limit)
    dimension = dict(zip(space.names, space.dimensions, strict=True))[parameter]
    best = read_json(resolved.results / layout.searches(plan)[layout.dose_name(limit)].best_file)
    predicted = best["tolerances"].get(design, {}).get(parameter)
    value = getattr(setting, parameter)
    runners, tried = Runners(resolved, progress), []
    for side, other in values_to_try(dimension, value, predicted, _least(resolved, setting, parameter, dimension)):
        changed = replace(setting, **{parameter: other})
        row: dict[str, Any] = {"side": side, "value": other, "possible": bench.operate(changed, limit).feasible}
        name = f"tolerance/{parameter}/{other:g}"
        repeats = plan.robustness.tolerance_repeats if row["possible"] else 0
        scores = [runners.planned(changed, limit, f"{name}/{r}", r)[2] for r in range(1, repeats + 1)]
        known = [0.0 if v is None else v for v in scores]  # what fails keeps nothing
        tried.append({**row, "scores": known, "score": float(np.mean(known)) if known else None})
    (low, high), is_last = kept_range(value, tried, score)
    content = {"parameter": parameter, "design": design, "setting": asdict(setting), "value": value, "score": score}
    content |= {"predicted": predicted, "tried": tried, "low": low, "high": high, "is_last": is_last}
    path = resolved.results / f"tolerance/{parameter}.json"
    io.write_json(path, content)
    return path


def _least(resolved: Resolved, setting: Setting, parameter: str, dimension: Dimension) -> float:
    if parameter == "step_a":
        return LEAST_STEP * setting.step_a
    if parameter == "defocus_nm" and resolved.study.instrument.defocus_error_nm > 0:
        return LEAST_DEFOCUS * resolved.study.instrument.defocus_error_nm
    return LEAST_RANGE * (dimension.high - dimension.low) if dimension.choices is None else 0.0
