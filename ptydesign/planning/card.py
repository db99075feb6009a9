"""The feasibility card: rules of thumb for one setting at one dose, each green, amber or red, with its formula and
source and what to change. No reconstruction, no simulation: it takes a few seconds at most."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ptydesign.design import sampling
from ptydesign.planning import aberrations
from ptydesign.planning.card_dose import detector_rows, dose_rows, loss_rows
from ptydesign.planning.constraints import MOST_LOST, most_counts, rounded
from ptydesign.planning.instrument import PER_PA_US, Bench, Setting
from ptydesign.planning.operation import Operation
from ptydesign.planning.reconstruction import HELD, in_slices, probe_powers, thickness_a, trial_reconstruction
from ptydesign.planning.rows import AMBER, GREEN, INFO, RED, RULE, Row, graded, number_words, unless
from ptydesign.units import MRAD, NM, wavelength_a

COMFORTABLE_LOSS = 0.01  # of the electrons of a bright pixel; `constraints.MOST_LOST` is refused
EDO = "Edo et al., Phys. Rev. A 87:053850 (2013)"
BUNK = "Bunk et al., Ultramicroscopy 108:481 (2008)"
KNOLL = "Knoll, Radiation Detection and Measurement, ch. 4"


@dataclass(frozen=True)
class Card:
    """A setting (in the microscope's units and sign) and its rows. underfocus_nm: its defocus in ptydesign's sign.
    about: where the setting is from, in words."""

    title: str
    what: str
    setting: dict[str, Any]
    underfocus_nm: float
    dose_e_per_a2: float
    rows: tuple[Row, ...]
    about: str = ""

    @property
    def status(self) -> str:
        """The worst of all rows."""
        found = {row.status for row in self.rows}
        return RED if RED in found else AMBER if AMBER in found else GREEN

    def content(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows], "status": self.status}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Card:
        """The card that `content` was made from."""
        fields = {name: value for name, value in content.items() if name != "status"}
        return cls(**{**fields, "rows": tuple(Row(**row) for row in content["rows"])})


def make_card(bench: Bench, operation: Operation, what: str, fft_units_per_s: float | None, about: str = "") -> Card:
    """The card of a setting. what: which setting it is, in words; about: where it is from. fft_units_per_s: of this
    machine (study.cost), for the time of the reconstruction; None leaves that out."""
    rows = [*geometry(bench, operation.setting), *dose_rows(bench, operation), *_counting(bench, operation)]
    rows += [*loss_rows(bench, operation), *detector_rows(bench, operation), *_time(bench, operation)]
    rows += [*_specimen(bench, operation), *_computing(bench, operation, fft_units_per_s)]
    named = {violation.name for violation in operation.violations}
    covered = {"window", "counts per frame", "time", "detector edge"}
    for violation in operation.violations:
        if violation.name not in covered:
            rows.insert(
                0, Row(violation.name, None, "", violation.rule, RED, "", "the instrument's limits", violation.mend)
            )
    if not named:
        rows.insert(
            0,
            Row(
                "Current and dwell time", operation.current_pa, f"pA for {number_words(operation.dwell_us)} µs",
                "both can be set", GREEN, "current × time with the beam on = (dose − pre-exposure) s² e",
                "the instrument's limits",
            ),
        )  # fmt: skip
    setting, dose = operation.setting, operation.dose_e_per_a2
    return Card(bench.plan.title, what, bench.shown(setting), setting.defocus_nm, dose, tuple(rows), about)


def geometry(bench: Bench, setting: Setting) -> Iterator[Row]:
    """Rules of probe, window, step and detector: those that don't depend on the dose."""
    alpha, step = setting.semiangle_mrad * MRAD, setting.step_a
    radius, window = bench.probe_radius_a(setting), bench.window_a(setting)
    dk = 1 / window
    lens = bench.instrument.cs_mm or bench.instrument.aberrations
    formula = "2 R, R² = r² + (0.61 λ/α)², r " + ("the widest ray of all aberrations" if lens else "= Δf α")
    yield Row("Probe diameter", 2 * radius, "Å", "", INFO, formula, RULE)
    value = sampling.window_sampling(radius, dk)
    yield Row(
        "Window against probe", value, "", "1.3 or more", graded(value, 1.3, 1.0), "1 / (2 R Δk), Δk = Δθ/λ",
        "the probe must not wrap around the window λ/Δθ",
        unless(value >= 1.3, f"At most {_defocus(window, 1.3, alpha):.0f} nm of defocus, or a longer camera length."),
    )  # fmt: skip
    value = sampling.fundamental_sampling(step, dk)
    yield Row(
        "Fundamental sampling", value, "", "1 or more; 2 is comfortable", graded(value, 2, 1), "1 / (s Δk)", EDO,
        unless(value >= 2, f"A step of {rounded(window / 2, False):g} Å or less, or a longer camera length."),
    )  # fmt: skip
    value = sampling.linear_overlap(radius, step)
    yield Row(
        "Linear overlap", value, "", "0.6 or more", graded(value, 0.6, 0.4), "1 − s / 2R", BUNK,
        unless(value >= 0.6, f"A step of {rounded(0.8 * radius, False):g} Å or less, or more defocus."),
    )  # fmt: skip
    value = sampling.areal_overlap(radius, step)
    yield Row(
        "Areal overlap", value, "", "0.4 or more", graded(value, 0.4, 0.2),
        "2/π (acos g − g √(1 − g²)), g = s/2R", RULE,
        unless(value >= 0.4, "A smaller step, or more defocus."),
    )  # fmt: skip
    value = sampling.areal_oversampling(radius, step)
    yield Row(
        "Probes that light a point", value, "", "4 or more", graded(value, 4, 1.5), "π R² / s²", RULE,
        unless(value >= 4, f"A step of {rounded(radius * math.sqrt(math.pi / 4), False):g} Å or less."),
    )  # fmt: skip
    pixel = bench.pixel_mrad(setting.camera)
    value = sampling.ronchigram_magnification_px_per_a(alpha, pixel * MRAD, radius)
    yield Row("Ronchigram magnification", value, "px/Å", "", INFO, "α / (Δθ R)", RULE)
    edge, wavelength = bench.edge_mrad(setting.camera), wavelength_a(setting.voltage_kv)
    value = sampling.reachable_resolution_a(wavelength, edge * MRAD)
    wanted = bench.goal.resolution_a
    yield Row(
        "Resolution of the detector's edge", value, "Å", f"{wanted:g} or less", graded(value, wanted, wanted * 1.0001),
        "λ / (N Δθ / 2)", RULE, unless(value <= wanted, "A shorter camera length."),
    )  # fmt: skip


def _counting(bench: Bench, operation: Operation) -> Iterator[Row]:
    detector, counts = bench.detector, operation.counts_bright
    value = operation.electrons
    yield Row(
        "Electrons per pattern", value, "", "30 or more", graded(value, 30, 3), "counted dose × s²",
        RULE, unless(value >= 30, "A larger step with more defocus, or more dose."),
    )  # fmt: skip
    voltage = operation.setting.voltage_kv
    limit = detector.electrons("counts_per_frame", voltage)
    comfortable = most = math.inf
    if limit:  # below 1 a limit is a mean itself, not what a counter holds
        # half of it, since the disk of a crystal isn't even
        comfortable, most = min(most_counts(limit, COMFORTABLE_LOSS), limit / 2), most_counts(limit)
    holds = f"{number_words(comfortable)} or less; a pixel holds {number_words(limit)}" if limit else "no limit known"
    yield Row(
        "Electrons in a bright pixel", counts, "per frame on average", holds,
        graded(counts, comfortable, most) if limit else INFO, "counted dose × s² / (π (α/Δθ)²), Δθ before binning",
        detector.source("counts_per_frame"),
        unless(counts <= comfortable, "Share the dose out over several scans, or a smaller step."),
    )  # fmt: skip
    if limit and limit >= 1:
        lost = 100 * sampling.saturated_fraction(counts, limit)
        yield Row(
            "Lost above the most counts", round(lost, 6), "%", f"{100 * COMFORTABLE_LOSS:g} or less",
            graded(lost, 100 * COMFORTABLE_LOSS, 100 * MOST_LOST),
            "E[max(n − most, 0)] / E[n], n of Poisson", "counts of a pixel scatter about their mean",
            unless(lost <= 100 * COMFORTABLE_LOSS, "Fewer electrons in a bright pixel."),
        )  # fmt: skip
    rate, limit = operation.rate_bright_s, detector.electrons("rate_per_px_s", voltage)
    if rate is not None:
        yield Row(
            "Rate in a bright pixel", rate, "1/s", f"{number_words(limit)} or less" if limit else "no limit known",
            graded(rate, 0.5 * limit, limit) if limit else INFO, "electrons per bright pixel / exposure",
            detector.source("rate_per_px_s"),
            unless(limit is None or rate <= 0.5 * limit, "Less current, or a longer camera length."),
        )  # fmt: skip
        if detector.dead_time_ns:
            hits = detector.hits_at(voltage)
            value = 100 * sampling.lost_fraction(rate * hits, detector.dead_time_ns * 1e-9)
            yield Row(
                "Lost in dead time", value, "%", "2 or less", graded(value, 2, 10), "1 − 1/(1 + r τ)",
                f"{KNOLL}; τ: {detector.source('dead_time_ns')}",
                unless(value <= 2, "Less current and a longer dwell time."),
            )  # fmt: skip
        if detector.hits_per_s:
            value, limit = operation.current_pa * PER_PA_US * 1e6, detector.electrons("hits_per_s", voltage)
            yield Row(
                "Electrons on the detector", value, "1/s", f"{number_words(limit)} or less",
                graded(value, 0.3 * limit, limit), "current / e; the limit is of hits per second / hits of an electron",
                detector.source("hits_per_s"), unless(value <= 0.3 * limit, "Less current."),
            )  # fmt: skip
    if detector.dqe:
        yield Row("DQE", detector.dqe, "", "", INFO, "counts as a smaller dose", detector.source("dqe"))


def _time(bench: Bench, operation: Operation) -> Iterator[Row]:
    if operation.scan_time_s is None:
        return
    frames = 1e6 / operation.dwell_us
    most = bench.detector.frames_per_s
    yield Row(
        "Frame rate", frames, "1/s", f"{number_words(most)} or less", graded(frames, most, most * 1.0001), "1 / dwell",
        bench.detector.source("frames_per_s"),
    )  # fmt: skip
    time_s, limit = operation.scan_time_s, bench.goal.time_limit_s
    yield Row(
        "Scan time", time_s, "s", f"{limit:g} or less" if limit else "no limit given",
        graded(time_s, 0.8 * limit, limit) if limit else INFO, "positions × dwell + rows × flyback",
        f"{operation.shape[0]} × {operation.shape[1]} positions (rows × columns)",
        unless(limit is None or time_s <= 0.8 * limit, "A larger step, a smaller field, or more current."),
    )  # fmt: skip
    rate, wanted = bench.instrument.drift_a_per_min, bench.goal.resolution_a
    value = sampling.drift_a(rate, time_s)
    yield Row(
        "Drift during the scan", value, "Å", f"{wanted:g} without position correction, {20 * wanted:g} with it",
        graded(value, wanted, 20 * wanted), "drift rate × scan time", RULE,
        unless(value <= wanted, "Wait for the stage to settle, scan faster, or refine the positions."),
    )  # fmt: skip
    value = sampling.drift_a(rate, operation.line_time_s(bench))
    yield Row(
        "Drift during a line", value, "Å", f"{wanted / 4:g} or less", graded(value, wanted / 4, wanted),
        "drift rate × time of a line", RULE, unless(value <= wanted / 4, "Fewer columns, or a shorter dwell time."),
    )  # fmt: skip


def _specimen(bench: Bench, operation: Operation) -> Iterator[Row]:
    setting, wanted = operation.setting, bench.goal.resolution_a
    yield from _source(bench, operation)
    value, most = bench.instrument.position_jitter_a, 0.3 * wanted
    if value:
        yield Row(
            "Scan jitter", value, "Å rms", f"{most:.2g} without position correction, half a step with it",
            graded(value, most, max(most, setting.step_a / 2)), "0.3 × resolution; s / 2", RULE,
            unless(value <= most, "Refine the positions, or average several fast scans."),
        )  # fmt: skip
    yield from _focal_spread(bench, operation)
    powers = probe_powers(bench, bench.beam(setting, operation.current_pa))
    if powers:
        needed, given = 1 + len(powers), trial_reconstruction(bench.plan, powers).probe.modes
        yield Row(
            "Probe modes", needed, "", f"{needed} or more in the reconstruction, which has {given}",
            GREEN if given >= needed else AMBER, f"coherent modes that hold {100 * HELD:g} % of the electrons",
            "Wolf, J. Opt. Soc. Am. 72:343 (1982); Chen et al., Nat. Commun. 11:2994 (2020)",
            unless(given >= needed, f"reconstruction.probe: {{mode_powers: {list(powers)}}}"),
        )  # fmt: skip
    yield from _residual_aberrations(bench, setting)
    depth = sampling.depth_resolution_a(wavelength_a(setting.voltage_kv), setting.semiangle_mrad * MRAD)
    thickness = thickness_a(bench.plan)
    slices = trial_reconstruction(bench.plan).final_slices[0]
    status = GREEN if slices > 1 else graded(thickness, depth, 3 * depth)
    yield Row(
        "Thickness", thickness, "Å", f"depth of field {depth:.0f} Å, or several slices", status, "2 λ / α²",
        RULE, unless(status == GREEN, "Set simulation.slice_thickness_a, or take a smaller aperture."),
    )  # fmt: skip
    if bench.goal.depth:
        status = graded(depth, thickness / 2, thickness) if in_slices(bench.plan) else RED
        yield Row(
            "Depth resolution", depth, "Å", f"half the thickness, {thickness / 2:.0f} Å, or less", status,
            "2 λ / α²", "depth of field of the aperture; ptychography reaches λ/θ², θ the largest angle with signal",
            unless(status == GREEN, _for_depth(bench, setting, thickness)),
        )  # fmt: skip


def _source(bench: Bench, operation: Operation) -> Iterator[Row]:
    """The source at the setting's current, and what a smaller one needs."""
    one, setting, most = bench.instrument, operation.setting, bench.good_source_a
    value = bench.source_a(setting, operation.current_pa)
    if not value:
        return
    formula, source, change = "0.3 × resolution", RULE, "More demagnification (a smaller spot)."
    if bench.source_varies:
        fine = [i for i in one.currents_pa if bench.source_a(setting, i) <= most]
        largest = (operation.current_pa or min(one.currents_pa)) * (most / value) ** 2
        change = (
            f"A current of {max(fine):g} pA or less" if fine else f"A current of {largest:.2g} pA, if it can be set"
        )
        change += ": a smaller spot, and a longer scan."
        formula = "d / 2.355, d = √(4 I / (π² B V α²)); 0.3 × resolution"
        source = "measured, scaled" if one.source_at else one.gun.where("reduced_brightness_a_per_m2_sr_v")
    yield Row(
        "Source size", value, "Å rms", f"{most:.2g} or less", graded(value, most, 2 * most), formula, source,
        unless(value <= most, change),
    )  # fmt: skip


def _focal_spread(bench: Bench, operation: Operation) -> Iterator[Row]:
    setting = operation.setting
    value, most = bench.focal_spread_nm(setting.voltage_kv), _focal_nm(setting)
    if not value:
        return
    formula, source = "λ / (π α²): a radian at the edge of the aperture", RULE
    if bench.instrument.cc_mm:
        formula = f"Cc (ΔE/eV) (1 + eV/mc²) / (1 + eV/2mc²), ΔE rms; {formula}"
        source = bench.instrument.gun.where("energy_spread_ev")
    yield Row(
        "Focal spread", value, "nm rms", f"{most:.2g} or less", graded(value, most, 3 * most), formula, source,
        unless(value <= most, "A smaller aperture, or a smaller energy spread."),
    )  # fmt: skip


def _residual_aberrations(bench: Bench, setting: Setting) -> Iterator[Row]:
    """What alignment leaves of each aberration. Never red: the reconstruction's probe takes part of it up."""
    given = bench.instrument.aberrations
    for kind, phase in aberrations.residual_phases(given, setting.voltage_kv, setting.semiangle_mrad).items():
        most, power = aberrations.QUARTER_WAVE, kind.order + 1
        angle = rounded(setting.semiangle_mrad * (most / phase) ** (1 / power), False, 3)
        change = (
            f"Align {kind.haider} {phase / most:.2g} times better, an aperture of {angle:g} mrad or less, or more "
            "sweeps in which the probe is refined."
        )
        yield Row(
            f"Residual {kind.haider}, {kind.words}", phase, "rad rms", "pi/4 = 0.785 or less at the aperture's edge",
            graded(phase, most, math.inf), f"2π/λ C α^{power}/{power}, C = {kind.krivanek}",
            aberrations.HAIDER, unless(phase <= most, change),
        )  # fmt: skip


def _computing(bench: Bench, operation: Operation, fft_units_per_s: float | None) -> Iterator[Row]:
    from ptydesign.experiment.estimate import SWEEP_TRANSFORMS

    size = operation.file_gb
    yield Row(
        "File size", size, "GB", "50 or less", graded(size, 50, 500), "positions × bytes per pattern, not binned",
        bench.detector.source("bytes_per_hit" if bench.detector.bytes_per_hit else "bytes_per_px"),
        unless(size <= 50, "Bin on the detector, or a smaller field."),
    )  # fmt: skip
    if fft_units_per_s is None:
        return
    beam = bench.beam(operation.setting, operation.current_pa)
    plan = trial_reconstruction(bench.plan, probe_powers(bench, beam))
    pixels = (bench.pixels * plan.probe.window) ** 2
    work = SWEEP_TRANSFORMS * pixels * math.log2(pixels) * plan.sweeps * plan.final_slices[0] * plan.probe.modes
    minutes = operation.positions * work / fft_units_per_s / 60
    yield Row(
        "Reconstruction time", minutes, "min", "60 or less on a core like this one", graded(minutes, 60, 24 * 60),
        "positions × sweeps × slices × 8 transforms", "measured speed of this machine's transforms",
        unless(minutes <= 60, "Use a GPU, a part of the field, or bin the patterns."),
    )  # fmt: skip


def _for_depth(bench: Bench, setting: Setting, thickness: float) -> str:
    """What brings depth resolution of half the thickness."""
    if not in_slices(bench.plan):
        return "simulation.slice_thickness_a: a single slice has no depth."
    needed = math.sqrt(4 * wavelength_a(setting.voltage_kv) / thickness) / MRAD
    wider = [angle for angle in bench.instrument.apertures_mrad if angle >= needed]
    if wider:
        return f"The aperture of {min(wider):g} mrad, or a larger one."
    largest = max(bench.instrument.apertures_mrad)
    return f"It needs {needed:.1f} mrad; the largest aperture here is {largest:g} mrad."


def _focal_nm(setting: Setting) -> float:
    return wavelength_a(setting.voltage_kv) / math.pi / (setting.semiangle_mrad * MRAD) ** 2 / NM


def _defocus(window: float, factor: float, alpha: float) -> float:
    return window / factor / 2 / alpha / NM
