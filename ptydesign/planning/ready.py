"""Whether the trials of a plan can be simulated at all: its sample is large enough, its expert's setting can be set."""

from __future__ import annotations

from pathlib import Path

from ptydesign.errors import InputError
from ptydesign.experiment.resolve import Resolved
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import Mode, PlanningResolved, expert_at
from ptydesign.simulate.specimen import check_sample


def check_ready(resolved: PlanningResolved) -> None:
    """The sample holds every simulation, and the expert's setting can be tried. Well under a second.

    Raises InputError."""
    for mode, one in resolved.modes.items():
        _check_sample(resolved, mode, one)
    bench = resolved.bench
    for dose in bench.goal.doses_e_per_a2:
        operation = operate(bench, expert_at(bench, dose), dose)
        if operation.current_pa is None:
            violation = operation.violations[0]
            rule = f"must be possible at {dose:g} e/Å²: {violation.name} binds; {violation.rule}"
            raise InputError("expert", rule, violation.value, f"{violation.mend} Or leave expert out.")


def _check_sample(resolved: PlanningResolved, mode: Mode, one: Resolved) -> None:
    """Refuse a sample that is smaller than scan and window of a mode."""
    try:
        check_sample(one.study.sample, Path(), tuple(n * one.study.potential.pixel_a for n in one.shape))
    except InputError as error:
        y, x = resolved.study.simulation.field_of_view_a
        camera = f"{mode.camera:g} {resolved.bench.camera_unit}"
        which = (
            f"So much is needed at {mode.voltage_kv:g} kV with the camera of {camera}, for a field of {y:g} x {x:g} A"
        )
        why = "(simulation.field_of_view_a), its margin and the probe's window."
        raise InputError(error.field, error.rule, error.value, f"{error.mend} {which} {why}") from None
