"""What the operator checks first: numbers to expect if the plan's assumptions hold, and what to do if they don't.

All of it follows from the recommended setting in closed form; nothing is simulated for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.operation import Operation, operate
from ptydesign.planning.rows import number_words
from ptydesign.planning.tables import PlanningTables
from ptydesign.units import MRAD, NM

TEST_POSITIONS = 32  # a side of the test scan
SHADOW = 4.0  # probe's radius by its rays over that of the Airy disk, from which the disk is a shadow image
KEPT = 20.0  # resolutions of drift in a scan that refined positions take, as on the card
HALF_DOSE, FASTER = "Half the dose, if the specimen suffers", "A faster scan, if the stage drifts"
MUCH_FASTER = 0.75  # of the time: what a larger step must save, since the current may need it all
SIDE = math.sqrt(0.5)  # of a field whose scan takes half as long


class Check(NamedTuple):
    """what: is looked at. expect: in numbers. otherwise: what to do."""

    what: str
    expect: str
    otherwise: str


def first_minutes(tables: PlanningTables, bench: Bench) -> list[Check]:
    """Checks in the order in which they are done, and two settings to fall back on."""
    item = tables.recommended
    shown = item["setting"]
    setting = Setting(
        shown["voltage_kv"], shown["semiangle_mrad"], item["underfocus_nm"], shown["step_a"], shown["camera"]
    )
    operation = operate(bench, setting, item["dose_e_per_a2"], item["current_pa"])
    kept = tables.recommendation["tolerance"]
    found = [_disk(bench, setting), _counts(bench, operation), *_shadow(bench, setting, kept), _step(setting)]
    found += [*_test_scan(bench, operation, tables.recommendation["reconstruction"]), _drift(bench, operation)]
    return [*found, *_half_the_dose(tables, bench, operation), _slower(bench, operation, kept)]


def _disk(bench: Bench, setting: Setting) -> Check:
    pixel = bench.physical_pixel_mrad(setting.camera)
    across = 2 * setting.semiangle_mrad / pixel
    angle = f"{2 * setting.semiangle_mrad:g}"
    return Check(
        "The disk without specimen",
        f"{across:.1f} pixels of the detector across, even",
        f"Narrower than {across - 1:.1f} or wider than {across + 1:.1f}: the aperture or the camera length isn't the "
        f"planned one. With the right aperture pixel_mrad in calibration.yaml is {angle} / pixels.",
    )


def _counts(bench: Bench, operation: Operation) -> Check:
    voltage, seen = operation.setting.voltage_kv, bench.detector.dqe or 1.0
    electrons = seen * operation.electrons
    hits = bench.detector.hits_at(voltage)
    bright = hits * seen * operation.counts_bright
    counts = f"{number_words(electrons)} electrons" + (
        "" if hits == 1 else f", {number_words(hits * electrons)} counts"
    )
    exposure = operation.exposure_us or operation.dwell_us
    what = "A dwell time" if abs(exposure - operation.dwell_us) < 1e-6 else "An exposure"
    return Check(
        "A frame without specimen",
        f"{counts} (± {100 / math.sqrt(max(electrons, 1)):.2g} % from frame to frame), {number_words(bright)} in a "
        "pixel of the disk",
        f"n times as many: the current is n times {operation.current_pa:g} pA. {what} of {exposure:.4g} µs / n gives "
        "the planned dose" + (", but for what isn't counted." if operation.counted_part < 1 else "."),
    )


def _shadow(bench: Bench, setting: Setting, kept: dict[str, Any]) -> Iterator[Check]:
    """The shadow image in the disk, where the probe is wide and has no other aberration."""
    alpha, defocus = setting.semiangle_mrad * MRAD, abs(setting.defocus_nm) * NM
    rays, airy = defocus * alpha, bench.probe_radius_a(setting)
    if bench.instrument.cs_mm or rays < SHADOW * math.sqrt(max(airy**2 - rays**2, 0.0)):
        return
    pixel = bench.physical_pixel_mrad(setting.camera) * MRAD
    apart = rays / defocus / pixel
    moves = "against" if setting.defocus_nm > 0 else "with"
    low, high = sorted(kept["defocus_nm"]["range"]) if "defocus_nm" in kept else (0.0, 0.0)
    same_side = min(abs(low), abs(high)) if low * high > 0 else 0.0
    within = ""
    if same_side:
        pair = sorted(apart * abs(setting.defocus_nm) / abs(end) for end in (low, high))
        within = f" From {pair[0]:.1f} to {pair[1]:.1f} pixels 95 % of the score is kept."
    yield Check(
        "The disk on the specimen (its shadow image)",
        f"{2 * rays:.0f} Å of the specimen across; details {rays:.3g} Å apart are {apart:.1f} pixels apart, and move "
        f"{moves} the stage, if the patterns aren't flipped",
        f"n times as far apart: the defocus is 1/n of it.{within} The other direction: the sign is wrong.",
    )


def _step(setting: Setting) -> Check:
    return Check(
        "A lattice image at the scan's magnification",
        f"a spacing of 10 Å is {10 / setting.step_a:.2f} positions",
        "n times as many: the step is 1/n of it. Correct the magnification.",
    )


def _test_scan(bench: Bench, operation: Operation, reconstruction: dict[str, Any]) -> Iterator[Check]:
    """A small scan that is reconstructed at once, where the plan of the day looks for the defocus."""
    if not reconstruction.get("calibrate"):
        return
    setting, count = operation.setting, min(TEST_POSITIONS, *operation.shape)
    time_s = count * (count * operation.dwell_us + bench.instrument.flyback_us) * 1e-6
    error = bench.instrument.defocus_error_nm
    yield Check(
        f"A test scan beside the field: {count} × {count} positions, {number_words(time_s)} s",
        f"`ptydesign reconstruct` finds a defocus of {setting.defocus_nm - 2 * error:.1f} to "
        f"{setting.defocus_nm + 2 * error:.1f} nm by the data (underfocus is positive)",
        "Outside: change the display by the difference. At an end of what was searched: go back to the shadow image.",
    )


def _drift(bench: Bench, operation: Operation) -> Check:
    wanted, line_s = bench.goal.resolution_a, operation.line_time_s(bench)
    limit = 60 * min(KEPT * wanted / operation.scan_time_s, wanted / line_s)
    planned = bench.instrument.drift_a_per_min
    return Check(
        "Drift, from two images a minute apart",
        f"{planned:g} Å or less" if planned else "none was planned",
        f"More: take the faster scan below. More than {number_words(limit)} Å: wait, no refinement follows it.",
    )


def _half_the_dose(tables: PlanningTables, bench: Bench, operation: Operation) -> Iterator[Check]:
    """A setting for half the dose: the best that a search tried at about it, or the same setting."""
    half, trials = operation.dose_e_per_a2 / 2, tables["trials"]
    near = trials[(trials["status"] == "ok") & (trials["dose_e_per_a2"].between(half / 1.5, half * 1.5))]
    if len(near):
        best = near.loc[near["ssim"].idxmax()]
        words = (
            f"{best['semiangle_mrad']:g} mrad, {best['defocus_nm']:+.1f} nm, step {best['step_a']:.3g} Å, "
            f"{best['camera']:g} {bench.camera_unit}, {best['current_pa']:g} pA, {best['dwell_us']:.4g} µs: "
            f"{best['dose_e_per_a2']:g} e/Å²"
        )
        yield Check(HALF_DOSE, words, f"The best of the search at that dose (SSIM {best['ssim']:.2f}).")
        return
    other = operate(bench, operation.setting, half)
    if other.feasible:
        words = f"the same with {other.current_pa:g} pA for {other.dwell_us:.4g} µs: {half:g} e/Å²"
        yield Check(HALF_DOSE, words, "It was not simulated: the score will be lower.")


def _slower(bench: Bench, operation: Operation, kept: dict[str, Any]) -> Check:
    """A scan that takes half as long: a larger step that keeps the score, if it is faster, or a smaller field."""
    what, setting, dose = FASTER, operation.setting, operation.dose_e_per_a2
    larger = min(math.sqrt(2) * setting.step_a, max(kept["step_a"]["range"]) if "step_a" in kept else 0.0)
    if larger >= 1.05 * setting.step_a:
        other = operate(bench, replace(setting, step_a=larger), dose)
        if other.feasible and other.scan_time_s <= MUCH_FASTER * operation.scan_time_s:
            words = f"a step of {larger:.3g} Å with {other.current_pa:g} pA for {other.dwell_us:.4g} µs"
            return Check(what, f"{words}: {number_words(other.scan_time_s)} s", "It keeps 95 % of the score.")
    y, x = (SIDE * size / 10 for size in bench.goal.field_of_view_a)
    time = number_words(operation.scan_time_s / 2)
    return Check(what, f"a field of {x:.3g} × {y:.3g} nm: {time} s", "All else stays as it is.")
