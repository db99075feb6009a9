"""Aberrations beyond defocus and C3: what is known of them, what alignment leaves, and what that does to a probe.

Names are Haider's (A1, B2, A2, S3, A3, C5) or Krivanek's (C12, C21, C23, C32, C34, C50); inside they are Krivanek's,
C21 = 3 B2 and C32 = 4 S3, the others the same (Haider, Uhlemann, Zach, Ultramicroscopy 81:163, 2000; the list of Dr.
Probe's manual). The wave is turned by 2 pi/lambda C_nm alpha^(n+1)/(n+1) cos m(phi - phi_nm).
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.units import MM, MRAD, NM, UM, wavelength_a

LARGEST_RESIDUAL = 4.5  # standard deviations; draws beyond, 4 in 100,000, are cut off there, and specimens hold them
Parts = Mapping[str, tuple[float, float]]  # Krivanek's name -> components of C exp(i m phi), in the unit of its kind
QUARTER_WAVE = math.pi / 4
HAIDER = "limit of pi/4: Haider, Uhlemann, Zach, Ultramicroscopy 81:163 (2000)"


@dataclass(frozen=True)
class Kind:
    """C_nm. haider: its name there, of which C_nm is `factor` times as much. field: in `ExperimentConfig`, without its
    unit, which is `unit` (in angstrom)."""

    krivanek: str
    haider: str
    factor: int
    field: str
    unit_name: str
    words: str

    @property
    def order(self) -> int:
        """n of C_nm."""
        return int(self.krivanek[1])

    @property
    def fold(self) -> int:
        """m of C_nm; 0 for a round one."""
        return int(self.krivanek[2])

    @property
    def unit_a(self) -> float:
        """Its unit in angstrom."""
        return {"nm": NM, "um": UM, "mm": MM}[self.unit_name]

    def blur_a(self, coefficient: float, semiangle_mrad: float) -> float:
        """C alpha^n: the largest transverse aberration at the edge of the aperture. coefficient: in its unit."""
        return coefficient * self.unit_a * (semiangle_mrad * MRAD) ** self.order

    def phase_rad(self, coefficient: float, voltage_kv: float, semiangle_mrad: float) -> float:
        """2 pi/lambda C alpha^(n+1)/(n+1): the largest phase at the edge of the aperture. coefficient: in its unit."""
        alpha = semiangle_mrad * MRAD
        path = coefficient * self.unit_a * alpha ** (self.order + 1) / (self.order + 1)
        return 2 * math.pi / wavelength_a(voltage_kv) * path


KINDS = (
    Kind("C12", "A1", 1, "astigmatism", "nm", "twofold astigmatism"),
    Kind("C21", "B2", 3, "coma", "um", "axial coma"),
    Kind("C23", "A2", 1, "trefoil", "nm", "threefold astigmatism"),
    Kind("C32", "S3", 4, "star", "um", "star aberration"),
    Kind("C34", "A3", 1, "fourfold", "um", "fourfold astigmatism"),
    Kind("C50", "C5", 1, "c5", "mm", "spherical aberration of fifth order"),
)


NAMES = {name: one for one in KINDS for name in (one.haider, one.krivanek)}
HIGHER = ("A4", "B4", "D4", "A5", "R5", "S5", "C41", "C43", "C45", "C52", "C54", "C56")
DEFOCUS = "Defocus is set, not listed here: its range is instrument.defocus_nm, its error instrument.defocus_error_nm."
ELSEWHERE = {
    **dict.fromkeys(("C3", "C30", "CS"), "Spherical aberration of third order is instrument.cs_mm, in mm."),
    **dict.fromkeys(("C1", "C10", "DEFOCUS"), DEFOCUS),
    "CC": "Chromatic aberration is instrument.cc_mm, in mm.",
    **dict.fromkeys(HIGHER, "It can't be simulated: leave it out, or ask what corrects it. Known are "
                    f"instrument.cs_mm and {', '.join(one.haider for one in KINDS)}."),
}  # fmt: skip


def place_of(key: str) -> str:
    """What to write for an aberration that stands beside `aberrations`; nothing for other keys."""
    name = re.sub("_(nm|um|mm)$", "", key.lower()).upper()
    if name not in NAMES:
        return ELSEWHERE.get(name, "")
    parts = "{nm: ..., angle_deg: ...}" if NAMES[name].fold else "{mm: ...}"
    return f"Write it as instrument.aberrations: {{{name}: {parts}}} ({NAMES[name].words})."


class Directed(Strict):
    """An aberration with a direction, in nm, in the notation of its name."""

    nm: float = Field(0.0, ge=0, le=1e6)
    """Its known amount in nm, which every simulation has and the reconstruction is told."""
    angle_deg: float = 0.0
    """Its direction in degrees, from +x towards +y on the detector."""
    residual_nm: float = Field(0.0, ge=0, le=1e6)
    """What alignment leaves unknown, in nm: one standard deviation of each of its two components, so that its direction
    is random and its rms amount 1.4 times as much; draws of errors have it."""


class Round(Strict):
    """An aberration without a direction, in mm."""

    mm: float = Field(0.0, ge=-1e3, le=1e3)
    """Its known amount in mm, which every simulation has and the reconstruction is told."""
    residual_mm: float = Field(0.0, ge=0, le=1e3)
    """What alignment leaves unknown, in mm, one standard deviation; draws of errors have it."""


class Aberrations(Strict):
    """Aberrations of the probe-forming lenses beyond defocus and `cs_mm`, each by Haider's or by Krivanek's name."""

    A1: Directed | None = None
    """Twofold astigmatism; C12 is the same."""
    B2: Directed | None = None
    """Axial coma in Haider's notation; C21 is three times as much."""
    A2: Directed | None = None
    """Threefold astigmatism; C23 is the same."""
    S3: Directed | None = None
    """Star aberration in Haider's notation; C32 is four times as much."""
    A3: Directed | None = None
    """Fourfold astigmatism; C34 is the same."""
    C5: Round | None = None
    """Spherical aberration of fifth order; C50 is the same."""
    C12: Directed | None = None
    """Twofold astigmatism, as A1."""
    C21: Directed | None = None
    """Axial coma in Krivanek's notation, three times B2."""
    C23: Directed | None = None
    """Threefold astigmatism, as A2."""
    C32: Directed | None = None
    """Star aberration in Krivanek's notation, four times S3."""
    C34: Directed | None = None
    """Fourfold astigmatism, as A3."""
    C50: Round | None = None
    """Spherical aberration of fifth order, as C5."""

    @classmethod
    def instead_of(cls, key: str, value: Any) -> str:
        """Where an aberration belongs that is none of these."""
        return ELSEWHERE.get(key.upper(), "")

    @model_validator(mode="after")
    def _once(self) -> Aberrations:
        for kind in KINDS:
            if getattr(self, kind.haider) is not None and getattr(self, kind.krivanek) is not None:
                rule = f"is the same aberration as {kind.haider}, in Krivanek's notation"
                raise InputError(kind.krivanek, rule, "both", "Keep one of them.")
        return self

    def of(self, kind: Kind) -> tuple[complex, float]:
        """(known, residual) of an aberration in Krivanek's notation and in its unit: the known as C exp(i m phi), the
        residual as the standard deviation of each component."""
        given = getattr(self, kind.krivanek) or getattr(self, kind.haider)
        if given is None:
            return 0j, 0.0
        factor = 1 if getattr(self, kind.krivanek) is not None else kind.factor
        if isinstance(given, Round):
            return complex(factor * given.mm), factor * given.residual_mm
        scale = factor * NM / kind.unit_a
        return cmath.rect(scale * given.nm, kind.fold * math.radians(given.angle_deg)), scale * given.residual_nm


def fields(aberrations: Aberrations, more: Parts | None = None) -> dict[str, float]:
    """The known aberrations as fields of `ExperimentConfig`, with those of a draw (`drawn`) added; none that is 0."""
    found: dict[str, float] = {}
    for kind in KINDS:
        value = _value(aberrations, kind, more)
        if not value:
            continue
        found[f"{kind.field}_{kind.unit_name}"] = abs(value) if kind.fold else value.real
        if kind.fold:
            found[f"{kind.field}_deg"] = math.degrees(cmath.phase(value)) / kind.fold
    return found


def _value(aberrations: Aberrations, kind: Kind, more: Parts | None) -> complex:
    """Known and drawn together."""
    return aberrations.of(kind)[0] + complex(*(more or {}).get(kind.krivanek, (0, 0)))


def keywords(aberrations: Aberrations, more: Parts | None = None) -> dict[str, float]:
    """The same as keywords of `waves.aberration_phase`, in angstrom and rad."""
    found = {}
    for kind in KINDS:
        value = _value(aberrations, kind, more)
        if value:
            found[f"{kind.field}_a"] = kind.unit_a * (abs(value) if kind.fold else value.real)
            if kind.fold:
                found[f"{kind.field}_angle_rad"] = cmath.phase(value) / kind.fold
    return found


def largest(aberrations: Aberrations) -> Parts:
    """The largest residuals that are drawn, along the known aberrations: for what a specimen must hold."""
    found = {}
    for kind in KINDS:
        value, residual = aberrations.of(kind)
        if residual:
            part = LARGEST_RESIDUAL * residual * (value / abs(value) if value else 1 + 0j)
            found[kind.krivanek] = (part.real, part.imag)
    return found


def drawn(aberrations: Aberrations, rng: np.random.Generator) -> Parts:
    """A draw of all residuals: C exp(i m phi) in the unit of each, both components normal, none of a round one."""
    found = {}
    for kind in KINDS:
        normal = complex(*rng.standard_normal(2))  # always two, so that no draw depends on what else is given
        residual = aberrations.of(kind)[1]
        if residual:
            size = min(1.0, LARGEST_RESIDUAL / abs(normal))
            part = residual * size * (normal if kind.fold else complex(normal.real))
            found[kind.krivanek] = (round(part.real, 6), round(part.imag, 6))
    return found


def rms_of(aberrations: Aberrations, kind: Kind) -> float:
    """Rms amount of what alignment leaves of an aberration, in its unit."""
    return aberrations.of(kind)[1] * (math.sqrt(2) if kind.fold else 1.0)


def residual_phases(aberrations: Aberrations, voltage_kv: float, semiangle_mrad: float) -> dict[Kind, float]:
    """Rms phase in rad, at the edge of the aperture in its worst direction, of each residual that there is."""
    found = {}
    for kind in KINDS:
        if rms := rms_of(aberrations, kind):
            found[kind] = kind.phase_rad(rms, voltage_kv, semiangle_mrad)
    return found


def shown(values: Parts) -> str:
    """A draw in words: "A1 1.2 nm at 30°, B2 40 nm at -10°"."""
    parts = []
    for kind in KINDS:
        value = complex(*values.get(kind.krivanek, (0, 0))) / kind.factor
        if value and kind.fold:
            angle = math.degrees(cmath.phase(value)) / kind.fold
            parts.append(f"{kind.haider} {abs(value) * kind.unit_a / NM:.3g} nm at {angle:.0f}°")
        elif value:
            parts.append(f"{kind.haider} {value.real:.3g} mm")
    return ", ".join(parts)
