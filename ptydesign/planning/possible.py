"""Is anything possible at all? Settings that stand for all that the instrument can do are tried at each dose."""

from __future__ import annotations

import itertools
import math

import numpy as np

from ptydesign.errors import InputError
from ptydesign.planning import constraints, dose
from ptydesign.planning.constraints import Violation
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.operation import Operation, operate
from ptydesign.units import MRAD, NM

GRID = (9, 33)  # defocus values and steps that are tried

# Another dose is looked for in decades of DOSE_STEP, to 1e9 times as much or as little, and then more closely.
DOSE_STEP, DOSE_STEPS, DOSE_BISECTIONS = 0.05, 180, 10

# Constraint -> the field of the plan that would relax it. All others are of the dose.
DOSES = "goal.doses_e_per_a2"
FIELDS = {
    "time": "goal.time_limit_s",
    "window": "instrument.defocus_nm",
    "aperture": "instrument.apertures_mrad",
    "detector edge": "goal.resolution_a",
    "dose rate": "goal.dose_rate_limit_e_per_a2_s",
    "source size": "instrument.source_size_a",
    "focal spread": "instrument.focal_spread_nm",
}
SMALLER_HELPS = ("beam current", "counts per frame", "count rate", "simulated counts")


def check_possible(bench: Bench) -> None:
    """Raises InputError if at a dose of the goal no setting can be done: the constraint that binds at the setting that
    comes nearest, and the nearest feasible choice, for each such dose."""
    settings = _grid(bench)
    bound = [(one, near) for one in bench.goal.doses_e_per_a2 if (near := _nearest_operation(bench, settings, one))]
    if not bound:
        return
    # the first broken constraint of the first such dose is named; each dose's mend is given
    violation = bound[0][1].violations[0]
    rule = f"no setting is possible at {bound[0][0]:g} e/Å²: {violation.name} binds; {violation.rule}"
    first, *mends = [_mend(bench, settings, *one) for one in bound]
    more = [
        f"Nor at {limit:g} e/Å² ({operation.violations[0].name}). {mend if mend != first else ''}".strip()
        for (limit, operation), mend in zip(bound[1:], mends, strict=True)
    ]
    field = FIELDS.get(violation.name, DOSES)
    if violation.name == "window" and bench.instrument.cs_mm:
        field = "instrument.cs_mm"
    if violation.name == "source size" and bench.source_varies:
        field = "instrument.currents_pa"
    if violation.name == "focal spread" and bench.instrument.cc_mm:
        field = "instrument.cc_mm"
    range_nm, window = bench.instrument.defocus_nm, max(bench.window_a(one) for one in settings)
    least_a = min(abs(range_nm.low), abs(range_nm.high)) * NM * min(bench.instrument.apertures_mrad) * MRAD
    if field == "instrument.defocus_nm" and 2 * least_a / NM <= window:
        more.append(range_nm.if_in("angstrom", 1 / NM))
    raise InputError(field, rule, violation.value, " ".join([first, *more]))


def unusable(bench: Bench) -> dict[tuple[float, float], Violation | None]:
    """Of each (voltage, camera): None if a setting is possible with it at a dose of the goal, or else what binds at the
    one that comes nearest."""
    found = {}
    for pair in itertools.product(bench.instrument.voltages_kv, bench.cameras):
        settings = [s for s in _grid(bench) if (s.voltage_kv, s.camera) == pair]
        nearest = [_nearest_operation(bench, settings, one) for one in bench.goal.doses_e_per_a2]
        found[pair] = None if None in nearest else nearest[0].violations[0]
    return found


def _grid(bench: Bench) -> list[Setting]:
    """Settings that stand for all: all choices, some defocus values and steps."""
    instrument, (low, high) = bench.instrument, bench.underfocus_nm
    steps = np.geomspace(instrument.step_a.low, min(instrument.step_a.high, bench.largest_step_a), GRID[1])
    defoci = np.unique([*np.linspace(low, high, GRID[0]), *([0.0] if low <= 0 <= high else [])])
    choices = itertools.product(instrument.voltages_kv, instrument.apertures_mrad, bench.cameras, defoci, steps)
    return [Setting(v, a, float(defocus), float(step), camera) for v, a, camera, defocus, step in choices]


def _nearest_operation(bench: Bench, settings: list[Setting], dose_e_per_a2: float) -> Operation | None:
    """The operation that comes nearest to one that can be done; None if one can be done."""
    tried = []
    for setting in settings:
        operation = operate(bench, setting, dose_e_per_a2)
        if operation.feasible:
            return None
        tried.append(operation)

    # fewest violations first; a dose rate before what another step mends, since no step mends it; of those the one that
    # is broken by least, in the direction that steps can help
    def far(operation: Operation) -> tuple[int, bool, float]:
        return len(operation.violations), operation.violations[0].name != "dose rate", _excess(bench, operation)

    return min(tried, key=far)


def _excess(bench: Bench, operation: Operation) -> float:
    """How far a setting is from one that can be done: the probe's size against the window's, or the step, for or
    against which the constraint speaks."""
    name = operation.violations[0].name
    if name == "dose rate":
        return dose.slowest_rate(bench, operation.setting, operation.dose_e_per_a2) or math.inf
    if name == "window":
        return bench.probe_radius_a(operation.setting) / bench.window_a(operation.setting)
    return operation.setting.step_a if name in SMALLER_HELPS else -operation.setting.step_a


def _mend(bench: Bench, settings: list[Setting], dose_e_per_a2: float, operation: Operation) -> str:
    """What would make the nearest operation possible. Of several violations no choice mends more than one, but another
    dose may."""
    violation, *others = operation.violations
    if not others and violation.name == "dose rate":
        least = constraints.rounded(dose.slowest_rate(bench, operation.setting, dose_e_per_a2), True, 3)
        return constraints.offer(*violation.choices, f"a limit of {least:,g} e/Å²/s, the least of all settings")
    if not others and FIELDS.get(violation.name):
        return violation.mend
    found = _nearest_dose(bench, settings, dose_e_per_a2)
    nearest = ""
    if found:
        # three digits towards the side where there is a setting
        shown = constraints.rounded(found, found > dose_e_per_a2, 3)
        nearest = f"a dose of {shown:g} e/Å², the nearest that is possible"
    return constraints.offer(*(() if others else violation.choices), nearest) or violation.otherwise


def _nearest_dose(bench: Bench, settings: list[Setting], dose_e_per_a2: float) -> float | None:
    """The nearest dose, by its logarithm, at which one of the settings can be done; None if there is none."""
    # what a dose may break doesn't depend on the defocus
    unlike = {(s.voltage_kv, s.semiangle_mrad, s.step_a, s.camera): s for s in settings if _fits(bench, s)}

    def possible(power: float) -> bool:
        return any(operate(bench, setting, dose_e_per_a2 * 10**power).feasible for setting in unlike.values())

    for number in range(1, DOSE_STEPS):
        for sign in (1, -1):
            inside, outside = sign * number * DOSE_STEP, sign * (number - 1) * DOSE_STEP
            if possible(inside):
                for _ in range(DOSE_BISECTIONS):
                    middle = (inside + outside) / 2
                    inside, outside = (middle, outside) if possible(middle) else (inside, middle)
                return dose_e_per_a2 * 10**inside
    return None


def _fits(bench: Bench, setting: Setting) -> bool:
    return not any(constraints.optics(bench, setting))
