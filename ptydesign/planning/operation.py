"""A setting at a dose: the current and the dwell time that give it, all that follows, and which constraint binds.

The dose fixes the product of current and dwell time. The largest current that dwell limits, frame rate and count rates
allow gives the shortest scan. Where the source grows with the current, the largest current whose source is fine enough
for the goal is taken, as an operator does, if the time limit leaves that long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptydesign.design import sampling
from ptydesign.planning import constraints
from ptydesign.planning.constraints import Violation
from ptydesign.planning.instrument import PER_PA_US, Bench, Setting
from ptydesign.units import MRAD


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
