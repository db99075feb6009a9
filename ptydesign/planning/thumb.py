"""The rule of thumb that a plan is compared with: what published experiments with a sample of this kind did.

`RULES` is data, each rule with its source; the first that applies is taken. A rule is a probe and a step, not only
numbers: another aperture keeps the published width of the defocused probe, so that its overlap stays, and a window or a
range that is too small for it gets what is nearest. A setting that can't be done at a dose is moved to the nearest that
can.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ptydesign.planning import constraints
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import in_slices
from ptydesign.units import MRAD, NM, wavelength_a

# What experiments on robust samples had is tens to hundreds of thousands of e/A^2, and a few thousand are too much for
# many molecular and porous crystals: Li et al., Nat. Commun. 16 (2025), doi 10.1038/s41467-025-56215-z, introduction.
DOSE_LIMITED_E_PER_A2 = 1e4
ROOM = 1.3  # window over probe, that of the card
LEAST_OVERLAP = 0.6  # linear, that of the card
DEFOCI, STEPS = 17, 200  # values that are tried for a setting that can be done


@dataclass(frozen=True)
class Rule:
    """What was published. overfocus_nm: positive is overfocus. applies: in words."""

    name: str
    applies: str
    semiangle_mrad: float
    overfocus_nm: float
    step_a: float
    source: str

    @property
    def disk_a(self) -> float:
        """Radius of the defocused probe by its rays, defocus times semi-angle."""
        return self.overfocus_nm * NM * self.semiangle_mrad * MRAD

    @property
    def words(self) -> str:
        """What the card says of it."""
        numbers = f"{self.semiangle_mrad:g} mrad, {self.overfocus_nm:g} nm overfocus, steps of {self.step_a:g} Å"
        return f"{self.name} ({self.applies}): {numbers} in {self.source}"


DOSE_LIMITED = Rule(
    "dose-limited sample", f"at most {DOSE_LIMITED_E_PER_A2:,g} e/Å²", 20.0, 55.0, 2.0,
    "Cao et al., Sci. Rep. 12:12284 (2022), the expert's setting for 100 to 50,000 e/Å²",
)  # fmt: skip
THICK = Rule(
    "thick crystal", "in slices", 21.4, 20.0, 0.41,
    "Chen et al., Science 372:826 (2021), PrScO3 of 21 nm at 300 kV",
)  # fmt: skip
THIN = Rule(
    "thin sample", "projected into one slice", 21.4, 50.0, 0.85,
    "Chen et al., Nat. Commun. 11:2994 (2020), a bilayer at 80 kV",
)  # fmt: skip


def rule_for(bench: Bench) -> Rule:
    """The rule for a plan's sample and the dose that it stands."""
    if bench.goal.dose_limit <= DOSE_LIMITED_E_PER_A2:
        return DOSE_LIMITED
    return THICK if in_slices(bench.plan) else THIN


def expert(bench: Bench) -> Setting:
    """The rule of thumb at this instrument, with what the plan itself says for it; whether it can be done at a dose is
    `feasible_near`'s concern.

    The highest voltage; the aperture nearest to the published one that lies inside a detector that reaches the
    resolution wanted, with the smallest such angle beyond twice the aperture; the published probe and step.
    """
    given, rule = bench.plan.expert, rule_for(bench)
    voltage = given.voltage_kv or bench.instrument.voltages_kv[-1]
    apertures = sorted(bench.instrument.apertures_mrad, key=lambda a: abs(math.log(a / rule.semiangle_mrad)))
    found = [
        _with_aperture(bench, rule, voltage, aperture)
        for aperture in ([given.semiangle_mrad] if given.semiangle_mrad else apertures)
    ]
    return next((one for one in found if not any(constraints.optics(bench, one))), found[0])


def _with_aperture(bench: Bench, rule: Rule, voltage: float, aperture: float) -> Setting:
    given, steps = bench.plan.expert, bench.instrument.step_a
    reached = wavelength_a(voltage) / bench.goal.resolution_a / MRAD
    by_angle = sorted(bench.cameras, key=bench.edge_mrad)
    wide = [c for c in by_angle if bench.edge_mrad(c) >= max(2 * aperture, reached)]
    camera = given.camera or next(iter(wide), by_angle[-1])
    start = Setting(voltage, aperture, 0.0, rule.step_a, camera)
    if given.defocus_nm is not None:
        defocus = bench.defocus_sign * given.defocus_nm
    else:
        room = bench.window_a(start) / 2 / ROOM
        disk = min(rule.disk_a, math.sqrt(max(0.0, room**2 - bench.probe_radius_a(start) ** 2)))
        wanted, (low, high) = disk / (aperture * MRAD) / NM, bench.underfocus_nm
        # overfocus, as published, unless the instrument goes further to the other side
        defocus = max(low, -wanted) if -low >= min(wanted, high) else min(high, wanted)
    setting = replace(start, defocus_nm=round(defocus, 1))
    widest = min(steps.high, bench.largest_step_a, 2 * (1 - LEAST_OVERLAP) * bench.probe_radius_a(setting))
    step = given.step_a or max(min(rule.step_a, widest), steps.low)
    return replace(setting, step_a=float(f"{step:.3g}"))


def feasible_near(bench: Bench, setting: Setting, dose_e_per_a2: float) -> Setting:
    """The setting, or the nearest that can be done at this dose: with another step, and where no step would do with
    another aperture, camera or defocus as well. Unchanged if none can. What the plan says for the rule of thumb stays,
    but for the step."""

    def possible(one: Setting) -> bool:
        return operate(bench, one, dose_e_per_a2).feasible

    if possible(setting):
        return setting
    for one in _others(bench, setting):
        found = next((moved for moved in _stepped(bench, one) if possible(moved)), None)
        if found is not None:
            return found
    return setting


def _others(bench: Bench, setting: Setting) -> Iterator[Setting]:
    """The setting, then those that differ in aperture, camera or defocus, by how much: apertures by their logarithm,
    defocus by the width of the probe, cameras last."""
    yield setting
    given, instrument, (low, high) = bench.plan.expert, bench.instrument, bench.underfocus_nm
    apertures = [given.semiangle_mrad] if given.semiangle_mrad else instrument.apertures_mrad
    voltages = [given.voltage_kv] if given.voltage_kv else instrument.voltages_kv
    cameras = [given.camera] if given.camera else bench.cameras
    defoci = {setting.defocus_nm} if given.defocus_nm is not None else {*np.linspace(low, high, DEFOCI), 0.0}
    defoci = {float(d) for d in defoci if low <= d <= high} | {setting.defocus_nm}
    disk = max(abs(setting.defocus_nm) * setting.semiangle_mrad, 1e-9)

    def far(one: Setting) -> tuple[float, ...]:
        aperture = abs(math.log(one.semiangle_mrad / setting.semiangle_mrad))
        width = abs(one.defocus_nm * one.semiangle_mrad - setting.defocus_nm * setting.semiangle_mrad) / disk
        camera = abs(math.log(one.camera / setting.camera)) + abs(math.log(one.voltage_kv / setting.voltage_kv))
        return aperture + width + camera, one.semiangle_mrad, one.defocus_nm, one.camera, one.voltage_kv

    every = itertools.product(voltages, apertures, sorted(defoci), cameras)
    found = [replace(setting, voltage_kv=v, semiangle_mrad=a, defocus_nm=d, camera=c) for v, a, d, c in every]
    yield from sorted((one for one in found if not any(constraints.optics(bench, one))), key=far)


def _stepped(bench: Bench, setting: Setting) -> list[Setting]:
    """The setting with every step that the instrument can do, the nearest first."""
    low, high = bench.instrument.step_a.low, min(bench.instrument.step_a.high, bench.largest_step_a)
    steps = [low * (high / low) ** (i / STEPS) for i in range(STEPS + 1)] if high > low else [low]
    nearest = sorted(steps, key=lambda s: abs(math.log(s / setting.step_a)))
    moved = [replace(setting, step_a=float(f"{step:.3g}")) for step in nearest]
    return [one for one in moved if low <= one.step_a <= high]
