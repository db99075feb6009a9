"""What can be set on this microscope with this detector, what a setting means, and which constraint binds.

A `Setting` is in ptydesign's units and sign (underfocus positive). `Bench.operate` finds current and dwell time for it:
the dose fixes their product; the largest current that dwell limits, frame rate and count rates allow gives the shortest
scan.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ptydesign.design import sampling
from ptydesign.planning import constraints
from ptydesign.planning.config import PlanConfig
from ptydesign.planning.constraints import PER_PA_US, Violation
from ptydesign.planning.detectors import Detector, find_detector
from ptydesign.units import MM, MRAD, NM, wavelength_a

MM_PER_UM = 1e-3
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

    def length_mm(self, pixel_mrad: float) -> float:
        """The camera length that gives an unbinned pixel this angle."""
        return self.detector.pixel_um * MM_PER_UM / (pixel_mrad * MRAD)

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
        """Largest |defocus a - Cs a^3| of all angles a up to alpha, and the Airy disk's 0.61 lambda / alpha, added in
        squares."""
        alpha = setting.semiangle_mrad * MRAD
        airy = 0.61 * wavelength_a(setting.voltage_kv) / alpha
        rays = sampling.geometric_radius_a(setting.defocus_nm * NM, self.instrument.cs_mm * MM, alpha)
        return math.hypot(rays, airy)

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
        found = [*constraints.optics(self, setting), *constraints.counts(self, setting, counts)]
        shape = self.scan_shape(setting.step_a)
        current = self._current(electrons, counts)
        dwell = time_s = rate = None
        if current is None:
            found.append(constraints.no_current(self, setting, electrons, counts))
        else:
            dwell = electrons / PER_PA_US / current
            time_s = sampling.scan_time_s(shape[0] * shape[1], 1e6 / dwell, shape[0], self.instrument.flyback_us * 1e-6)
            rate = counts / (dwell * 1e-6)
            found += constraints.time(self, setting, time_s, shape)
        found += constraints.simulated(self, setting, electrons)
        size = shape[0] * shape[1] * self.detector.bytes_per_pattern(electrons) / 1e9
        return Operation(
            setting, dose_e_per_a2, electrons, current, dwell, shape, time_s, counts, rate, size, tuple(found)
        )

    def timed_currents(self, electrons: float) -> list[float]:
        """Currents in pA, the largest first, for which so many electrons take a dwell time that can be done."""
        charge = electrons / PER_PA_US
        shortest, longest = self.shortest_dwell_us(), self.instrument.dwell_us.high
        ranked = sorted(self.instrument.currents_pa, reverse=True)
        return [i for i in ranked if shortest * (1 - 1e-9) <= charge / i <= longest * (1 + 1e-9)]

    def _current(self, electrons: float, counts: float) -> float | None:
        """The largest current in pA that dwell times, frame rate and count rates allow."""
        per_pixel = self.detector.rate_per_px_s or math.inf
        per_s = self.detector.hits_per_s or math.inf
        for current in self.timed_currents(electrons):
            dwell_s = electrons / PER_PA_US / current * 1e-6
            if counts / dwell_s <= per_pixel and electrons / dwell_s <= per_s:
                return current
        return None

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
        return {**asdict(setting), "defocus_nm": self.defocus_sign * setting.defocus_nm + 0.0}  # no -0

    def line_time_s(self, operation: Operation) -> float:
        """Time of one line of the scan on the day, flyback included."""
        return (operation.shape[1] * operation.dwell_us + self.instrument.flyback_us) * 1e-6
