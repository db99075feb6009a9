"""Rules of a plan that concern several sections; all before any work starts, in well under a second."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

from ptydesign.errors import NOTHING, InputError, together
from ptydesign.planning import aberrations
from ptydesign.planning.config import NM_PER, PlanningStudy
from ptydesign.planning.instrument import PER_PA_US, Bench, Setting
from ptydesign.planning.possible import check_possible, unusable
from ptydesign.planning.reconstruction import thickness_a
from ptydesign.planning.space import make_space
from ptydesign.simulate.specimen import ImageSample, check_sample, mixed_words
from ptydesign.study import improbable
from ptydesign.study.improbable import Question
from ptydesign.units import MRAD, NM, wavelength_a

MM_PER = {"cm": 10.0, "m": 1000.0}  # units in which camera lengths are given too
USUAL_MRAD = 200.0  # up to which a detector's edge is
WIDEST_MRAD = 500.0  # no detector behind a lens sees more
MOST_PIXELS = 512  # a side, of a pattern that is simulated


def check_plan(plan: PlanningStudy, folder: Path) -> tuple[PlanningStudy, list[str]]:
    """The plan with its sample's file found from `folder`, and warnings. Raises InputError for a broken rule."""

    def find_sample() -> None:
        nonlocal plan
        sample = check_sample(plan.sample, folder, field_a=plan.simulation.field_of_view_a)
        plan = plan.model_copy(update={"sample": sample})

    together(
        lambda: improbable.check_meant(plan.meant, plan.model_dump()),
        find_sample,
        lambda: _check_detector(plan),
        lambda: _check_camera(Bench(plan)),
    )
    bench = Bench(plan)
    together(
        lambda: bench.losses(max(plan.instrument.voltages_kv)),  # raises where there are no atoms to know them from
        lambda: _check_frame_rate(bench),
        lambda: _check_expert(bench),
        lambda: _check_residuals(bench),
        lambda: _check_depth(plan),
        lambda: _check_slices(plan),
    )
    make_space(bench)
    check_possible(bench)
    return plan, _warnings(bench)


def _check_detector(plan: PlanningStudy) -> None:
    bench = Bench(plan)  # raises for an unknown name
    if bench.pixels < 16:
        rule = f"must leave at least 16 pixels of {min(bench.detector.pixels)}"
        raise InputError("detector.bin", rule, plan.detector.bin, "Bin less.")
    pixels = bench.detector.pixels
    least = -(-min(pixels) // MOST_PIXELS)
    if bench.pixels > MOST_PIXELS:
        most = f"{bench.pixels} pixels a side are more than a simulation can take ({MOST_PIXELS})"
        rule = f"must be at least {least}: {most}"
        raise InputError("detector.bin", rule, plan.detector.bin, _bins_that_divide(pixels, least, least))
    if any(n % plan.detector.bin for n in pixels):
        rule = f"must divide the {pixels[0]} x {pixels[1]} pixels of {bench.detector.name}: the rest would be lost"
        raise InputError("detector.bin", rule, plan.detector.bin, _bins_that_divide(pixels, plan.detector.bin, least))


def _bins_that_divide(pixels: tuple[int, int], wanted: int, least: int) -> str:
    """What to do instead of `wanted`: the nearest bins, at least `least`, that divide both sides and leave 16 pixels,
    or the part of the detector that it divides."""
    common = math.gcd(*pixels)
    divide = [n for n in range(least, min(pixels) // 16 + 1) if common % n == 0]
    near = [max((n for n in divide if n <= wanted), default=None), min((n for n in divide if n > wanted), default=None)]
    bins = " or ".join(f"bin: {n}" for n in near if n is not None)
    if wanted in near:
        return f"Use {bins}."
    part = f"bin: {wanted} with override: {{pixels: {[n // wanted * wanted for n in pixels]}}}"
    return f"Use {', or '.join(filter(None, (bins, part)))}, if that part can be read."


def _check_camera(bench: Bench) -> None:
    if bench.instrument.camera_lengths_mm is not None and bench.detector.pixel_um is None:
        mend = "Give detector.override.pixel_um, or instrument.pixels_mrad instead."
        raise InputError("detector.override.pixel_um", "is required for camera_lengths_mm", NOTHING, mend)
    name = "camera_lengths_mm" if bench.instrument.camera_lengths_mm else "pixels_mrad"
    for camera in bench.cameras:
        edge = bench.edge_mrad(camera)
        if edge > WIDEST_MRAD:
            rule = f"must leave the detector's edge below {WIDEST_MRAD:g} mrad; {camera:g} puts it at {edge:.4g} mrad"
            units = [unit for unit, factor in MM_PER.items() if edge / factor <= USUAL_MRAD]
            other = units[0] if name == "camera_lengths_mm" and units else None
            meant = f" If it is in {other}, write {MM_PER[other] * camera:g}." if other else ""
            raise InputError(f"instrument.{name}", rule, camera, f"Give {bench.camera_unit}.{meant}")


def _check_frame_rate(bench: Bench) -> None:
    frame_us, read_out = 1e6 / bench.detector.frames_per_s, bench.detector.read_out_us
    longest = bench.instrument.dwell_us.high
    if read_out is not None and read_out >= frame_us:
        rule = f"must be shorter than a frame, {frame_us:.4g} µs at {bench.detector.frames_per_s:g} frames/s"
        mend = f"Correct it, or give frames_per_s below {1e6 / read_out:.4g}, which has the read-out in it."
        raise InputError("detector.override.read_out_us", rule, read_out, mend)
    if longest < frame_us * (1 - 1e-9):
        detector = bench.detector
        rule = f"must hold a frame of {detector.name}: {detector.frames_per_s:g} frames/s take {frame_us:.4g} µs each"
        mend = f"Use {frame_us:.4g} µs or more, or a detector with at least {1e6 / longest:.4g} frames/s."
        if longest * 1e3 >= frame_us:
            mend += f" {bench.instrument.dwell_us.if_in('ms', 1e3)}"
        raise InputError("instrument.dwell_us.high", rule, longest, mend)


def _check_depth(plan: PlanningStudy) -> None:
    if plan.goal.depth and isinstance(plan.sample, ImageSample):
        rule = "needs a sample with atoms: an image is a single slice, and has nothing along the beam"
        raise InputError(
            "goal.depth", rule, True, "Leave it out, or give the structure: sample: {kind: structure, ...}."
        )


def _check_slices(plan: PlanningStudy) -> None:
    slice_a = plan.simulation.slice_thickness_a
    if slice_a is None or isinstance(plan.sample, ImageSample):
        return
    thickness = thickness_a(plan)
    if slice_a > thickness * (1 + 1e-9):
        rule = f"must not be thicker than the sample, {thickness:.4g} Å"
        mend = "Take thinner slices, or leave it out: the sample is then projected."
        raise InputError("simulation.slice_thickness_a", rule, slice_a, mend)


def _check_residuals(bench: Bench) -> None:
    """What alignment leaves of an aberration must leave a probe that a pattern's window holds, with some aperture."""
    instrument = bench.instrument
    narrow = instrument.apertures_mrad[0]
    window = max(
        bench.window_a(Setting(voltage, narrow, 0.0, 1.0, camera))
        for voltage, camera in itertools.product(instrument.voltages_kv, bench.cameras)
    )
    for kind in aberrations.KINDS:
        disk = 2 * kind.blur_a(aberrations.rms_of(instrument.aberrations, kind), narrow)
        if disk > window:
            name = next(n for n in (kind.krivanek, kind.haider) if getattr(instrument.aberrations, n) is not None)
            part = "residual_nm" if kind.fold else "residual_mm"
            value = getattr(getattr(instrument.aberrations, name), part)
            rule = (
                f"must leave a probe that fits into the widest window, {window:.0f} Å (λ/Δθ); it makes a disk of "
                f"{disk:.0f} Å with the smallest aperture, {narrow:g} mrad"
            )
            mend = f"Is it in {part[-2:]}? Give {value * window / disk:.3g} or less."
            raise InputError(f"instrument.aberrations.{name}.{part}", rule, value, mend)


def _check_expert(bench: Bench) -> None:
    """The expert can only set what there is."""
    given, instrument = bench.plan.expert, bench.instrument
    for name, values, unit in (
        ("semiangle_mrad", instrument.apertures_mrad, "mrad"),
        ("voltage_kv", instrument.voltages_kv, "kV"),
        ("camera", bench.cameras, bench.camera_unit),
    ):
        value = getattr(given, name)
        if value is not None and value not in values:
            best = min(values, key=lambda v: abs(v - value))
            rule = f"must be one that the instrument has, {list(values)} {unit}"
            other = [unit for unit, factor in MM_PER.items() if name == "camera" and factor * value in values]
            mend = f"The nearest is {best:g} {unit}."
            if other:
                mend = f"If it is in {other[0]}, write {MM_PER[other[0]] * value:g}."
            raise InputError(f"expert.{name}", rule, value, mend)
    for name, limits in (("defocus_nm", instrument.defocus_nm), ("step_a", instrument.step_a)):
        value = getattr(given, name)
        if value is not None and not limits.low <= value <= limits.high:
            best = min(max(value, limits.low), limits.high)
            rule = f"must lie in the instrument's range, {limits.low:g} to {limits.high:g}"
            raise InputError(f"expert.{name}", rule, value, f"The nearest is {best:g}.")


def _assumed(bench: Bench) -> str:
    """Numbers of the gun that are used and aren't given."""
    one = bench.instrument
    used = {"reduced_brightness_a_per_m2_sr_v": one.source_at is None, "energy_spread_ev": bool(one.cc_mm)}
    values = {"reduced_brightness_a_per_m2_sr_v": one.gun.brightness, "energy_spread_ev": one.gun.spread_ev}
    return ", ".join(f"{name} {values[name]:g}" for name in one.gun.assumed if used[name])


def _questions(bench: Bench) -> Iterator[Question]:
    """About numbers that look like another unit: of a range, what no setting could use."""
    instrument, (low_kv, *_) = bench.instrument, bench.instrument.voltages_kv
    limits, narrow = instrument.defocus_nm, instrument.apertures_mrad[0]
    end = limits.low if limits.largest == -limits.low else limits.high
    window = max(bench.window_a(Setting(low_kv, narrow, 0.0, 1.0, camera)) for camera in bench.cameras)
    disk = 2 * limits.largest * NM * narrow * MRAD
    yield from improbable.of_defocus("instrument.defocus_nm", end, disk, window, limits.as_in(NM_PER["angstrom"]))
    depth_nm = wavelength_a(instrument.voltages_kv[-1]) / (instrument.apertures_mrad[-1] * MRAD) ** 2 / NM
    if 0 < limits.largest < improbable.FOCUSED * depth_nm:
        why = f"{limits.largest:g} nm or less is as good as in focus, since lambda/alpha^2 is {depth_nm:.3g} nm or more"
        yield Question("instrument.defocus_nm", f"{end:g} nm", why, "um", limits.as_in(NM_PER["um"]))
    yield from improbable.of_thickness(bench.plan.sample)
    yield from improbable.of_image(bench.plan.sample, instrument.voltages_kv[-1], bench.goal.resolution_a)
    if instrument.camera_lengths_mm:
        for camera in instrument.camera_lengths_mm:
            edge = bench.edge_mrad(camera)
            yield from improbable.of_edge("instrument.camera_lengths_mm", camera, "mm", edge, low_kv)
    steps = instrument.step_a
    pairs = list(itertools.product(instrument.voltages_kv, bench.cameras))
    pixel = min(bench.pixel_a(Setting(voltage, narrow, 0.0, 1.0, camera)) for voltage, camera in pairs)
    yield from improbable.of_step("instrument.step_a", steps.high, pixel, steps.as_in(10))
    yield from _dwell_questions(bench)
    day, piece = bench.goal.field_of_view_a, bench.plan.simulation.field_of_view_a
    if all(a < b for a, b in zip(day, piece, strict=True)):
        why = f"The scan on the day is smaller than the piece that is simulated, {list(piece)} A"
        yield Question("goal.field_of_view_a", f"{list(day)} A", why, "nm", f"{[10 * size for size in day]}")


def _dwell_questions(bench: Bench) -> Iterator[Question]:
    """A dwell time that holds no electron, and no part of a frame that matters."""
    dwell, current = bench.instrument.dwell_us, bench.instrument.currents_pa[-1]
    electrons = current * dwell.low * PER_PA_US
    if electrons < 1 and dwell.low * 1e3 < 1e6 / bench.detector.frames_per_s:
        why = (
            f"The largest current, {current:g} pA, gives {electrons:.2g} electrons in it, and a frame of "
            f"{bench.detector.name} takes more than 1000 times as long"
        )
        yield Question("instrument.dwell_us", f"{dwell.low:g} us", why, "ms", dwell.as_in(1e3))


def _warnings(bench: Bench) -> list[str]:
    found = []
    if bench.detector.nominal:
        found.append(
            f"numbers of {bench.detector.name} that are nominal, not checked: {', '.join(bench.detector.nominal)} "
            "(`ptydesign detectors`)"
        )
    gun = bench.instrument.gun
    if gun is not None and (assumed := _assumed(bench)):
        found.append(f"numbers of the gun that are typical of {gun.kind}, not yours: {assumed}: give your own")
    found += filter(None, [mixed_words(bench.plan.sample)])
    found += improbable.asked(_questions(bench), bench.plan.meant)
    sample, wanted = bench.plan.sample, bench.goal.resolution_a
    if sample.kind == "image" and sample.pixel_a > wanted / 2:
        found.append(
            f"sample.pixel_a: pixels of {sample.pixel_a:g} A hold nothing finer than {2 * sample.pixel_a:g} A, and "
            f"goal.resolution_a asks for {wanted:g} A: there is nothing to resolve"
        )
    ny, nx = (n // bench.bin for n in bench.detector.pixels)
    if (ny, nx) != (bench.pixels, bench.pixels):
        used = f"{bench.pixels} x {bench.pixels}"
        found.append(f"a pattern is a square of even pixels: the middle {used} of the {ny} x {nx} binned ones are used")
    for (voltage, camera), problem in unusable(bench).items():
        reach = wavelength_a(voltage) / (bench.edge_mrad(camera) * 1e-3)
        which = f"at {voltage:g} kV, {camera:g} {bench.camera_unit}"
        if reach > bench.goal.resolution_a:
            found.append(f"{which} the detector's edge allows {reach:.2f} Å only: not used")
        elif problem is not None:
            found.append(f"{which} nothing is possible ({problem.name}: {problem.rule}): not used")
    return found
