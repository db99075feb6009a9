"""Rows of the card about the dose and about what the detector makes of it: what is counted, how fast it comes, what is
exposed, contrast, hits, coincidences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ptydesign.planning import dose
from ptydesign.planning.instrument import Bench
from ptydesign.planning.operation import Operation
from ptydesign.planning.rows import GREEN, INFO, RED, Row, graded, part_words, unless

FORMULA = "current × exposure / (e s² dose)"
CONTRAST = 0.1  # of the finest fringe, below which the card says so
LOST = 0.5  # part of the electrons, above which the card says so: t / lambda of 0.7
LOSSES = "Iakoubovskii et al., Microsc. Res. Tech. 71:626 (2008)"
COINCIDENCE = (
    "electrons of a pixel and frame scatter as Poisson's; of those that meet in an event's pixels one is found"
)


def dose_rows(bench: Bench, operation: Operation) -> Iterator[Row]:
    """What of the dose is counted, the dose rate, and how far around the field the specimen is exposed."""
    setting, current = operation.setting, operation.current_pa
    if current is not None:
        part = 100 * operation.counted_part
        lost = _losses(bench, operation)
        largest = max(lost, key=lambda one: lost[one][0])
        yield Row(
            "Dose that is counted", round(part, 6), "%", "90 or more", graded(part, 90, 50), FORMULA, _source(bench),
            unless(part >= 90, lost[largest][1]),
        )  # fmt: skip
        rate, limit = dose.dose_rate(bench, setting, current), bench.goal.dose_rate_limit_e_per_a2_s
        slow = not limit or dose.rate_is_allowed(rate, limit)
        wanted = f"{limit:,.9g} or less; this is {part_words(rate / limit)}" if limit else "no limit given"
        more = math.sqrt(rate / limit) if limit else 1.0
        change = f"{1 / more**2:.2g} times the current, or a probe {more:.3g} times as wide (more defocus)."
        yield Row(
            "Dose rate in the probe", rate, "e/Å²/s", wanted, (GREEN if slow else RED) if limit else INFO,
            "current / (e π R²)", "goal.dose_rate_limit_e_per_a2_s", unless(slow, change),
        )  # fmt: skip
    yield Row(
        "Exposed around the field", bench.probe_radius_a(setting), "Å", "", INFO, "R",
        "the scan's outermost probes; another scan starts farther away",
    )  # fmt: skip


def _losses(bench: Bench, operation: Operation) -> dict[str, tuple[float, str]]:
    """Where the dose goes that isn't counted: its time or dose, and what to change."""
    detector, instrument = bench.detector, bench.instrument
    per_us = (1 - bench.goal.pre_exposure_e_per_a2 / operation.dose_e_per_a2) / max(
        operation.exposure_us + dose.unblanked_us(bench, operation.setting.step_a), 1e-9
    )
    flyback = instrument.flyback_us / operation.shape[1]
    smaller = operation.current_pa is not None and operation.current_pa > min(instrument.currents_pa)
    return {
        "pre-exposure": (
            bench.goal.pre_exposure_e_per_a2 / operation.dose_e_per_a2,
            "Focus and tilt on a place beside the scan.",
        ),
        "read-out": (
            0.0 if detector.blanked else per_us * (detector.read_out_us or 0.0),
            "Blank the beam during the read-out (detector.override.blanked: true)"
            + (", or less current for longer." if smaller else "."),
        ),
        "flyback": (
            0.0 if instrument.beam_blanked_in_flyback else per_us * flyback,
            "Blank the beam in the flyback: it falls on the ends of the lines. Or scan longer lines.",
        ),
    }


def _source(bench: Bench) -> str:
    """What the counted part depends on."""
    detector, instrument, before = bench.detector, bench.instrument, bench.goal.pre_exposure_e_per_a2
    if detector.read_out_us:
        off = {True: "beam off", False: "beam on", None: "beam taken as on"}[detector.blanked]
        words = [f"read-out {detector.read_out_us:g} µs, {off}: {detector.source('read_out_us')}"]
    else:
        known = detector.read_out_us is not None
        words = ["no read-out time" if known else "read-out time not known, taken as 0"]
    words.append(f"beam {'off' if instrument.beam_blanked_in_flyback else 'on'} in the flyback")
    return "; ".join([*words, *([f"{before:g} e/Å² before the scan"] if before else [])])


def loss_rows(bench: Bench, operation: Operation) -> Iterator[Row]:
    """Which part of the electrons loses energy in the specimen."""
    found = bench.losses(operation.setting.voltage_kv)
    if found is None:
        return
    part, filtered = 100 * found.part, bench.instrument.energy_filter
    yield Row(
        "Electrons that lose energy", part, "%", f"{100 * LOST:g} or less", graded(part, 100 * LOST, 100),
        "1 − exp(−t / λ), λ = " + f"{found.mean_free_path_nm:.3g} nm at {found.density_g_cm3:.3g} g/cm³",
        LOSSES + ("; filtered out" if filtered else "; counted, blurred by a Lorentzian of "
                  f"{found.angle_mrad:.2g} mrad"),
        unless(found.part <= LOST, "A thinner specimen, or a higher voltage."),
    )  # fmt: skip


def detector_rows(bench: Bench, operation: Operation) -> Iterator[Row]:
    """Contrast of the finest fringe, hits of an electron, and what single-electron counting misses."""
    detector, voltage = bench.detector, operation.setting.voltage_kv
    known = detector.mtf_nyquist
    value = bench.mtf(voltage)
    yield Row(
        "Contrast of the finest fringe (MTF)", value, "", f"{CONTRAST:g} or more" if known else "none known: ideal",
        graded(value, CONTRAST, 0.0) if known else INFO, "MTF at Nyquist to the power sin²(π / (2 bin))",
        detector.source("mtf_nyquist") + _beyond(known, voltage),
        unless(value >= CONTRAST, "Bin, a smaller probe in its window, or a lower voltage."),
    )  # fmt: skip
    if detector.hits_per_electron:
        yield Row(
            "Hits of an electron", detector.hits_at(voltage), "", "", INFO, "rates and file sizes are of hits",
            detector.source("hits_per_electron") + _beyond(detector.hits_per_electron, voltage),
        )  # fmt: skip
    rate = operation.rate_bright_s
    if detector.event_px and rate is not None:
        mean = rate / detector.frames_per_s
        lost = 100 * coincidence_loss(mean, detector.event_px)
        yield Row(
            "Lost in coincidences", lost, "%", "5 or less", graded(lost, 5, 15), "1 − (1 − exp(−a n)) / (a n), n per "
            f"pixel and frame of {1e6 / detector.frames_per_s:.3g} µs, a = {detector.event_px:g} pixels",
            f"{COINCIDENCE}; a: {detector.source('event_px')}",
            unless(lost <= 5, "Less current, or a longer camera length."),
        )  # fmt: skip


def coincidence_loss(mean: float, event_px: float) -> float:
    """Part of the electrons that is lost where only one can be found in `event_px` pixels of a frame: 1 - P(n > 0)/E[n]
    of n Poisson with mean `event_px` x `mean`. mean: electrons per pixel and frame."""
    load = mean * event_px
    return 1 + math.expm1(-load) / load if load > 0 else 0.0


def _beyond(known: dict[float, float] | None, voltage_kv: float) -> str:
    """Where a number is of another voltage than the plan's."""
    if not known or min(known) <= voltage_kv <= max(known):
        return ""
    return f" (of {min(known, key=lambda one: abs(one - voltage_kv)):g} kV, the nearest that is known)"
