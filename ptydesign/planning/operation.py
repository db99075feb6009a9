"""A setting at a dose: the current and the dwell time that give it, all that follows, and which constraint binds.

The dose fixes the product of current and dwell time. The largest current that dwell limits, frame rate and count rates
allow gives the shortest scan; where a part of the dose isn't counted (`dose`), the largest of those that count nearly
as much as any within the time limit. Where the source grows with the current, the largest current whose source is fine
enough for the goal is taken, as an operator does, if the time limit leaves that long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ptydesign.design import sampling
from ptydesign.planning import constraints, dose
from ptydesign.planning.constraints import Violation
from ptydesign.planning.instrument import PER_PA_US, Bench, Setting
from ptydesign.units import MRAD


@dataclass(frozen=True)
class Operation:
    """A setting at a dose, with everything that follows from it. None: no current and dwell time are possible.

    dose_e_per_a2: all that the specimen gets. counted_part: of it. electrons: counted in a pattern, if the detector
    misses none. dwell_us: from one position to the next, exposure and read-out. bright: of a physical pixel in the
    bright-field disk. shape: (rows, columns) of the scan on the day.
    """

    setting: Setting
    dose_e_per_a2: float
    counted_part: float
    electrons: float
    current_pa: float | None
    exposure_us: float | None
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
    applied = sampling.electrons_per_pattern(dose.scanned(bench, dose_e_per_a2), setting.step_a)
    alpha, pixel = setting.semiangle_mrad, bench.physical_pixel_mrad(setting.camera)
    kept = bench.kept_part(setting.voltage_kv)
    bright = kept * sampling.counts_per_bright_pixel(1.0, alpha * MRAD, pixel * MRAD)
    shape = bench.scan_shape(setting.step_a)
    possible = {i: dose.share(bench, setting, dose_e_per_a2, i) for i in _currents(bench, setting, applied, bright)}
    current = current_pa or _current(bench, setting, possible, shape)
    found, share, time_s = list(constraints.optics(bench, setting)), None, None
    if current is not None:
        share = dose.share(bench, setting, dose_e_per_a2, current)
        time_s = _scan_time_s(bench, share, shape)
    part = share.part if share else dose.scanned(bench, dose_e_per_a2) / dose_e_per_a2
    electrons = max(0.0, share.electrons) if share else applied
    counts, electrons = electrons * bright, electrons * kept
    found += constraints.counts(bench, setting, counts)
    if current is None:
        found.append(constraints.no_current(bench, setting, dose_e_per_a2, applied, applied * bright))
    else:
        if current not in possible:
            found.append(constraints.not_that_current(bench, setting, share, current, list(possible)))
        found += [*constraints.time(bench, setting, time_s, shape), *constraints.coherence(bench, setting, current)]
    found += constraints.simulated(bench, setting, electrons)
    stored = bench.detector.bytes_per_pattern(electrons, setting.voltage_kv)
    exposure, frame = (share.exposure_us, share.frame_us) if share else (None, None)
    rate = None if current is None else bright * current * PER_PA_US * 1e6
    return Operation(
        setting, dose_e_per_a2, part, electrons, current, exposure, frame, shape, time_s, counts, rate,
        shape[0] * shape[1] * stored / 1e9, tuple(found),
    )  # fmt: skip


def _scan_time_s(bench: Bench, share: dose.Share, shape: tuple[int, int]) -> float:
    return sampling.scan_time_s(shape[0] * shape[1], 1e6 / share.frame_us, shape[0], bench.instrument.flyback_us * 1e-6)


def _current(
    bench: Bench, setting: Setting, possible: Mapping[float, dose.Share], shape: tuple[int, int]
) -> float | None:
    """The current that is taken: of those within the time limit, or of all if none is; where the source grows with it,
    of those whose source is fine enough, or else the smallest."""
    limit = bench.goal.time_limit_s or math.inf
    in_time = {i: one for i, one in possible.items() if _scan_time_s(bench, one, shape) <= limit}
    if bench.source_varies and in_time:
        fine = {i: one for i, one in in_time.items() if bench.source_a(setting, i) <= bench.good_source_a}
        in_time = fine or dict([min(in_time.items())])
    return dose.preferred(list((in_time or possible).items()))


def _currents(bench: Bench, setting: Setting, applied: float, bright: float) -> list[float]:
    """Currents in pA that dwell times, frame rate, count rates and a dose rate allow, the largest first. applied: to a
    position. bright: part of a pattern's electrons in a bright pixel."""
    detector, voltage = bench.detector, setting.voltage_kv
    per_pixel = detector.electrons("rate_per_px_s", voltage) or math.inf
    per_s = detector.electrons("hits_per_s", voltage) or math.inf
    most = bench.goal.dose_rate_limit_e_per_a2_s or math.inf
    found = []
    for current in dose.timed_currents(bench, applied, setting.step_a):
        rate = current * PER_PA_US * 1e6
        in_probe = dose.dose_rate(bench, setting, current)
        if bright * rate <= per_pixel and rate <= per_s and dose.rate_is_allowed(in_probe, most):
            found.append(current)
    return found
