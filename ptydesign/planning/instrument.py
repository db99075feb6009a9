"""What can be set on this microscope with this detector, and what a setting means.

A `Setting` is in ptydesign's units and sign (underfocus positive).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from scipy.constants import elementary_charge

from ptydesign.design import sampling
from ptydesign.planning import aberrations
from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.detectors import Detector, find_detector
from ptydesign.planning.gun import focal_spread_nm, scaled_source_a, source_rms_a
from ptydesign.planning.inelastic import Losses, density_and_thickness, losses_in
from ptydesign.simulate.window import rays_radius_a
from ptydesign.types import Optics
from ptydesign.units import MM, MRAD, NM, wavelength_a

MM_PER_UM = 1e-3
DIGITS = 6  # of what is computed of a beam and goes into trials: machines differ in the last ones
GOOD_SOURCE = 0.3  # of the resolution that is wanted: a source (rms) that hardly shows
PER_PA_US = 1e-18 / elementary_charge  # electrons in a picoampere and microsecond


@dataclass(frozen=True)
class Setting:
    """What an operator sets. defocus_nm > 0 is underfocus. camera: as in the instrument's list."""

    voltage_kv: float
    semiangle_mrad: float
    defocus_nm: float
    step_a: float
    camera: float


class Beam(NamedTuple):
    """What decides how coherent a beam is. source_size_a, focal_spread_nm: 1-D rms."""

    voltage_kv: float
    semiangle_mrad: float
    source_size_a: float
    focal_spread_nm: float


class Bench:
    """An instrument with a detector and a goal."""

    def __init__(self, plan: PlanningStudy):
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
        """Real-space window that waves have room in: lambda / dtheta of a pattern, or twice that (`probe.window`)."""
        times = 1 if self.plan.reconstruction is None else self.plan.reconstruction.probe.window
        return times * wavelength_a(setting.voltage_kv) / (self.pixel_mrad(setting.camera) * MRAD)

    @cached_property
    def _aberrations(self) -> dict[str, float]:
        return aberrations.keywords(self.instrument.aberrations)

    def aberrations_of(self, setting: Setting) -> dict[str, float]:
        """Keywords of `waves.aberration_phase`: defocus, spherical aberration, and all else that is known."""
        return {
            "defocus_a": setting.defocus_nm * NM,
            "cs_a": self.instrument.cs_mm * MM,
            **self._aberrations,
        }

    def probe_radius_a(self, setting: Setting) -> float:
        """Largest transverse aberration of a ray in the aperture, |defocus a - Cs a^3| of angles a up to alpha without
        others, and the Airy disk's 0.61 lambda / alpha, added in squares."""
        alpha = setting.semiangle_mrad * MRAD
        airy = 0.61 * wavelength_a(setting.voltage_kv) / alpha
        if self._aberrations:
            rays = rays_radius_a(Optics(setting.voltage_kv, alpha, **self.aberrations_of(setting)))
        else:
            rays = sampling.geometric_radius_a(setting.defocus_nm * NM, self.instrument.cs_mm * MM, alpha)
        return math.hypot(rays, airy)

    @property
    def source_varies(self) -> bool:
        """Whether the size of the source depends on the setting."""
        return self.instrument.gun is not None or self.instrument.source_at is not None

    def source_a(self, setting: Setting, current_pa: float | None) -> float:
        """Size of the source at the specimen, 1-D rms. current_pa: None, where none is possible, is the smallest."""
        one = self.instrument
        if not self.source_varies:
            return one.source_size_a
        at = setting.voltage_kv, setting.semiangle_mrad, current_pa or min(one.currents_pa)
        scaled = one.source_at is not None
        size = (
            scaled_source_a(one.source_size_a, one.source_at, *at) if scaled else source_rms_a(one.gun.brightness, *at)
        )
        return round(size, DIGITS)

    def focal_spread_nm(self, voltage_kv: float) -> float:
        """Focal spread, 1-D rms."""
        one = self.instrument
        if not one.cc_mm:
            return one.focal_spread_nm
        return round(focal_spread_nm(one.cc_mm, one.gun.spread_ev, voltage_kv), DIGITS)

    def beam(self, setting: Setting, current_pa: float | None) -> Beam:
        """The beam of a setting as it is planned."""
        source, spread = self.source_a(setting, current_pa), self.focal_spread_nm(setting.voltage_kv)
        return Beam(setting.voltage_kv, setting.semiangle_mrad, source, spread)

    @property
    def good_source_a(self) -> float:
        """The largest source that hardly shows at the resolution that is wanted."""
        return GOOD_SOURCE * self.goal.resolution_a

    def scan_shape(self, step_a: float) -> tuple[int, int]:
        """(rows, columns) of the scan on the day."""
        rows, columns = (math.ceil(size / step_a - 1e-9) + 1 for size in self.goal.field_of_view_a)
        return rows, columns

    def shortest_dwell_us(self) -> float:
        """Of scan generator and detector together; a frame can't be shorter than its read-out."""
        frame_us = max(1e6 / self.detector.frames_per_s, self.detector.read_out_us or 0.0)
        return max(self.instrument.dwell_us.low, frame_us)

    def mtf(self, voltage_kv: float) -> float:
        """Modulation transfer at the Nyquist frequency of the pixels as they are reconstructed."""
        return self.detector.mtf_at(voltage_kv) ** (math.sin(math.pi / 2 / self.bin) ** 2)

    @cached_property
    def _specimen(self) -> tuple[float, float]:
        return density_and_thickness(self.plan.sample)

    def losses(self, voltage_kv: float) -> Losses | None:
        """Energy losses in the specimen as planned; None where they are left out."""
        return None if self.instrument.energy_filter is None else losses_in(*self._specimen, voltage_kv)

    def kept_part(self, voltage_kv: float) -> float:
        """Part of the electrons that an energy filter lets through; 1 without one."""
        return 1 - self.losses(voltage_kv).part if self.instrument.energy_filter else 1.0

    @property
    def largest_step_a(self) -> float:
        """Steps beyond half of the simulated field would not scan it."""
        return min(self.plan.simulation.field_of_view_a) / 2

    def shown(self, setting: Setting) -> dict[str, Any]:
        """A setting in the microscope's units and sign."""
        return {**asdict(setting), "defocus_nm": self.defocus_sign * setting.defocus_nm + 0.0}  # no -0
