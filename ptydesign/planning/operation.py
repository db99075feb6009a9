"""A setting at a dose: the current and the dwell time that give it, all that follows, and which constraint binds.

The dose fixes the product of current and dwell time. The largest current that dwell limits, frame rate and count rates
allow gives the shortest scan. Where the source grows with the current, the largest current whose source is fine enough
for the goal is taken, as an operator does, if the time limit leaves that long.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from ptydesign.design import sampling
from ptydesign.planning import constraints
from ptydesign.planning.constraints import Violation
from ptydesign.planning.instrument import PER_PA_US, Bench, Setting
from ptydesign.units import MRAD, NM, wavelength_a

EXPERT_MRAD = 21.0  # common semi-angle of ptychography
EXPERT_WINDOW = 0.5  # of the window is filled by the expert's probe
EXPERT_OVERLAP = 0.8  # linear


@dataclass(frozen=True)
class Operation:
    """A setting at a dose, with everything that follows from it. None: no current and dwell time are possible.

    bright: of a physical pixel in the bright-field disk. shape: (rows, columns) of the scan on the day.
    """

    setting: Setting
    dose_e_per_a2: float
    electrons: float
    current_pa: float | None
    dwell_us: float | None
    shape: tuple[int, int]
    scan_time_s: float | None
    counts_bright: float
    rate_bright_s: float | None
    file_gb: float
    violations: tuple[Violation, ...]

    @property
    def feasible(self) -> bool:
        """True if nothing is violated."""
        return not self.violations

    @property
    def positions(self) -> int:
        """Number of scan positions on the day."""
        return self.shape[0] * self.shape[1]

    def line_time_s(self, bench: Bench) -> float:
        """Time of one line of the scan on the day, flyback included."""
        return (self.shape[1] * self.dwell_us + bench.instrument.flyback_us) * 1e-6


def operate(bench: Bench, setting: Setting, dose_e_per_a2: float, current_pa: float | None = None) -> Operation:
    """Current, dwell time and all that follows. Violations are listed, not raised.

    current_pa: that one, whether it can be or not; None: the largest that is possible.
    """
    electrons = sampling.electrons_per_pattern(dose_e_per_a2, setting.step_a)
    alpha, pixel = setting.semiangle_mrad, bench.physical_pixel_mrad(setting.camera)
    counts = sampling.counts_per_bright_pixel(electrons, alpha * MRAD, pixel * MRAD)
    found = [*constraints.optics(bench, setting), *constraints.counts(bench, setting, counts)]
    shape = bench.scan_shape(setting.step_a)
    possible = _currents(bench, electrons, counts)
    current = current_pa or _chosen(bench, setting, possible, electrons, shape)
    dwell = time_s = rate = None
    if current is not None and current not in possible:
        found.append(constraints.not_that_current(bench, electrons, current, possible))
    if current is None:
        found.append(constraints.no_current(bench, setting, electrons, counts))
    else:
        dwell = electrons / PER_PA_US / current
        time_s = _scan_time_s(bench, shape, dwell)
        rate = counts / (dwell * 1e-6)
        found += [*constraints.time(bench, setting, time_s, shape), *constraints.coherence(bench, setting, current)]
    found += constraints.simulated(bench, setting, electrons)
    size = shape[0] * shape[1] * bench.detector.bytes_per_pattern(electrons) / 1e9
    return Operation(setting, dose_e_per_a2, electrons, current, dwell, shape, time_s, counts, rate, size, tuple(found))


def _currents(bench: Bench, electrons: float, counts: float) -> list[float]:
    """Currents in pA that dwell times, frame rate and count rates allow, the largest first."""
    per_pixel = bench.detector.rate_per_px_s or math.inf
    per_s = bench.detector.hits_per_s or math.inf
    found = []
    for current in bench.timed_currents(electrons):
        dwell_s = electrons / PER_PA_US / current * 1e-6
        if counts / dwell_s <= per_pixel and electrons / dwell_s <= per_s:
            found.append(current)
    return found


def _chosen(
    bench: Bench, setting: Setting, possible: list[float], electrons: float, shape: tuple[int, int]
) -> float | None:
    """The current to take of those that are possible (the largest first): the largest; where the source grows with it,
    the largest whose source is fine enough, or the smallest, of those that keep the time limit."""
    if not bench.source_varies:
        return next(iter(possible), None)
    limit = bench.goal.time_limit_s or math.inf
    timed = [i for i in possible if _scan_time_s(bench, shape, electrons / PER_PA_US / i) <= limit]
    fine = [i for i in timed if bench.source_a(setting, i) <= bench.good_source_a]
    return next(iter([*fine[:1], *timed[-1:], *possible]), None)


def _scan_time_s(bench: Bench, shape: tuple[int, int], dwell_us: float) -> float:
    return sampling.scan_time_s(shape[0] * shape[1], 1e6 / dwell_us, shape[0], bench.instrument.flyback_us * 1e-6)


def expert(bench: Bench) -> Setting:
    """The rule of thumb: 21 mrad or what is next to it, a probe that fills half of the window, 80 % linear overlap,
    the camera length whose edge is just beyond twice the aperture and the resolution wanted; or what the plan says
    for it. Chosen without looking at the dose. Then moved to the nearest step that can be done at the dose limit.
    """
    given = bench.plan.expert
    voltage = given.voltage_kv or bench.instrument.voltages_kv[-1]
    aperture = given.semiangle_mrad or min(bench.instrument.apertures_mrad, key=lambda a: abs(a - EXPERT_MRAD))
    wanted = max(2 * aperture, wavelength_a(voltage) / bench.goal.resolution_a / MRAD)
    by_angle = sorted(bench.cameras, key=bench.edge_mrad)
    camera = given.camera or next((c for c in by_angle if bench.edge_mrad(c) >= wanted), by_angle[-1])
    low, high = bench.underfocus_nm
    start = Setting(voltage, aperture, 0.0, 1.0, camera)
    size = EXPERT_WINDOW * bench.window_a(start) / 2 / (aperture * MRAD) / NM
    defocus = max(low, -size) if -low >= high else min(high, size)  # overfocus where both are possible
    if given.defocus_nm is not None:
        defocus = bench.defocus_sign * given.defocus_nm
    radius = bench.probe_radius_a(Setting(voltage, aperture, defocus, 1.0, camera))
    steps = bench.instrument.step_a
    step = given.step_a or min(max((1 - EXPERT_OVERLAP) * 2 * radius, steps.low), steps.high)
    return Setting(voltage, aperture, round(defocus, 1), float(f"{step:.3g}"), camera)


def feasible_near(bench: Bench, setting: Setting, dose_e_per_a2: float) -> Setting:
    """The setting, or the same with the nearest step that can be done at this dose; unchanged if none can."""
    if operate(bench, setting, dose_e_per_a2).feasible:
        return setting
    low, high = bench.instrument.step_a.low, min(bench.instrument.step_a.high, bench.largest_step_a)
    count = 200
    steps = [low * (high / low) ** (i / count) for i in range(count + 1)] if high > low else [low]
    for step in sorted(steps, key=lambda s: abs(math.log(s / setting.step_a))):
        moved = Setting(**{**asdict(setting), "step_a": float(f"{step:.3g}")})
        if low <= moved.step_a <= high and operate(bench, moved, dose_e_per_a2).feasible:
            return moved
    return setting
