"""What can be set on this microscope with this detector, what a setting means, and which constraint binds.

A `Setting` is in ptydesign's units and sign (underfocus positive). `Bench.operate` finds current and dwell time for it:
the dose fixes their product; the largest current that dwell limits, frame rate and count rates allow gives the shortest
scan.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from scipy.constants import elementary_charge

from ptydesign.design import sampling
from ptydesign.planning.config import PlanConfig
from ptydesign.planning.detectors import Detector, find_detector
from ptydesign.units import MRAD, NM, wavelength_a

MM_PER_UM = 1e-3
PER_PA_US = 1e-18 / elementary_charge  # electrons in a picoampere and microsecond
EXPERT_MRAD = 21.0  # common semi-angle of ptychography
EXPERT_WINDOW = 0.5  # of the window is filled by the expert's probe
EXPERT_OVERLAP = 0.8  # linear


@dataclass(frozen=True)
class Setting:
    """What an operator sets. defocus_nm > 0 is underfocus. camera: as in the instrument's list."""

    voltage_kv: float
    semiangle_mrad: float
    defocus_nm: float
    step_a: float
    camera: float


@dataclass(frozen=True)
class Violation:
    """A constraint that a setting breaks. rule, value: in words; mend: the nearest feasible choice."""

    name: str
    rule: str
    value: str
    mend: str


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


class Bench:
    """An instrument with a detector and a goal."""

    def __init__(self, plan: PlanConfig):
        self.plan, self.instrument, self.goal = plan, plan.instrument, plan.goal
        self.detector: Detector = find_detector(plan.detector.name, plan.detector.override)
        self.bin = plan.detector.bin

    @property
    def cameras(self) -> tuple[float, ...]:
        """Camera lengths in mm, or angles of a physical pixel in mrad: whichever the instrument lists."""
        return self.instrument.camera_lengths_mm or self.instrument.pixels_mrad

    @property
    def camera_unit(self) -> str:
        """Unit of `cameras`."""
        return "mm" if self.instrument.camera_lengths_mm else "mrad"

    @property
    def pixels(self) -> int:
        """Pixels (square, even) of a pattern as it is reconstructed: the detector's smaller side, binned."""
        return min(self.detector.pixels) // self.bin // 2 * 2

    @property
    def underfocus_nm(self) -> tuple[float, float]:
        """(low, high) of the defocus range in ptydesign's sign."""
        limits = self.instrument.defocus_nm
        ends = (self.defocus_sign * limits.low, self.defocus_sign * limits.high)
        return min(ends), max(ends)

    @property
    def defocus_sign(self) -> int:
        """1 if the microscope shows underfocus as positive, else -1."""
        return 1 if self.instrument.conventions.defocus_positive == "underfocus" else -1

    def physical_pixel_mrad(self, camera: float) -> float:
        """Angle of an unbinned detector pixel: pitch / camera length."""
        if self.instrument.camera_lengths_mm is None:
            return camera
        return self.detector.pixel_um * MM_PER_UM / camera / MRAD

    def pixel_mrad(self, camera: float) -> float:
        """Angle of a pixel as it is reconstructed."""
        return self.physical_pixel_mrad(camera) * self.bin

    def edge_mrad(self, camera: float) -> float:
        """Largest angle along an axis."""
        return self.pixels / 2 * self.pixel_mrad(camera)

    def pixel_a(self, setting: Setting) -> float:
        """Real-space pixel lambda / (N dtheta) of the reconstruction."""
        return wavelength_a(setting.voltage_kv) / (self.pixels * self.pixel_mrad(setting.camera) * MRAD)

    def window_a(self, setting: Setting) -> float:
        """Real-space window lambda / dtheta of a pattern."""
        return wavelength_a(setting.voltage_kv) / (self.pixel_mrad(setting.camera) * MRAD)

    def probe_radius_a(self, setting: Setting) -> float:
        """|defocus| alpha, or the Airy disk's 0.61 lambda / alpha if that is larger, added in squares."""
        alpha = setting.semiangle_mrad * MRAD
        airy = 0.61 * wavelength_a(setting.voltage_kv) / alpha
        return math.hypot(sampling.defocused_radius_a(setting.defocus_nm * NM, alpha), airy)

    def scan_shape(self, step_a: float) -> tuple[int, int]:
        """(rows, columns) of the scan on the day."""
        rows, columns = (math.ceil(size / step_a - 1e-9) + 1 for size in self.goal.field_of_view_a)
        return rows, columns

    def shortest_dwell_us(self) -> float:
        """Of scan generator and detector together."""
        return max(self.instrument.dwell_us.low, 1e6 / self.detector.frames_per_s)

    def operate(self, setting: Setting, dose_e_per_a2: float) -> Operation:
        """Current, dwell time and all that follows. Violations are listed, not raised."""
        electrons = sampling.electrons_per_pattern(dose_e_per_a2, setting.step_a)
        alpha, pixel = setting.semiangle_mrad, self.physical_pixel_mrad(setting.camera)
        counts = sampling.counts_per_bright_pixel(electrons, alpha * MRAD, pixel * MRAD)
        found = [*self.optics_violations(setting), *self._counts(setting, electrons, counts)]
        shape = self.scan_shape(setting.step_a)
        current, dwell, why = self._current(setting, electrons, counts)
        time_s = rate = None
        if current is None:
            found.append(why)
        else:
            time_s = sampling.scan_time_s(shape[0] * shape[1], 1e6 / dwell, shape[0], self.instrument.flyback_us * 1e-6)
            rate = counts / (dwell * 1e-6)
            found += self._time(setting, time_s, shape)
        size = shape[0] * shape[1] * self.detector.bytes_per_pattern(electrons, self.bin) / 1e9
        return Operation(
            setting, dose_e_per_a2, electrons, current, dwell, shape, time_s, counts, rate, size, tuple(found)
        )

    def optics_violations(self, setting: Setting) -> list[Violation]:
        """Constraints of aperture, window and detector that a setting breaks, whatever the dose."""
        found = []
        edge = self.edge_mrad(setting.camera)
        if setting.semiangle_mrad >= edge:
            fits = [a for a in self.instrument.apertures_mrad if a < edge]
            mend = f"Use {max(fits):g} mrad or less" if fits else "Use a shorter camera length"
            found.append(
                Violation(
                    "aperture",
                    f"must lie inside the detector, {edge:.1f} mrad",
                    f"{setting.semiangle_mrad:g} mrad",
                    f"{mend}.",
                )
            )
        pixel = 2 * wavelength_a(setting.voltage_kv) / self.goal.resolution_a / MRAD / self.pixels / self.bin
        needed = wavelength_a(setting.voltage_kv) / self.goal.resolution_a / MRAD
        if edge < needed * (1 - 1e-9):
            found.append(
                Violation(
                    "detector edge",
                    f"must reach lambda / resolution = {needed:.1f} mrad",
                    f"{edge:.1f} mrad",
                    f"Use a camera length that gives at least {pixel:.3g} mrad per pixel, or "
                    f"ask for a resolution of {wavelength_a(setting.voltage_kv) / (edge * MRAD):.2f} A.",
                )
            )
        probe, window = 2 * self.probe_radius_a(setting), self.window_a(setting)
        if probe > window:
            most = window / 2 / (setting.semiangle_mrad * MRAD) / NM
            found.append(
                Violation(
                    "window",
                    f"the probe must fit into the window lambda/dtheta = {window:.1f} A",
                    f"{probe:.1f} A",
                    f"Use at most {most:.0f} nm of defocus, a smaller aperture, or a longer camera length.",
                )
            )
        return found

    def _counts(self, setting: Setting, electrons: float, counts: float) -> list[Violation]:
        limit = self.detector.counts_per_frame
        if limit is None or counts <= limit:
            return []
        scans = math.ceil(counts / limit)
        step = setting.step_a * math.sqrt(limit / counts)
        return [
            Violation(
                "counts per frame",
                f"a pixel of {self.detector.name} holds {limit:g} electrons in a frame",
                f"{counts:.3g} in the bright-field disk",
                f"Share the dose out over {scans} scans, or use a step of {step:.2g} A or a longer camera length.",
            )
        ]

    def _current(self, setting: Setting, electrons: float, counts: float):
        """(current, dwell, None), or (None, None, the constraint that binds)."""
        charge = electrons / PER_PA_US
        shortest, longest = self.shortest_dwell_us(), self.instrument.dwell_us.high
        ranked = sorted(self.instrument.currents_pa, reverse=True)
        timed = [i for i in ranked if shortest * (1 - 1e-9) <= charge / i <= longest * (1 + 1e-9)]
        for current in timed:
            dwell = charge / current
            if self._rate_fits(counts / dwell * 1e6, electrons / dwell * 1e6):
                return current, dwell, None
        return None, None, self._why_no_current(setting, electrons, counts, timed)

    def _why_no_current(self, setting: Setting, electrons: float, counts: float, timed: list[float]) -> Violation:
        """The constraint that binds, with the nearest choice. timed: currents that would fit the dwell times."""
        dose, step, detector = electrons / setting.step_a**2, setting.step_a, self.detector
        charge = electrons / PER_PA_US
        shortest, longest = self.shortest_dwell_us(), self.instrument.dwell_us.high
        weakest, strongest = min(self.instrument.currents_pa), max(self.instrument.currents_pa)
        wanted = f"{electrons:.3g} electrons per pattern ({dose:g} e/A^2 x ({step:g} A)^2)"
        if timed:
            rate, hits = (n / charge * timed[-1] * 1e6 for n in (counts, electrons))
            limit, most = detector.rate_per_px_s or math.inf, detector.hits_per_s or math.inf
            slower = max(rate / limit, hits / most)
            dwell = charge / timed[-1] * slower
            return Violation(
                "count rate",
                f"{detector.name} counts at most {limit:g} electrons per pixel and second, {most:g} in all",
                f"{rate:.3g} and {hits:.3g} with the smallest current, {timed[-1]:g} pA",
                f"A current of {timed[-1] / slower:.2g} pA for {dwell:.3g} us would do, or a longer camera length.",
            )
        if weakest * shortest > charge:
            by_detector = 1e6 / detector.frames_per_s > self.instrument.dwell_us.low
            least = weakest * shortest * PER_PA_US
            which = f"a frame of {detector.name}" if by_detector else "of the scan generator"
            return Violation(
                "frame rate" if by_detector else "shortest dwell",
                f"the smallest current, {weakest:g} pA, gives {least:.3g} electrons in the shortest dwell time, "
                f"{shortest:.4g} us ({which})",
                wanted,
                f"Use a step of {math.sqrt(least / dose):.2g} A or more, a current of {charge / shortest:.2g} pA, or a "
                f"dose of {least / step**2:.3g} e/A^2.",
            )
        if strongest * longest < charge:
            most = strongest * longest * PER_PA_US
            return Violation(
                "beam current",
                f"the largest current, {strongest:g} pA, gives {most:.3g} electrons in the longest dwell time, "
                f"{longest:g} us",
                wanted,
                f"Use a dose of at most {most / step**2:.3g} e/A^2, a step of {math.sqrt(most / dose):.2g} A or less, "
                f"or a dwell time of {charge / strongest:.3g} us.",
            )
        return Violation(
            "list of currents",
            f"a current between {charge / longest:.3g} and {charge / shortest:.3g} pA is needed",
            f"{list(self.instrument.currents_pa)} pA",
            "Add one that can be set, or allow longer dwell times.",
        )

    def _rate_fits(self, per_pixel_s: float, per_s: float) -> bool:
        limits = (self.detector.rate_per_px_s or math.inf, self.detector.hits_per_s or math.inf)
        return per_pixel_s <= limits[0] and per_s <= limits[1]

    def _time(self, setting: Setting, time_s: float, shape: tuple[int, int]) -> list[Violation]:
        limit = self.goal.time_limit_s
        if limit is None or time_s <= limit:
            return []
        factor = math.sqrt(time_s / limit)
        step = setting.step_a * factor
        larger = f"a step of {step:.2g} A, or " if step <= self.instrument.step_a.high else ""
        fov = " x ".join(f"{size / factor:.0f}" for size in self.goal.field_of_view_a)
        return [
            Violation(
                "time",
                f"the scan must take at most {limit:g} s",
                f"{time_s:.3g} s for {shape[0]} x {shape[1]} positions",
                f"Use {larger}a field of {fov} A.",
            )
        ]

    def expert(self) -> Setting:
        """The rule of thumb: 21 mrad or what is next to it, a probe that fills half of the window, 80 % linear overlap,
        the camera length whose edge is just beyond twice the aperture and the resolution wanted; or what the plan says
        for it. Chosen without looking at the dose. Then moved to the nearest step that can be done at the dose limit.
        """
        given = self.plan.expert
        voltage = given.voltage_kv or self.instrument.voltages_kv[-1]
        aperture = given.semiangle_mrad or min(self.instrument.apertures_mrad, key=lambda a: abs(a - EXPERT_MRAD))
        wanted = max(2 * aperture, wavelength_a(voltage) / self.goal.resolution_a / MRAD)
        by_angle = sorted(self.cameras, key=self.edge_mrad)
        camera = given.camera or next((c for c in by_angle if self.edge_mrad(c) >= wanted), by_angle[-1])
        low, high = self.underfocus_nm
        start = Setting(voltage, aperture, 0.0, 1.0, camera)
        size = EXPERT_WINDOW * self.window_a(start) / 2 / (aperture * MRAD) / NM
        defocus = max(low, -size) if -low >= high else min(high, size)  # overfocus where both are possible
        if given.defocus_nm is not None:
            defocus = self.defocus_sign * given.defocus_nm
        radius = self.probe_radius_a(Setting(voltage, aperture, defocus, 1.0, camera))
        steps = self.instrument.step_a
        step = given.step_a or min(max((1 - EXPERT_OVERLAP) * 2 * radius, steps.low), steps.high)
        return Setting(voltage, aperture, round(defocus, 1), float(f"{step:.3g}"), camera)

    def feasible_near(self, setting: Setting, dose_e_per_a2: float) -> Setting:
        """The setting, or the same with the nearest step that can be done at this dose; unchanged if none can."""
        if self.operate(setting, dose_e_per_a2).feasible:
            return setting
        low, high = self.instrument.step_a.low, min(self.instrument.step_a.high, self.largest_step_a)
        count = 200
        steps = [low * (high / low) ** (i / count) for i in range(count + 1)] if high > low else [low]
        for step in sorted(steps, key=lambda s: abs(math.log(s / setting.step_a))):
            moved = Setting(**{**asdict(setting), "step_a": float(f"{step:.3g}")})
            if low <= moved.step_a <= high and self.operate(moved, dose_e_per_a2).feasible:
                return moved
        return setting

    @property
    def largest_step_a(self) -> float:
        """Steps beyond half of the simulated field would not scan it."""
        return min(self.plan.simulation.field_of_view_a) / 2

    def shown(self, setting: Setting) -> dict[str, Any]:
        """A setting in the microscope's units and sign."""
        return {**asdict(setting), "defocus_nm": self.defocus_sign * setting.defocus_nm}

    def line_time_s(self, operation: Operation) -> float:
        """Time of one line of the scan on the day, flyback included."""
        return (operation.shape[1] * operation.dwell_us + self.instrument.flyback_us) * 1e-6
