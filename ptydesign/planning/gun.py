"""The gun: how large its source is at the specimen, and how far its energies spread the focus."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, field_validator
from scipy.constants import c, electron_mass, elementary_charge

from ptydesign.config import Strict, read_yaml
from ptydesign.errors import InputError
from ptydesign.units import KV, MM, MRAD, NM

FILE = Path(__file__).parent / "guns.yaml"
FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian with a standard deviation of 1
A_PER_M, AMPERE_PER_PA = 1e10, 1e-12
REST_V = electron_mass * c**2 / elementary_charge
BRIGHTNESS = (1e4, 1e11)  # less is per cm^2, or no gun; more isn't divided by the voltage
SPREAD_EV = (0.003, 10.0)  # from a monochromator's best to more than any gun has
LEAST_TIMES, MOST_TIMES = 0.5, 1.5  # as large as it is planned: how well source and focal spread are known


class GunConfig(Strict):
    """The electron gun. What is left out is that of a typical one of its kind, from guns.yaml."""

    kind: Literal["cold-feg", "schottky", "lab6"]
    """Cold field emitter, Schottky emitter or lanthanum hexaboride."""
    reduced_brightness_a_per_m2_sr_v: PositiveFloat | None = None
    """Brightness divided by the accelerating voltage, in A/(m^2 sr V), of the whole source; null is typical of the
    kind."""
    energy_spread_ev: PositiveFloat | None = None
    """Full width at half maximum of the energies in eV, as of a zero-loss peak; null is typical of the kind."""
    source: str = ""
    """Where your numbers are from: a data sheet, a measurement."""

    @field_validator("reduced_brightness_a_per_m2_sr_v")
    @classmethod
    def _reduced(cls, value: float | None) -> float | None:
        if value is not None and not BRIGHTNESS[0] <= value <= BRIGHTNESS[1]:
            rule = f"must be in A/(m^2 sr V), {BRIGHTNESS[0]:g} to {BRIGHTNESS[1]:g}"
            mend = f"If it is in A/(cm^2 sr V), write {1e4 * value:g}."
            if value > BRIGHTNESS[1]:
                mend = f"If it is in A/(m^2 sr), divide it by the voltage at which it was measured: {value / 1e5:g} "
                mend += "at 100 kV."
            raise InputError("reduced_brightness_a_per_m2_sr_v", rule, value, mend)
        return value

    @field_validator("energy_spread_ev")
    @classmethod
    def _in_ev(cls, value: float | None) -> float | None:
        if value is not None and not SPREAD_EV[0] <= value <= SPREAD_EV[1]:
            rule = f"must be a full width at half maximum in eV, {SPREAD_EV[0]:g} to {SPREAD_EV[1]:g}"
            raise InputError("energy_spread_ev", rule, value, f"If it is in meV, write {value / 1e3:g}.")
        return value

    @property
    def brightness(self) -> float:
        """The reduced brightness in A/(m^2 sr V)."""
        return self.reduced_brightness_a_per_m2_sr_v or _typical(self.kind)["reduced_brightness_a_per_m2_sr_v"]["value"]

    @property
    def spread_ev(self) -> float:
        """Full width at half maximum of the energies."""
        return self.energy_spread_ev or _typical(self.kind)["energy_spread_ev"]["value"]

    def where(self, field: str) -> str:
        """Where a number is from."""
        if getattr(self, field) is not None:
            return self.source or "given in the plan"
        item = _typical(self.kind)[field]
        return f"typical of {self.kind}: {item['source']}" + ("" if item.get("verified", True) else " (unverified)")

    @property
    def assumed(self) -> list[str]:
        """The fields that are typical of the kind, not given."""
        return [field for field in _typical(self.kind) if getattr(self, field) is None]


class SourceAt(Strict):
    """The setting at which `source_size_a` was measured."""

    voltage_kv: float = Field(ge=10, le=1000)
    """Accelerating voltage in kV of the measurement."""
    semiangle_mrad: float = Field(ge=1, le=90)
    """Convergence semi-angle in mrad of the measurement."""
    current_pa: float = Field(ge=0.01, le=1e5)
    """Beam current in the probe in pA."""


@functools.cache
def _typical(kind: str) -> dict[str, dict[str, Any]]:
    return read_yaml(FILE)[kind]


def source_diameter_a(brightness: float, voltage_kv: float, semiangle_mrad: float, current_pa: float) -> float:
    """Diameter in angstrom of the source at the specimen that brings so much current through the aperture.

    I = B V (pi d^2 / 4) (pi alpha^2), B in A/(m^2 sr V) the practical brightness and d the diameter that holds half of
    the current (Bronsgeest et al., J. Vac. Sci. Technol. B 26:949 (2008)). V is the plain voltage, as there; the
    relativistically corrected one would make d smaller by 4 % at 80 kV and by 12 % at 300 kV.
    """
    solid = math.pi * (semiangle_mrad * MRAD) ** 2
    area = current_pa * AMPERE_PER_PA / (brightness * voltage_kv * KV * solid)
    return math.sqrt(4 * area / math.pi) * A_PER_M


def source_rms_a(brightness: float, voltage_kv: float, semiangle_mrad: float, current_pa: float) -> float:
    """The same as a 1-D standard deviation: of a Gaussian, whose diameter that holds half of the current is its full
    width at half maximum, 2.355 standard deviations. Thermionic, Schottky and cold field emitters have Gaussian
    sources (Bronsgeest et al. 2008)."""
    return source_diameter_a(brightness, voltage_kv, semiangle_mrad, current_pa) / FWHM


def scaled_source_a(size_a: float, at: SourceAt, voltage_kv: float, semiangle_mrad: float, current_pa: float) -> float:
    """A source that was measured at one setting, at another one of the same brightness."""
    current, voltage = current_pa / at.current_pa, at.voltage_kv / voltage_kv
    return size_a * math.sqrt(current * voltage) * at.semiangle_mrad / semiangle_mrad


def focal_spread_nm(cc_mm: float, energy_spread_ev: float, voltage_kv: float) -> float:
    """Standard deviation of the focus in nm: Cc (dE / eV) (1 + eV/mc^2) / (1 + eV/2mc^2), dE the standard deviation of
    the energies, their full width at half maximum `energy_spread_ev` over 2.355 (Reimer and Kohl, Transmission Electron
    Microscopy (2008), chapter 2). Fluctuations of voltage and lens current aren't in it."""
    volts = voltage_kv * KV
    relative = (1 + volts / REST_V) / (1 + volts / 2 / REST_V)
    return cc_mm * MM / NM * energy_spread_ev / FWHM / volts * relative
