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
from ptydesign.planning.instrument import Bench, Setting, Violation

GRID = (9, 33)  # defocus values and steps at which a dose is tried before work starts

# Constraint -> the field of the plan that would relax it.
FIELDS = {
    "beam current": "instrument.currents_pa",
    "list of currents": "instrument.currents_pa",
    "frame rate": "goal.doses_e_per_a2",
    "shortest dwell": "goal.doses_e_per_a2",
    "count rate": "detector.name",
    "counts per frame": "detector.name",
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
    nearest: tuple[int, float, Setting, tuple[Violation, ...]] | None = None
    instrument, (low, high) = bench.instrument, bench.underfocus_nm
    steps = np.geomspace(instrument.step_a.low, min(instrument.step_a.high, bench.largest_step_a), GRID[1])
    defoci = np.unique([*np.linspace(low, high, GRID[0]), *([0.0] if low <= 0 <= high else [])])
    for voltage, aperture, camera, defocus, step in itertools.product(
        instrument.voltages_kv, instrument.apertures_mrad, bench.cameras, defoci, steps
    ):
        setting = Setting(voltage, aperture, float(defocus), float(step), camera)
        operation = bench.operate(setting, dose_e_per_a2)
        if operation.feasible:
            return
        # fewest violations first; of those the one that is broken by least, in the direction that steps can help
        measure = (len(operation.violations), _excess(bench, setting, dose_e_per_a2, operation.violations[0]))
        if nearest is None or measure < nearest[:2]:
            nearest = (*measure, setting, operation.violations)
    violation = nearest[3][0]
    field = FIELDS[violation.name]
    rule = f"no setting is possible at {dose_e_per_a2:g} e/A^2: {violation.name} binds; {violation.rule}"
    raise InputError(field, rule, violation.value, violation.mend)


def _excess(bench: Bench, setting: Setting, dose: float, violation: Violation) -> float:
    """How far a setting is from one that can be done: the step, for or against which the constraint speaks."""
    smaller_helps = violation.name in ("beam current", "counts per frame", "count rate")
    return setting.step_a if smaller_helps else -setting.step_a
