"""Numbers that are possible, but improbable for their unit, and would be usual in another: each is a question.

A bound follows from physics (the probe against the detector's window, a foil against the damage of its preparation,
a detector's edge against the finest detail that was ever seen), never from what is common. What is impossible is
refused elsewhere. A number that is meant as it is, is named in the file's `meant`, and then nothing is asked.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ptydesign.errors import InputError, nearest
from ptydesign.study.acquisition import ExperimentConfig
from ptydesign.units import MRAD, NM, interaction_parameter, wavelength_a

NM_IN_A = 10.0
# Amorphous layers on both faces of a foil that was polished gently, up to 1.5 nm each at 2 kV: Mayer, Giannuzzi,
# Kamino, Michael, MRS Bull. 32:400 (2007).
DAMAGED_A = 30.0
# The finest information so far: Yang et al., Nat. Nanotechnol. 19:612 (2024).
FINEST_A = 0.14
# Integral of the potential of a hydrogen atom: 2 pi a0^2 e/(4 pi epsilon_0).
HYDROGEN_V_A3 = 25.3
OVERLAID = 2.0  # probe over window, from which every point of the window is lit by several copies of the probe
FOCUSED = 0.1  # of lambda/alpha^2: a phase of 0.3 rad at the edge of the aperture


@dataclass(frozen=True)
class Question:
    """Why a field's value is improbable, and what would be usual. meant: as it would be written in the field's unit."""

    field: str
    value: Any
    why: str
    unit: str
    meant: str

    @property
    def words(self) -> str:
        """A line that says all, and how to answer."""
        return (
            f"{self.field}: is {self.value} right? {self.why}. If it is in {self.unit}, write {self.meant}. "
            f"If it is right, write meant: [{self.field}] at the top of the file"
        )


def check_meant(meant: Collection[str], content: Mapping[str, Any]) -> None:
    """Raises InputError for a name in `meant` that is no field. content: all settings of the file."""
    for name in meant:
        section: Any = content
        for part in name.split("."):
            known = list(section) if isinstance(section, Mapping) else []
            if part not in known:
                mend = nearest(part, known) if known else "Name a field, as instrument.defocus_nm."
                raise InputError("meant", f"must name fields of the file: {part} is none", name, mend)
            section = section[part]


def asked(questions: Iterable[Question], meant: Collection[str]) -> list[str]:
    """Lines for the questions that aren't answered by `meant`."""
    return [question.words for question in questions if question.field not in meant]


def of_defocus(
    field: str, defocus_nm: float, disk_a: float, window_a: float, as_written: str = "", most: float = 1.0
) -> Iterator[Question]:
    """disk_a: diameter of the probe by its rays, 2 |defocus| alpha, at the least; window_a: of the detector, at most.
    as_written: what to write instead, where the field isn't one number. most: of the probe over the window."""
    if disk_a > most * window_a and disk_a / NM_IN_A <= window_a:
        why = (
            f"The probe is {disk_a:.0f} A wide (2 |defocus| alpha), more than the detector's window, {window_a:.0f} A "
            "(lambda over the angle of a pixel): it would wrap around"
        )
        yield Question(field, f"{defocus_nm:g} nm", why, "angstrom", as_written or f"{defocus_nm / NM_IN_A:g}")


def of_focus(field: str, defocus_nm: float, voltage_kv: float, semiangle_mrad: float) -> Iterator[Question]:
    """A defocus that makes no difference."""
    depth_nm = wavelength_a(voltage_kv) / (semiangle_mrad * MRAD) ** 2 / NM
    if 0 < abs(defocus_nm) < FOCUSED * depth_nm:
        why = f"It is as good as in focus, since lambda/alpha^2 is {depth_nm:.3g} nm"
        yield Question(field, f"{defocus_nm:g} nm", why, "um", f"{1e3 * defocus_nm:g}")


def of_thickness(sample: Any, field: str = "sample.thickness_a") -> Iterator[Question]:
    """A crystal that is cut to a thickness no foil has."""
    thickness = getattr(sample, "thickness_a", None)
    if sample.kind == "structure" and thickness is not None and thickness < DAMAGED_A:
        why = (
            f"A foil is thicker than the layers that its preparation damages, {DAMAGED_A:g} A on both faces together "
            "(Mayer et al., MRS Bull. 32:400, 2007)"
        )
        yield Question(field, f"{thickness:g} A", why, "nm", f"{NM_IN_A * thickness:g}")


def of_image(sample: Any, voltage_kv: float, resolution_a: float | None = None) -> Iterator[Question]:
    """An image whose phases a single slice can't show, or a potential that is fainter than a hydrogen atom.

    voltage_kv: the highest that is meant. resolution_a: over which an atom is spread; None: nothing is too faint."""
    if sample.kind != "image":
        return
    values = sample.read()
    low, high = float(values.min()), float(values.max())
    phase = sample.quantity == "phase_rad"
    sigma, unit = (1.0, "rad") if phase else (interaction_parameter(voltage_kv), "V A")
    given = f"{sample.quantity} from {low:.3g} to {high:.3g}"
    if sigma * (high - low) > 2 * math.pi:
        why = "An image is one slice, in which phases can only be told apart within 2 pi"
        why += "" if phase else f"; these are {sigma * (high - low):.3g} rad apart at {voltage_kv:g} kV"
        other = "mrad or degrees" if phase else "mV A"
        yield Question("sample.file", given, why, other, f"the image anew in {unit}")
    faintest = HYDROGEN_V_A3 / resolution_a**2 if resolution_a else 0.0
    if not phase and high - low < faintest:
        why = f"Its contrast is below that of a hydrogen atom spread over {resolution_a:g} A, {faintest:.2g} V A"
        yield Question("sample.file", given, why, "rad", "quantity: phase_rad")


def of_edge(field: str, value: float, unit: str, edge_mrad: float, voltage_kv: float) -> Iterator[Question]:
    """A detector that sees angles of finer details than were ever seen. value: a camera length in mm."""
    reached = wavelength_a(voltage_kv) / (edge_mrad * MRAD)
    if reached < FINEST_A:
        why = (
            f"The detector's edge is at {edge_mrad:.0f} mrad, the angle of {reached:.2f} A, and the finest information "
            f"so far was {FINEST_A:g} A (Yang et al., Nat. Nanotechnol. 19:612, 2024)"
        )
        yield Question(field, f"{value:g} {unit}", why, "cm", f"{10 * value:g}")


def of_step(field: str, step_a: float, pixel_a: float, as_written: str = "") -> Iterator[Question]:
    """Steps that are finer than what is reconstructed. step_a: the largest."""
    if step_a < pixel_a / 2:
        why = f"The scan is finer than half a pixel of the reconstruction, {pixel_a:.2g} A"
        yield Question(field, f"{step_a:g} A", why, "nm", as_written or f"{NM_IN_A * step_a:g}")


def of_experiment(config: ExperimentConfig, where: str, names: Mapping[str, Any] | None = None) -> list[Question]:
    """Questions about a design. where: the section of the file; names: what it says there, None for all."""
    disk = 2 * abs(config.defocus_nm) * NM * config.semiangle_mrad * MRAD
    found = [*of_defocus(f"{where}.defocus_nm", config.defocus_nm, disk, config.window_a, most=OVERLAID)]
    found += of_focus(f"{where}.defocus_nm", config.defocus_nm, config.voltage_kv, config.semiangle_mrad)
    found += of_step(f"{where}.step_a", config.step_a, config.pixel_a)
    return [one for one in found if names is None or one.field.rpartition(".")[2] in names]


def of_range(corners: Collection[ExperimentConfig], where: str) -> list[Question]:
    """Questions about the ends of a search's ranges, at the corners of its space: what no corner could use."""
    found: list[Question] = []
    aperture = min(c.semiangle_mrad for c in corners) * MRAD
    window = max(c.window_a for c in corners)
    low, high = min(c.defocus_nm for c in corners), max(c.defocus_nm for c in corners)
    written = f"{{low: {low / NM_IN_A:g}, high: {high / NM_IN_A:g}}}"
    for end in sorted({low, high} - {0.0}, key=abs, reverse=True)[:1]:
        found += of_defocus(f"{where}.defocus_nm", end, 2 * abs(end) * NM * aperture, window, written)
    steps = {c.step_a for c in corners}
    written = f"{{low: {NM_IN_A * min(steps):g}, high: {NM_IN_A * max(steps):g}}}"
    return [*found, *of_step(f"{where}.step_a", max(steps), min(c.pixel_a for c in corners), written)]
