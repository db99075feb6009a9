"""How far each parameter of the recommended design may be off, by simulation: "42 +- 12 nm keeps 95 % of the score".

Values on both sides are simulated with fresh noise, from the recommended one outwards until one loses too much, the
other parameters held, and the operator knows the value that was set (what happens where he doesn't is `robust`'s). The
search's model only says how far to look. Neighbouring values are so near each other that nothing hides between them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.design.space import Dimension
from ptydesign.errors import InputError, nearest
from ptydesign.planning import scope
from ptydesign.planning.card import geometry
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import PlanningResolved
from ptydesign.planning.robust import read_robust, recommended
from ptydesign.planning.rows import RED
from ptydesign.planning.search import WITHIN, Runners
from ptydesign.planning.space import make_space
from ptydesign.study.file import dose_name
from ptydesign.study.progress import Progress
from ptydesign.units import MRAD, NM, wavelength_a

LEAST_LOOKS, MOST_LOOKS = 2, 6  # values on a side
RANGE, SCORE, OPEN = "range", "score", "open"  # what ends a tolerance, beside the names of rules
FINE = 60  # places on a side where the card is looked at
STEP_APART = 0.1  # of the step: how far tried steps are apart


def apart(setting: Setting, parameter: str) -> float:
    """How far the tried values of a range are apart: lambda / alpha^2 of defocus, which turns the phase of the probe at
    the edge of the aperture by pi; a tenth of the step."""
    if parameter == "step_a":
        return STEP_APART * setting.step_a
    return wavelength_a(setting.voltage_kv) / (setting.semiangle_mrad * MRAD) ** 2 / NM


def ends_of(bench: Bench, setting: Setting, parameter: str, dimension: Dimension) -> tuple[float, float]:
    """[low, high] beyond which a range isn't looked at: see `ends_and_reasons`."""
    (low, _), (high, _) = ends_and_reasons(bench, setting, parameter, dimension)
    return low, high


def ends_and_reasons(
    bench: Bench, setting: Setting, parameter: str, dimension: Dimension
) -> tuple[tuple[float, str], tuple[float, str]]:
    """The ends of a range, low and high, beyond which it isn't looked at, each with what ends it: RANGE, what the
    instrument has; or the rule of the card's geometry that turns red there and isn't red at the setting itself (as the
    overlap does on the way to focus)."""
    value, found = getattr(setting, parameter), []
    own = reds(bench, setting)
    for end in (float(dimension.low), float(dimension.high)):
        room = min(abs(end - value), MOST_LOOKS * apart(setting, parameter))
        looked = [value + np.sign(end - value) * room * n / FINE for n in range(1, FINE + 1)]
        good = list(itertools.takewhile(lambda v: reds(bench, replace(setting, **{parameter: v})) <= own, looked))
        if len(good) == FINE:
            found.append((end, RANGE))
            continue
        red = sorted(reds(bench, replace(setting, **{parameter: looked[len(good)]})) - own)
        found.append((float(f"{good[-1] if good else value:.5g}"), red[0]))
    return found[0], found[1]


def reds(bench: Bench, setting: Setting) -> set[str]:
    """Names of the rules of the card's geometry that a setting breaks."""
    return {row.name for row in geometry(bench, setting) if row.status == RED}


def values_to_try(
    dimension: Dimension, value: Any, predicted: Sequence[Any] | None, ends: Sequence[float], gap: float
) -> list[tuple[int, Any]]:
    """(side, value) from the inside out: side -1 below and +1 above `value`.

    Of a list of choices the next on each side. Of a range, values that are at most `gap` apart as far as the search's
    model predicts ([low, high] or None), LEAST_LOOKS gaps at least and MOST_LOOKS at most, between `ends`; focus is
    among them where they cross it.
    """
    if dimension.choices is not None:
        values = sorted({*dimension.values, value})
        place = values.index(value)
        return [(side, values[place + side]) for side in (-1, 1) if 0 <= place + side < len(values)]
    tried: list[tuple[int, Any]] = []
    for side, predicted_end, end in zip((-1, 1), predicted or (value, value), ends, strict=True):
        room = max(0.0, side * (end - value))
        reach = min(room, max(LEAST_LOOKS * gap, min(MOST_LOOKS * gap, side * (predicted_end - value))))
        looks = math.ceil(reach / gap - 1e-6)
        here = {value + side * reach * (n + 1) / looks for n in range(looks) if reach > 1e-6}
        if here and value and min(here) < 0 < max(here):
            here.add(0.0)
        tried += [(side, float(f"{v:.5g}")) for v in sorted(here, reverse=side < 0)]
    return tried


def kept_range(
    value: Any, tried: Sequence[Mapping[str, Any]], score: float, ends: Sequence[float]
) -> tuple[list[Any], list[bool]]:
    """[low, high] within which all values that were tried keep 1 - WITHIN of `score`, and whether each end may reach
    further: the last value on its side keeps the score too, and isn't the end of what may be tried.

    tried: `side`, `value`, `score` from the inside out. ends: [low, high] of what may be tried.
    """
    found, more = [value, value], [False, False]
    for number, side in enumerate((-1, 1)):
        here = [t for t in tried if t["side"] == side]
        good = list(itertools.takewhile(lambda t: keeps(t["score"], score), here))
        if good:
            found[number] = good[-1]["value"]
            at_end = abs(found[number] - ends[number]) <= 1e-4 * abs(ends[number])
            more[number] = len(good) == len(here) and not at_end
    return found, more


def ended_by(
    kept: Sequence[Any],
    more: Sequence[bool],
    tried: Sequence[Mapping[str, Any]],
    ends: Sequence[float],
    reasons: Sequence[str],
) -> list[str]:
    """What ends a tolerance below and above: SCORE, a loss of score; OPEN, the last value that was tried kept it; what
    `ends_and_reasons` says, or the constraint that the next value breaks. kept, more: of `kept_range`."""
    found = []
    for number, side in enumerate((-1, 1)):
        at_end = abs(kept[number] - ends[number]) <= 1e-4 * abs(ends[number])
        lost = [t for t in tried if t["side"] == side and side * (t["value"] - kept[number]) > 0]
        if more[number]:
            found.append(OPEN)
        elif at_end or not lost:
            found.append(reasons[number])
        else:
            found.append(lost[0].get("broken") or SCORE)
    return found


def keeps(value: float | None, score: float) -> bool:
    """Whether a score is as good as `score`, less WITHIN."""
    return value is not None and value >= (1 - WITHIN) * score


def write_tolerance(resolved: PlanningResolved, parameter: str, progress: Progress | None = None) -> Path:
    """Simulate the recommended design with other values of one parameter; write tolerance/<parameter>.json."""
    plan, bench, limit = resolved.study, resolved.bench, resolved.dose_e_per_a2
    names = scope.parameters(plan)
    if parameter not in names:
        raise InputError("parameter", "must be one of the plan's", parameter, nearest(parameter, names))
    robust = read_robust(resolved)
    design, summaries = recommended(resolved, robust)
    score = next(s for s in summaries if s["design"] == design)["planned"]
    setting = Setting(**robust[design]["setting"])
    space = make_space(bench, limit)
    dimension = dict(zip(space.names, space.dimensions, strict=True))[parameter]
    ends, reasons = None, (RANGE, RANGE)
    if dimension.choices is None:
        ends, reasons = zip(*ends_and_reasons(bench, setting, parameter, dimension), strict=True)
    best = resolved.read_json(scope.searches(plan)[dose_name(limit)].best_file)
    predicted = best["tolerances"].get(design, {}).get(parameter)
    value = getattr(setting, parameter)
    values = values_to_try(dimension, value, predicted, ends or (), apart(setting, parameter))
    tried = list(_try(Runners(resolved, progress), setting, parameter, values, score))
    limits = ends or (min(dimension.values), max(dimension.values))
    (low, high), more = kept_range(value, tried, score, limits)
    content = {"parameter": parameter, "design": design, "setting": asdict(setting), "value": value, "score": score}
    content |= {"predicted": predicted, "ends": limits, "tried": tried, "low": low, "high": high}
    content |= {"ended_by": ended_by((low, high), more, tried, limits, reasons)}
    return resolved.write_json(f"tolerance/{parameter}.json", content)


def _try(
    runners: Runners, setting: Setting, parameter: str, values: Sequence[tuple[int, Any]], score: float
) -> Iterator[dict[str, Any]]:
    """Simulate values from the inside out, on each side up to the first that loses too much."""
    plan, bench, limit = runners.resolved.study, runners.resolved.bench, runners.resolved.dose_e_per_a2
    lost: set[int] = set()
    for side, value in values:
        if side in lost:
            continue
        changed = replace(setting, **{parameter: value})
        broken = [violation.name for violation in operate(bench, changed, limit).violations]
        possible = not broken
        draws = plan.robustness.tolerance_repeats if possible else 0
        found = runners.draws(changed, limit, f"tolerance/{parameter}/{value:g}/", draws)
        scores = [one["objective"] or 0.0 for one in found]  # what fails keeps nothing
        mean = float(np.mean(scores)) if scores else None
        if not keeps(mean, score):
            lost.add(side)
        one = {"side": side, "value": value, "possible": possible, "scores": scores, "score": mean}
        yield {**one, "broken": broken[0] if broken else None}
