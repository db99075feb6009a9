"""All of the dose: what the specimen gets, and which part of it is counted.

A position of the scan is exposed and then read out. The specimen gets electrons while the beam is on: in the exposure,
in a read-out or a flyback that isn't blanked, and before the scan. Only those of the exposure are counted.

    dose = pre-exposure + current (exposure + unblanked) / (e s^2),  unblanked = read-out + flyback / columns

Everything here is plain arithmetic of the plan; `goal.doses_e_per_a2` is all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ptydesign.planning.instrument import PER_PA_US, Bench, Setting

TRACE = 1e-9
ROUNDING = 1e-9  # relative
NEARLY = 0.9  # of the largest part that any possible current counts: what the current that is taken counts at least


@dataclass(frozen=True)
class Share:
    """A dose at a setting with one current, shared out.

    electrons: counted at a position. exposure_us, frame_us: of a position; a frame is exposure and read-out. part:
    counted over applied.
    """

    electrons: float
    exposure_us: float
    frame_us: float
    part: float


def scanned(bench: Bench, dose_e_per_a2: float) -> float:
    """What of a dose is left for the scan, e/A^2: a trace, at least, so that less than what was spent before is just
    impossible (a plan doesn't ask for it, but the nearest possible dose is looked for everywhere)."""
    return max(dose_e_per_a2 - bench.goal.pre_exposure_e_per_a2, TRACE * dose_e_per_a2)


def unblanked_us(bench: Bench, step_a: float) -> float:
    """Time of a position in which the beam is on and nothing is counted: read-out, and its part of a flyback."""
    read_out = 0.0 if bench.detector.blanked else bench.detector.read_out_us or 0.0
    instrument = bench.instrument
    flyback = 0.0 if instrument.beam_blanked_in_flyback else instrument.flyback_us / bench.scan_shape(step_a)[1]
    return read_out + flyback


def beam_us(bench: Bench, step_a: float) -> tuple[float, float]:
    """(shortest, longest) time of a position in which the beam is on, of scan generator and detector together."""
    more = unblanked_us(bench, step_a) - (bench.detector.read_out_us or 0.0)
    return bench.shortest_dwell_us() + more, bench.instrument.dwell_us.high + more


def share(bench: Bench, setting: Setting, dose_e_per_a2: float, current_pa: float) -> Share:
    """How a dose is shared out with a current; an exposure below 0 means that it can't be."""
    step, on_scan = setting.step_a, scanned(bench, dose_e_per_a2)
    applied, unblanked = on_scan * step**2, unblanked_us(bench, step)
    exposure = applied / PER_PA_US / current_pa - unblanked
    electrons = applied - PER_PA_US * current_pa * unblanked
    part = electrons / applied * (on_scan / dose_e_per_a2)
    return Share(electrons, exposure, exposure + (bench.detector.read_out_us or 0.0), part)


def timed_currents(bench: Bench, electrons: float, step_a: float) -> list[float]:
    """Currents in pA, the largest first, for which so many applied electrons take a time that can be done."""
    charge = electrons / PER_PA_US
    (shortest, longest), lost = beam_us(bench, step_a), unblanked_us(bench, step_a)
    ranked = sorted(bench.instrument.currents_pa, reverse=True)
    return [
        i for i in ranked if shortest * (1 - ROUNDING) <= charge / i <= longest * (1 + ROUNDING) and charge / i > lost
    ]


def dose_rate(bench: Bench, setting: Setting, current_pa: float) -> float:
    """e/A^2/s in the probe: current / (e pi R^2)."""
    return PER_PA_US * 1e6 * current_pa / (math.pi * bench.probe_radius_a(setting) ** 2)


def rate_is_allowed(rate: float, limit: float) -> bool:
    """Whether a dose rate is within a limit; what differs in the last digits is at it."""
    return rate <= limit * (1 + ROUNDING)


def slowest_rate(bench: Bench, setting: Setting, dose_e_per_a2: float) -> float | None:
    """The smallest dose rate of a setting that gives a dose, of the currents whose dwell time can be done; None if none
    can."""
    timed = timed_currents(bench, scanned(bench, dose_e_per_a2) * setting.step_a**2, setting.step_a)
    return dose_rate(bench, setting, timed[-1]) if timed else None


def preferred(shares: Sequence[tuple[float, Share]]) -> float | None:
    """The largest current that counts nearly as much of the dose as any; the largest where nothing is lost.

    shares: (current, share) of the possible currents, the largest first.
    """
    best = max((one.part for _, one in shares), default=0.0)
    return next((current for current, one in shares if one.part >= NEARLY * best), None)
