"""The search space of a plan: what the instrument can do, discrete choices discrete, and which points can be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from ptydesign.design.space import Point, Space, build_space
from ptydesign.errors import InputError
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.operation import operate


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
        rule = f"must not exceed half of the simulated field, {high:g} Å"
        raise InputError("instrument.step_a.low", rule, low, "Enlarge simulation.field_of_view_a.")
    if low < high:
        content["step_a"] = {"low": low, "high": high, "scale": "log"}
    space = build_space(content, "instrument")
    if dose_e_per_a2 is None:
        return space

    @cache
    def feasible(items: tuple) -> bool:
        return operate(bench, setting_of(bench, dict(items)), dose_e_per_a2).feasible

    return replace(space, allowed=lambda point: feasible(tuple(point.items())))
