"""The search space of a plan: what the instrument can do, discrete choices discrete, and which points can be done."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from ptydesign.design.space import Point, Space, build_space
from ptydesign.errors import InputError
from ptydesign.planning import constraints
from ptydesign.planning.instrument import Bench, Operation, Setting

GRID = (9, 33)  # defocus values and steps at which a dose is tried before work starts

# Another dose is looked for in decades of DOSE_STEP, to 1e9 times as much or as little, and then more closely.
DOSE_STEP, DOSE_STEPS, DOSE_BISECTIONS = 0.05, 180, 10

# Constraint -> the field of the plan that would relax it. All others are of the dose.
DOSES = "goal.doses_e_per_a2"
FIELDS = {
    "time": "goal.time_limit_s",
    "window": "instrument.defocus_nm",
    "aperture": "instrument.apertures_mrad",
    "detector edge": "goal.resolution_a",
}


def setting_of(bench: Bench, point: Mapping[str, Any]) -> Setting:
    """The setting of a point; what the space doesn't vary has one value only."""
    instrument = bench.instrument
    fixed = {
        "voltage_kv": instrument.voltages_kv[0],
        "semiangle_mrad": instrument.apertures_mrad[0],
        "camera": bench.cameras[0],
        "defocus_nm": bench.underfocus_nm[0],
        "step_a": instrument.step_a.low,
    }
    return Setting(**{**fixed, **point})


def point_of(space: Space, setting: Setting) -> Point:
    """The point of a setting."""
    return {name: getattr(setting, name) for name in space.names}


def make_space(bench: Bench, dose_e_per_a2: float | None = None) -> Space:
    """All that the instrument can do; for a dose, restricted to what can be done at it.

    Raises InputError if there is nothing to choose.
    """
    instrument = bench.instrument
    content: dict[str, Any] = {}
    for name, values in (
        ("voltage_kv", instrument.voltages_kv),
        ("semiangle_mrad", instrument.apertures_mrad),
        ("camera", bench.cameras),
    ):
        if len(values) > 1:
            content[name] = {"choices": list(values)}
    low, high = bench.underfocus_nm
    if low < high:
        content["defocus_nm"] = {"low": low, "high": high}
    low, high = instrument.step_a.low, min(instrument.step_a.high, bench.largest_step_a)
    if low > high:
        rule = f"must not exceed half of the simulated field, {high:g} A"
        raise InputError("instrument.step_a.low", rule, low, "Enlarge simulation.field_of_view_a.")
    if low < high:
        content["step_a"] = {"low": low, "high": high, "scale": "log"}
    space = build_space(content, "instrument")
    if dose_e_per_a2 is None:
        return space

    @cache
    def feasible(items: tuple) -> bool:
        return bench.operate(setting_of(bench, dict(items)), dose_e_per_a2).feasible

    return replace(space, allowed=lambda point: feasible(tuple(point.items())))


def check_possible(bench: Bench, dose_e_per_a2: float) -> None:
    """Raises InputError if no setting can be done at a dose: the constraint that binds at the setting that comes
    nearest, and the nearest feasible choice."""
    settings = _grid(bench)
    tried = [bench.operate(setting, dose_e_per_a2) for setting in settings]
    if any(operation.feasible for operation in tried):
        return
    # fewest violations first; of those the one that is broken by least, in the direction that steps can help
    nearest = min(tried, key=lambda operation: (len(operation.violations), _excess(operation)))
    violation = nearest.violations[0]
    field = FIELDS.get(violation.name, DOSES)
    rule = f"no setting is possible at {dose_e_per_a2:g} e/A^2: {violation.name} binds; {violation.rule}"
    mend = violation.mend
    if field == DOSES:
        other = _nearest_dose(bench, settings, dose_e_per_a2)
        # three digits towards the side where there is a setting
        shown = other and constraints.rounded(other, other > dose_e_per_a2, 3)
        mend += f" The nearest dose at which there is a setting is {shown:g} e/A^2." if other else ""
    raise InputError(field, rule, violation.value, mend)


def _grid(bench: Bench) -> list[Setting]:
    """Settings at which a dose is tried: all choices, some defocus values and steps."""
    instrument, (low, high) = bench.instrument, bench.underfocus_nm
    steps = np.geomspace(instrument.step_a.low, min(instrument.step_a.high, bench.largest_step_a), GRID[1])
    defoci = np.unique([*np.linspace(low, high, GRID[0]), *([0.0] if low <= 0 <= high else [])])
    choices = itertools.product(instrument.voltages_kv, instrument.apertures_mrad, bench.cameras, defoci, steps)
    return [Setting(v, a, float(defocus), float(step), camera) for v, a, camera, defocus, step in choices]


def _excess(operation: Operation) -> float:
    """How far a setting is from one that can be done: the step, for or against which the constraint speaks."""
    smaller_helps = operation.violations[0].name in ("beam current", "counts per frame", "count rate")
    return operation.setting.step_a if smaller_helps else -operation.setting.step_a


def _nearest_dose(bench: Bench, settings: list[Setting], dose_e_per_a2: float) -> float | None:
    """The nearest dose, by its logarithm, at which one of the settings can be done; None if there is none."""
    good = [s for s in settings if not any(constraints.optics(bench, s))]

    def possible(power: float) -> bool:
        return any(bench.operate(setting, dose_e_per_a2 * 10**power).feasible for setting in good)

    for number in range(1, DOSE_STEPS):
        for sign in (1, -1):
            inside, outside = sign * number * DOSE_STEP, sign * (number - 1) * DOSE_STEP
            if possible(inside):
                for _ in range(DOSE_BISECTIONS):
                    middle = (inside + outside) / 2
                    inside, outside = (middle, outside) if possible(middle) else (inside, middle)
                return dose_e_per_a2 * 10**inside
    return None
