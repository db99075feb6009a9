"""Constraints that a setting may break: each with its rule, the value, and choices of this instrument that would do.

A mend that nobody can follow (a step that the scan generator can't do, a camera length that isn't there) isn't given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from scipy.optimize import brentq

from ptydesign.design import sampling
from ptydesign.planning import dose
from ptydesign.planning.gun import MOST_TIMES
from ptydesign.planning.instrument import PER_PA_US, Bench, Setting
from ptydesign.planning.rows import number_words, part_words
from ptydesign.simulate.coherence import largest_source_a, largest_spread_a
from ptydesign.simulate.detector import MAX_MEAN_COUNTS
from ptydesign.units import MM, MRAD, NM, wavelength_a

MOST_LOST = 0.05  # of the electrons of a bright pixel, beyond what a counter holds
MOST_SCANS = 20  # among which a dose may be shared out
RATES = ("rate_per_px_s", "hits_per_s")  # limits of a detector per second
NEAR = 10  # times as much or as little as there is: how far off a current is worth naming


@dataclass(frozen=True)
class Violation:
    """A constraint that a setting breaks. rule, value: in words. choices: what of this instrument would do at the same
    dose; dose: a dose that would; otherwise: what to say where there is neither."""

    name: str
    rule: str
    value: str
    choices: tuple[str, ...] = ()
    dose: str = ""
    otherwise: str = "Nothing that this instrument has would do at this dose."

    @property
    def mend(self) -> str:
        """A sentence with the nearest feasible choices."""
        return offer(*self.choices, self.dose) or self.otherwise


def offer(*choices: str) -> str:
    """A sentence that offers what there is among `choices`; empty if there is nothing."""
    known = [choice for choice in choices if choice]
    if not known:
        return ""
    return "Use " + (", ".join(known[:-1]) + f", or {known[-1]}" if len(known) > 1 else known[0]) + "."


def optics(bench: Bench, setting: Setting) -> Iterator[Violation]:
    """Constraints of aperture, window and detector that a setting breaks, whatever the dose."""
    wavelength, edge = wavelength_a(setting.voltage_kv), bench.edge_mrad(setting.camera)
    if setting.semiangle_mrad >= edge:
        fits = [a for a in bench.instrument.apertures_mrad if a < edge]
        wider = [c for c in bench.cameras if bench.edge_mrad(c) > setting.semiangle_mrad]
        yield Violation(
            "aperture",
            f"must lie inside the detector, {edge:.1f} mrad",
            f"{setting.semiangle_mrad:g} mrad",
            (
                f"an aperture of {max(fits):g} mrad or less" if fits else "",
                f"a camera of {min(wider, key=bench.edge_mrad):g} {bench.camera_unit}" if wider else "",
            ),
            otherwise="Calibrate a camera length whose detector holds an aperture, and add it to the list.",
        )
    needed = wavelength / bench.goal.resolution_a / MRAD
    if edge < needed * (1 - 1e-9):
        wider = [c for c in bench.cameras if bench.edge_mrad(c) >= needed * (1 - 1e-9)]
        least = 2 * needed / bench.pixels / bench.bin
        wanted = f"a camera length that gives at least {least:.3g} mrad per pixel"
        if bench.instrument.camera_lengths_mm:
            wanted = f"a camera length of {rounded(bench.length_mm(least), False):g} mm or less"
        yield Violation(
            "detector edge",
            f"must reach λ / resolution = {needed:.1f} mrad",
            f"{edge:.1f} mrad",
            (
                f"a camera of {min(wider, key=bench.edge_mrad):g} {bench.camera_unit}" if wider else "",
                "" if wider else f"{wanted}, if there is one",
                f"a resolution of {rounded(wavelength / (edge * MRAD), True):g} Å as the goal",
            ),
        )
    probe, window = 2 * bench.probe_radius_a(setting), bench.window_a(setting)
    if probe > window:
        alpha, cs_mm = setting.semiangle_mrad * MRAD, bench.instrument.cs_mm
        less_binned = "Bin less, or a" if bench.bin > 1 else "A"
        most, balance = window / 2 / alpha / NM, 0.75 * cs_mm * MM * alpha**2 / NM
        smaller = [a for a in bench.instrument.apertures_mrad if a < setting.semiangle_mrad]
        smaller = [a for a in smaller if 2 * bench.probe_radius_a(replace(setting, semiangle_mrad=a)) <= window]
        finer = _finer_camera(bench, setting, probe)
        yield Violation(
            "window",
            f"the probe must fit into the window λ/Δθ = {window:.1f} Å",
            f"{probe:.1f} Å",
            (
                f"at most {most:.0f} nm of defocus" if bench.underfocus_nm[0] <= most and not cs_mm else "",
                f"an aperture of {max(smaller):g} mrad or less" if smaller else "",
                finer,
            ),
            otherwise=f"{less_binned}llow less defocus."
            if not cs_mm
            else f"{less_binned}llow a defocus that balances cs_mm ({balance:.0f} nm of underfocus), or correct cs_mm.",
        )


@lru_cache(maxsize=64)
def most_counts(limit: float, lost: float = MOST_LOST) -> float:
    """Largest mean of a pixel's Poisson counts at which at most a fraction `lost` of them is beyond `limit`.

    A limit below 1 isn't a counter's, but a mean itself: the sparsity that counting of single electrons needs.
    """
    if limit < 1:
        return limit
    return brentq(lambda mean: sampling.saturated_fraction(mean, limit) - lost, 1e-9 * limit, 10 * limit + 10)


def counts(bench: Bench, setting: Setting, mean: float) -> Iterator[Violation]:
    """The detector's counts per pixel and frame. mean: of a physical pixel in the bright-field disk."""
    limit = bench.detector.electrons("counts_per_frame", setting.voltage_kv)
    if limit is None or mean <= most_counts(limit):
        return
    most = most_counts(limit)
    scans, step = math.ceil(mean / most), setting.step_a * math.sqrt(most / mean)
    holds = f"a pixel of {bench.detector.name} holds {limit:g} electrons in a frame"
    if limit >= 1:
        holds += f", and loses {100 * MOST_LOST:g} % of {most:.3g} on average"
    yield Violation(
        "counts per frame",
        holds,
        f"{mean:.3g} on average in the bright-field disk",
        (
            _step(bench, step, "or less"),
            _finer_camera(bench, setting),
            f"{scans} scans that share the dose out" if scans <= MOST_SCANS else "",
        ),
    )


def simulated(bench: Bench, setting: Setting, electrons: float) -> Iterator[Violation]:
    """What a simulation can scan, and count in a pattern."""
    largest = bench.largest_step_a
    if setting.step_a > largest * (1 + 1e-9):
        yield Violation(
            "simulated piece",
            f"a step must be at most half of the piece that is simulated, {largest:g} Å",
            f"{setting.step_a:g} Å",
            (_step(bench, largest, "or less"), f"simulation.field_of_view_a of {2 * setting.step_a:.3g} Å or more"),
        )
    if electrons > MAX_MEAN_COUNTS:
        yield Violation(
            "simulated counts",
            f"a simulated pattern holds at most {MAX_MEAN_COUNTS:.3g} electrons",
            f"{electrons:.3g} per pattern",
            (_step(bench, setting.step_a * math.sqrt(MAX_MEAN_COUNTS / electrons), "or less"),),
            f"a dose of at most {rounded(MAX_MEAN_COUNTS / setting.step_a**2, False, 3):g} e/Å²",
        )


def coherence(bench: Bench, setting: Setting, current_pa: float) -> Iterator[Violation]:
    """What a simulation can do of source and focal spread, as large as draws of errors have them."""
    beam = setting.voltage_kv, setting.semiangle_mrad * MRAD
    source, most = bench.source_a(setting, current_pa), largest_source_a(*beam) / MOST_TIMES
    known = f"draws of errors have up to {MOST_TIMES:g} times as much"
    smaller = [a for a in bench.instrument.apertures_mrad if a < setting.semiangle_mrad]
    if source > most:
        fit = [i for i in bench.instrument.currents_pa if bench.source_a(setting, i) <= most]
        fewer = [] if bench.source_varies else [a for a in smaller if setting.semiangle_mrad * most >= a * source]
        yield Violation(
            "source size",
            f"a source of at most {most:.3g} Å rms can be simulated with this aperture ({known})",
            f"{source:.3g} Å rms",
            (
                f"a current of {max(fit):g} pA or less" if fit else "",
                f"an aperture of {max(fewer):g} mrad or less" if fewer else "",
            ),
            otherwise="With such a source hardly any coherent signal is left: use a smaller spot.",
        )
    spread, most = bench.focal_spread_nm(setting.voltage_kv), largest_spread_a(*beam) / NM / MOST_TIMES
    if spread > most:
        fewer = [a for a in smaller if spread <= most * (setting.semiangle_mrad / a) ** 2]
        yield Violation(
            "focal spread",
            f"a focal spread of at most {most:.3g} nm rms can be simulated with this aperture ({known})",
            f"{spread:.3g} nm rms",
            (f"an aperture of {max(fewer):g} mrad or less" if fewer else "",),
            otherwise="With such a spread hardly any coherent signal is left: use a smaller aperture.",
        )


def not_that_current(
    bench: Bench, setting: Setting, share: dose.Share, current_pa: float, possible: list[float]
) -> Violation:
    """Why one current can't give a dose. possible: currents that can."""
    shortest, longest = bench.shortest_dwell_us(), bench.instrument.dwell_us.high
    rates = "the detector's count rates" + (", and the dose rate" if bench.goal.dose_rate_limit_e_per_a2_s else "")
    return Violation(
        "current and dwell time",
        f"must be possible: dwell times of {shortest:.4g} to {longest:.4g} µs, and {rates}",
        f"{current_pa:g} pA for {share.frame_us:.4g} µs",
        (f"a current of {' or '.join(f'{one:g}' for one in possible)} pA" if possible else "",),
    )


def no_current(bench: Bench, setting: Setting, dose_e_per_a2: float, electrons: float, mean: float) -> Violation:
    """Why no current and dwell time give a dose. electrons: applied to a position; mean: of them in a bright pixel."""
    step, detector, instrument = setting.step_a, bench.detector, bench.instrument
    before, charge = bench.goal.pre_exposure_e_per_a2, electrons / PER_PA_US
    on_scan = dose.scanned(bench, dose_e_per_a2)
    shortest, longest = dose.beam_us(bench, step)
    weakest, strongest = min(instrument.currents_pa), max(instrument.currents_pa)
    wanted = f"{electrons:.3g} electrons per pattern ({on_scan:g} e/Å² × ({step:.3g} Å)²)"
    timed = dose.timed_currents(bench, electrons, step)
    if timed:
        rate, hits = (n / charge * timed[-1] * 1e6 for n in (mean, electrons))
        limit, most = (detector.electrons(name, setting.voltage_kv) or math.inf for name in RATES)
        slower = max(rate / limit, hits / most)
        if slower <= 1:
            return _too_fast(bench, setting, timed[-1])
        dwell = charge / timed[-1] * slower
        known = [f"{limit:.4g} electrons per pixel and second"] if limit < math.inf else []
        known += [f"{most:.4g} electrons per second in all"] if most < math.inf else []
        return Violation(
            "count rate",
            f"{detector.name} counts at most {' and '.join(known)}",
            f"{rate:.3g} and {hits:.3g} with {timed[-1]:g} pA",
            (
                _current(bench, timed[-1] / slower, f" for {dwell:.3g} µs") if dwell <= longest else "",
                _finer_camera(bench, setting) if rate > limit else "",
            ),
        )
    if weakest * shortest > charge:
        by_detector = bench.shortest_dwell_us() > instrument.dwell_us.low
        least = weakest * shortest * PER_PA_US
        which = f"a frame of {detector.name}" if by_detector else "of the scan generator"
        return Violation(
            "frame rate" if by_detector else "shortest dwell",
            f"the smallest current, {weakest:g} pA, gives {least:.3g} electrons in the shortest dwell time, "
            f"{shortest:.4g} µs ({which})",
            wanted,
            (_step(bench, math.sqrt(least / on_scan), "or more"), _current(bench, charge / shortest)),
            f"a dose of {rounded(least / step**2 + before, True, 3):g} e/Å² or more",
            f"A current of {rounded(charge / shortest, False):g} pA or less is needed.",
        )
    if strongest * longest < charge:
        most = strongest * longest * PER_PA_US
        return Violation(
            "beam current",
            f"the largest current, {strongest:g} pA, gives {most:.3g} electrons in the longest dwell time, "
            f"{longest:g} µs",
            wanted,
            (
                _step(bench, math.sqrt(most / on_scan), "or less"),
                f"a dwell time of {rounded(charge / strongest, True, 3):g} µs"
                if charge / strongest <= NEAR * longest
                else "",
            ),
            f"a dose of at most {rounded(most / step**2 + before, False, 3):g} e/Å²",
            f"A current of {rounded(charge / longest, True):g} pA or more is needed.",
        )
    return Violation(
        "list of currents",
        f"a current between {charge / longest:.3g} and {charge / shortest:.3g} pA is needed",
        f"{list(instrument.currents_pa)} pA",
        otherwise="Add one that can be set, or allow longer dwell times.",
    )


def _too_fast(bench: Bench, setting: Setting, current_pa: float) -> Violation:
    """A dose rate above the goal's. current_pa: the smallest that is possible otherwise."""
    limit, rate = bench.goal.dose_rate_limit_e_per_a2_s, dose.dose_rate(bench, setting, current_pa)
    radius = bench.probe_radius_a(setting) * math.sqrt(rate / limit)
    wider = replace(setting, defocus_nm=radius / (setting.semiangle_mrad * MRAD) / NM)
    fits = wider.defocus_nm <= max(map(abs, bench.underfocus_nm)) and 2 * radius <= bench.window_a(setting)
    return Violation(
        "dose rate",
        f"current / (e π R²) in the probe must be at most {limit:,.9g} e/Å²/s",
        f"{number_words(rate)} e/Å²/s with {current_pa:g} pA, {part_words(rate / limit)}",
        (
            f"{rounded(wider.defocus_nm, True):g} nm of defocus or more" if fits else "",
            _current(bench, current_pa * limit / rate),
        ),
    )


def time(bench: Bench, setting: Setting, time_s: float, shape: tuple[int, int]) -> Iterator[Violation]:
    """The time limit of the goal."""
    limit = bench.goal.time_limit_s
    if limit is None or time_s <= limit:
        return
    factor = math.sqrt(time_s / limit)
    # a little less, since a scan has a position more than steps along each axis
    field = " × ".join(f"{math.floor(0.97 * size / factor)}" for size in bench.goal.field_of_view_a)
    yield Violation(
        "time",
        f"the scan must take at most {limit:g} s",
        f"{time_s:.3g} s for {shape[0]} × {shape[1]} positions",
        (_step(bench, setting.step_a * factor, "or more"), f"a field of {field} Å"),
    )


def _step(bench: Bench, step_a: float, which: str) -> str:
    """A step, if the scan generator can do it. which: "or more" or "or less"; rounded to that side."""
    shown = rounded(step_a, which == "or more")
    low, high = bench.instrument.step_a.low, min(bench.instrument.step_a.high, bench.largest_step_a)
    return f"a step of {shown:g} Å {which}" if low <= shown <= high else ""


def rounded(value: float, up: bool, digits: int = 2) -> float:
    """To so many digits, never to the wrong side of a limit."""
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{(math.ceil if up else math.floor)(value / unit) * unit:.{digits}g}")


def _current(bench: Bench, current_pa: float, more: str = "") -> str:
    """A current that isn't on the list, if it is near it."""
    low, high = min(bench.instrument.currents_pa) / NEAR, max(bench.instrument.currents_pa) * NEAR
    if not low <= current_pa <= high:
        return ""
    return f"a current of {rounded(current_pa, False):g} pA{more}, if it can be set"


def _finer_camera(bench: Bench, setting: Setting, probe_a: float = 0.0) -> str:
    """The next camera length with a smaller angle per pixel, which still reaches the resolution, and whose window holds
    a probe."""
    needed = max(wavelength_a(setting.voltage_kv) / bench.goal.resolution_a / MRAD, setting.semiangle_mrad)
    finer = [c for c in bench.cameras if needed <= bench.edge_mrad(c) < bench.edge_mrad(setting.camera)]
    finer = [c for c in finer if bench.window_a(replace(setting, camera=c)) >= probe_a]
    return f"a camera of {max(finer, key=bench.edge_mrad):g} {bench.camera_unit}" if finer else ""
