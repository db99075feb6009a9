"""What a reconstructed measurement says of the instrument: the setting that was used, its dose, and how wrong it was.

A plan with it answers what to change next time: its own setting is compared with, its errors are in every draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from ptydesign import diagnostics, waves
from ptydesign.config import merge
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.operation import operate
from ptydesign.simulate.coherence import beam_phases_rad, largest_source_a, mode_powers
from ptydesign.types import Dataset, Reconstruction
from ptydesign.units import MM, MRAD, NM, wavelength_a

SAME = {"voltages_kv": 0.005, "apertures_mrad": 0.03, "cameras": 0.03}  # relative: how near an entry of a list must be
DIGITS = 3
REFINED_A = 1e-4  # positions that moved by less weren't refined
LOOKED_NM, PLACES = 10.0, 201  # how far on each side a defocus is looked for, at least, and at how many places first
SUFFIX = "_next"


class Taken(NamedTuple):
    """A value of the plan that is replaced. field: with dots. value: None leaves it. why: where it is from."""

    field: str
    value: Any
    why: str


@dataclass(frozen=True)
class ScanErrors:
    """How refined positions differ from the nominal ones. rotation_deg, scale, aspect, shear: as in `Scan`; line_a,
    jitter_a: 1-D rms of what whole lines and single positions have beyond that."""

    rotation_deg: float
    scale: float
    aspect: float
    shear: float
    line_a: float
    jitter_a: float


def lines_of(taken: list[Taken]) -> list[str]:
    """What was taken and what wasn't, each with why."""
    return [f"{one.field}: {'left as it is' if one.value is None else one.value} ({one.why})" for one in taken]


def next_plan(content: Mapping[str, Any], taken: list[Taken]) -> dict[str, Any]:
    """A plan's content with what was measured in it."""
    found = dict(content)
    for one in taken:
        if one.value is not None:
            value: Any = one.value
            for name in reversed(one.field.split(".")):
                value = {name: value}
            found = merge(found, value)
    return {**found, "title": f"{content.get('title', 'plan')}, next time"}


def next_path(path: Path) -> Path:
    """Where the plan for the next time goes. Raises InputError if there is one."""
    found = path.with_name(f"{path.stem}{SUFFIX}.yaml")
    if found.exists():
        raise InputError("--from", "writes a file that must not exist yet", str(found), "Move it away, or rename it.")
    return found


def measured(bench: Bench, dataset: Dataset, result: Reconstruction) -> list[Taken]:
    """What a dataset and its reconstruction say. Raises InputError for a setting that the plan's instrument hasn't."""
    if dataset.optics is None:
        raise InputError("--from", "needs data whose optics are known", "none", "Import them with a calibration.")
    setting = setting_of(bench, dataset)
    return [*_expert(bench, setting), _dose(bench, setting, dataset), *_scan(dataset, result),
            _defocus(bench, setting, dataset, result), _source(bench, setting, result)]  # fmt: skip


def setting_of(bench: Bench, dataset: Dataset) -> Setting:
    """The setting of the data, with voltage, aperture and camera as the instrument lists them. Raises InputError."""
    instrument, optics = bench.instrument, dataset.optics
    voltage = _listed("voltages_kv", instrument.voltages_kv, dataset.voltage_kv)
    aperture = _listed("apertures_mrad", instrument.apertures_mrad, optics.semiangle_rad / MRAD)
    angles = np.asarray(dataset.grid.frequencies()[1]).ravel()
    pixel = float(abs(angles[1])) * wavelength_a(dataset.voltage_kv) / MRAD

    def off(camera: float) -> float:
        """How far the pixel is from a multiple of the camera's: data may be binned otherwise than planned."""
        ratio = pixel / bench.physical_pixel_mrad(camera)
        return abs(ratio / max(1, round(ratio)) - 1)

    camera = min(bench.cameras, key=off)
    if off(camera) > SAME["cameras"]:
        name = "camera_lengths_mm" if instrument.camera_lengths_mm else "pixels_mrad"
        rule = f"must have the camera of the data, whose pixels are {pixel:.4g} mrad"
        raise InputError(f"instrument.{name}", rule, list(bench.cameras), "Add it, or correct the data's calibration.")
    step = float(f"{diagnostics.step_a(dataset.positions_a):.4g}")
    return Setting(voltage, aperture, round(optics.defocus_a / NM, 2), step, camera)


def _listed(name: str, values: tuple[float, ...], given: float) -> float:
    nearest = min(values, key=lambda value: abs(value - given))
    if abs(nearest / given - 1) > SAME[name]:
        mend = f"Add {given:.4g}, or correct the data's calibration."
        raise InputError(f"instrument.{name}", "must have the value of the data", f"{given:.4g}, not {nearest:g}", mend)
    return nearest


def _expert(bench: Bench, setting: Setting) -> Iterator[Taken]:
    """The setting that was used, to compare with."""
    shown, instrument = bench.shown(setting), bench.instrument
    for name in ("voltage_kv", "semiangle_mrad", "camera"):
        yield Taken(f"expert.{name}", shown[name], "as the data have it")
    for name, limits in (("defocus_nm", instrument.defocus_nm), ("step_a", instrument.step_a)):
        inside = limits.low <= shown[name] <= limits.high
        why = "as the data have it" if inside else f"{shown[name]:g} of the data isn't in the instrument's range"
        yield Taken(f"expert.{name}", shown[name] if inside else None, why)


def _dose(bench: Bench, setting: Setting, dataset: Dataset) -> Taken:
    """All of the dose of which the detector saw what is in the patterns."""
    counts = dataset.electrons_per_pattern
    if counts is None:
        counts = float(np.mean(np.sum(dataset.patterns * dataset.mask, axis=(1, 2), dtype=np.float64)))
    electrons = counts / (bench.detector.dqe or 1.0) / bench.kept_part(setting.voltage_kv)
    counted = electrons / setting.step_a**2
    dose = counted + bench.goal.pre_exposure_e_per_a2
    for _ in range(20):  # the part that is counted depends on the dose itself
        dose = counted / operate(bench, setting, dose).counted_part
    words = f"{counts:.4g} electrons in a pattern, {counted:.4g} e/A^2 of them counted"
    doses = {float(f"{dose:.{DIGITS}g}"), *(bench.goal.doses_e_per_a2 if bench.goal.minimise else ())}
    return Taken("goal.doses_e_per_a2", sorted(doses), words)


def scan_errors(nominal_a: np.ndarray, refined_a: np.ndarray) -> ScanErrors:
    """nominal_a, refined_a: (position, 2) y, x in the order of the scan."""
    centred = nominal_a - nominal_a.mean(axis=0)
    moved = refined_a - refined_a.mean(axis=0)
    matrix, *_ = np.linalg.lstsq(centred, moved, rcond=None)  # row vectors times this
    (yy, yx), (xy, xx) = matrix
    angle, size = math.atan2(xy, xx), math.hypot(xy, xx)
    cos, sin = math.cos(angle) / size, math.sin(angle) / size
    rest = moved - centred @ matrix
    steps = np.diff(nominal_a, axis=0)
    usual = np.median(steps, axis=0)
    breaks = np.linalg.norm(steps - usual, axis=1) > 0.5 * np.linalg.norm(usual)
    line = np.concatenate([[0], np.cumsum(breaks)])
    count = np.bincount(line)
    means = np.stack([np.bincount(line, rest[:, axis]) / count for axis in (0, 1)], axis=1)
    free = max(len(rest) - len(count), 1)
    jitter = float(np.sum((rest - means[line]) ** 2) / (2 * free))
    lines = float(np.mean(means**2)) - jitter / float(np.mean(count))
    return ScanErrors(
        math.degrees(angle), size - 1, float(yy * cos - yx * sin - 1), float(yy * sin + yx * cos),
        math.sqrt(max(lines, 0.0)), math.sqrt(jitter),
    )  # fmt: skip


def _scan(dataset: Dataset, result: Reconstruction) -> Iterator[Taken]:
    """Errors of the scan; drift looks like a part of them."""
    nominal, refined = result.nominal_positions_a, result.state.positions_a
    if len(nominal) != len(refined) or np.abs(refined - nominal).max() < REFINED_A:
        yield Taken(
            "instrument.position_jitter_a", None, "positions were not refined: the plan's errors of the scan stay"
        )
        return
    found = scan_errors(nominal, refined)
    affine = math.sqrt(np.mean(np.square([found.scale, found.aspect, found.shear])))
    for name, value, why in (
        ("rotation_error_deg", abs(found.rotation_deg), "turn of the refined positions"),
        ("affine_error", affine, f"scale {found.scale:+.2%}, aspect {found.aspect:+.2%}, shear {found.shear:+.2%}"),
        ("line_noise_a", found.line_a, "lines of the refined positions"),
        ("position_jitter_a", found.jitter_a, "single refined positions"),
    ):
        yield Taken(f"instrument.{name}", float(f"{value:.{DIGITS}g}"), why)


def found_defocus_nm(probe: np.ndarray, grid: Grid, voltage_kv: float, near_nm: float, reach_nm: float) -> float:
    """The defocus, underfocus positive, within `reach_nm` of `near_nm`, without which a probe (y, x) is sharpest."""
    wavelength, spectrum = wavelength_a(voltage_kv), np.fft.fft2(probe)
    one = waves.aberration_phase(grid, wavelength, defocus_a=1.0)

    def blur(defocus_nm: float) -> float:
        return -float(np.max(np.abs(np.fft.ifft2(spectrum * np.exp(1j * one * defocus_nm * NM)))))

    places = np.linspace(near_nm - reach_nm, near_nm + reach_nm, PLACES)
    best = places[int(np.argmin([blur(place) for place in places]))]
    width = places[1] - places[0]
    return float(minimize_scalar(blur, bounds=(best - width, best + width), method="bounded").x)


def _defocus(bench: Bench, setting: Setting, dataset: Dataset, result: Reconstruction) -> Taken:
    """How wrong the defocus was, by the reconstructed probe."""
    instrument, field = bench.instrument, "instrument.defocus_error_nm"
    if instrument.cs_mm * MM * (setting.semiangle_mrad * MRAD) ** 4 / 4 > wavelength_a(setting.voltage_kv) / 8:
        return Taken(field, None, "with this cs_mm the probe doesn't tell it")
    probe = np.asarray(result.state.probe)[0]
    grid = Grid(probe.shape, tuple(float(v) for v in np.asarray(result.state.pixel_a)))
    reach = max(LOOKED_NM, 5 * instrument.defocus_error_nm, abs(setting.defocus_nm) / 2)
    found = found_defocus_nm(probe, grid, setting.voltage_kv, setting.defocus_nm, reach)
    error = max(abs(found - setting.defocus_nm), 0.1)
    why = f"the probe has {found:.1f} nm of underfocus, {setting.defocus_nm:.1f} nm were told"
    return Taken(field, float(f"{error:.{DIGITS}g}"), why)


def source_of(power: float, modes: int, voltage_kv: float, semiangle_mrad: float, spread_nm: float) -> float:
    """The source (rms, angstrom) whose first coherent mode has a part `power` of the electrons in the first `modes`."""
    alpha = semiangle_mrad * MRAD

    def first(source_a: float) -> float:
        powers = mode_powers(*beam_phases_rad(voltage_kv, alpha, source_a, spread_nm * NM))[:modes]
        return float(powers[0] / powers.sum()) - power

    most = largest_source_a(voltage_kv, alpha)
    if first(0.0) <= 0:
        return 0.0
    return most if first(most) >= 0 else float(brentq(first, 0.0, most, xtol=1e-4))


def _source(bench: Bench, setting: Setting, result: Reconstruction) -> Taken:
    """The source, by how many electrons the probe's first mode has."""
    field, probe = "instrument.source_size_a", np.asarray(result.state.probe)
    if len(probe) < 2:
        return Taken(field, None, "one probe mode was reconstructed: the plan's source stays")
    powers = np.sum(np.abs(probe) ** 2, axis=(1, 2))
    part = float(powers.max() / powers.sum())
    spread = bench.focal_spread_nm(setting.voltage_kv)
    size = source_of(part, len(probe), setting.voltage_kv, setting.semiangle_mrad, spread)
    why = f"{100 * part:.0f} % of the electrons are in the first of {len(probe)} probe modes"
    if bench.source_varies:
        return Taken(field, None, f"{why}, as of {size:.2g} A rms: compare it with what the gun gives")
    return Taken(field, float(f"{size:.{DIGITS}g}"), why)
