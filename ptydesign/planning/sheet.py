"""The settings sheet: what to set and to expect, and on its back what to check first, as PDF and HTML, in the
microscope's units and sign, with machine-readable copies beside it (settings.json, calibration.yaml for `ptydesign
import`, reconstruction.yaml for the day)."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ptydesign import io
from ptydesign.planning.cautions import cautions, higher_values
from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.first_minutes import first_minutes
from ptydesign.planning.gun import FWHM
from ptydesign.planning.instrument import Bench
from ptydesign.planning.least_dose import least_dose_words
from ptydesign.planning.resolution import reached_resolution_a
from ptydesign.planning.tables import PlanningTables
from ptydesign.planning.tolerance import OPEN, RANGE, SCORE
from ptydesign.score.spread import period_a, rms_rad
from ptydesign.study.page import environment

RATE_DRAWS = 30  # with fewer, a rate of failures says too little
HELPS = 0.5  # the part of its error that a design keeps at the floor's dose, up to which more dose helps

CALIBRATION_HEADER = """# for `ptydesign import --calibration`, in ptydesign's signs, not those of the display:
# defocus_nm > 0 is underfocus, rotation_deg > 0 turns from +x towards +y
"""

CHECKLIST = (
    "beam current, measured (Faraday cup or calibrated detector), before and after",
    "a pattern without specimen at the same aperture and camera length: angle of the aperture, centre, probe",
    "angle of a detector pixel, from a crystal of known spacing; transposed or flipped axes of the detector",
    "scan step and rotation, from a lattice image at this magnification; dwell time and flyback",
    "defocus as displayed, and which way it was changed from focus; astigmatism and coma of the last alignment",
    "thickness and tilt of the specimen, if known; waiting time after the stage moved",
    "bad pixels, dark reference, counts per electron of the detector; scan shape as stored",
    "if the specimen stands twice this dose: a second scan of the same place, for a ring correlation and to see damage",
)


def write_sheet(tables: PlanningTables) -> list[Path]:
    """Write sheet.html, sheet.pdf, settings.json, calibration.yaml and reconstruction.yaml; returns the paths of
    the first three: a user may change the others."""
    from ptydesign.planning.figures import FIGURES
    from ptydesign.planning.sheet_pdf import write_pdf

    folder, content = tables.folder, sheet_content(tables)
    shown = [one for one in FIGURES if one.name in ("prediction", "probe", "patterns") and not one.skip(tables)]
    pictures = {one.name: {"png": _picture(tables, one.name), "caption": one.caption(tables)} for one in shown}
    template = environment(Path(__file__).parent).get_template("sheet.html.j2")
    io.write_text(folder / "sheet.html", template.render(**content, pictures=pictures))
    write_pdf(folder / "sheet.pdf", content, tables)
    io.write_json(folder / "settings.json", {**content, "recommendation": tables.recommendation})
    calibration = yaml.safe_dump(content["calibration"], sort_keys=False)
    io.write_text(folder / "calibration.yaml", CALIBRATION_HEADER + calibration)
    day = yaml.safe_dump(tables.recommendation["reconstruction"], sort_keys=False)
    io.write_text(folder / "reconstruction.yaml", "# for `ptydesign reconstruct data.h5 reconstruction.yaml`\n" + day)
    return [folder / name for name in ("sheet.html", "sheet.pdf", "settings.json")]


def plan_of(tables: PlanningTables) -> PlanningStudy:
    """The plan that the tables belong to."""
    return PlanningStudy.model_validate(tables.study)


def sheet_content(tables: PlanningTables) -> dict[str, Any]:
    """All that the sheet shows, JSON-able."""
    plan = plan_of(tables)
    item, bench = tables.recommended, Bench(plan)
    return {
        "title": plan.title,
        "instrument": plan.instrument.name,
        "detector": bench.detector.name + (f", binned {bench.bin}" if bench.bin > 1 else ""),
        "settings": settings(tables, bench),
        "expected": [*expected(tables), *_higher(tables), *(("Caution", words) for words in cautions(tables, plan))],
        "first_minutes": [check._asdict() for check in first_minutes(tables, bench)],
        "checklist": list(CHECKLIST),
        "calibration": _calibration(item, plan),
        "commands": [
            "ptydesign import SCAN -o data.h5 --calibration calibration.yaml",
            "ptydesign reconstruct data.h5 reconstruction.yaml -o out.h5",
        ],
        "study": plan.study,
        "seed": plan.seed,
        "hash": tables.made["hash"],
        "version": tables.made["ptydesign"],
    }


def settings(tables: PlanningTables, bench: Bench) -> list[dict[str, str]]:
    """name, value, tolerance (keeps 95 % of the score while the others stay), note."""
    item, setting = tables.recommended, tables.recommended["setting"]
    tolerance, (rows, columns) = tables.recommendation["tolerance"], item["scan_shape"]
    fov, unit, conventions = item["field_of_view_a"], item["camera_unit"], bench.instrument.conventions

    def row(name: str, value: str, note: str = "", parameter: str = "", unit: str = "") -> dict[str, str]:
        return {
            "name": name,
            "value": value,
            "tolerance": _tolerance(tolerance, setting, parameter, unit),
            "note": note,
        }

    display = f"{setting['defocus_nm']:+.1f} nm on the display"
    electrons = f"{item['electrons_per_pattern']:,.0f} electrons per pattern"
    binned, camera = bench.bin > 1, "Camera length" if unit == "mm" else "Detector pixel"
    pixel = f"{item['pixel_mrad']:.3g} mrad per pixel" + (f", binned by {bench.bin}" if binned else "")
    if unit == "mrad" and not binned:
        pixel = "angle of a detector pixel"
    return [
        row("Voltage", f"{setting['voltage_kv']:g} kV"),
        row("Aperture (semi-angle)", f"{setting['semiangle_mrad']:g} mrad", "", "semiangle_mrad", "mrad"),
        row("Defocus", display, defocus_words(item, bench), "defocus_nm", "nm"),
        row("Scan step", f"{setting['step_a']:.3g} Å", "", "step_a", "Å"),
        row("Scan", f"{columns} × {rows} positions (x × y)", f"{fov[1] / 10:g} × {fov[0] / 10:g} nm"),
        row("Dwell time", f"{item['dwell_us']:.4g} µs", _dwell_words(item)),
        row("Beam current", f"{item['current_pa']:g} pA", electrons),
        *([row("Source size", *source_words(item, bench))] if item.get("source_size_a") else []),
        row(camera, f"{setting['camera']:g} {unit}", pixel, "camera", unit),
        row(
            "Scan rotation",
            f"{conventions.scan_rotation_deg:g}° on the display",
            f"+ is {conventions.rotation_positive}",
        ),
        row("Dose", f"{item['dose_e_per_a2']:g} e/Å²", dose_words(item)),
        row("Time", f"{item['scan_time_s']:.3g} s", f"{item['file_gb']:.2g} GB"),
    ]


def dose_words(item: dict[str, Any]) -> str:
    """What of the dose is counted; tables of older plans don't say, and then all of it is."""
    part, before = item.get("counted_part", 1.0), item.get("pre_exposure_e_per_a2", 0.0)
    if part > 1 - 1e-9:
        return "current × dwell / step²"
    counted = f"all that the specimen gets; {part * item['dose_e_per_a2']:.4g} of it ({100 * part:.0f} %) are counted"
    return counted + (f", {before:g} are before the scan" if before else "")


def _dwell_words(item: dict[str, Any]) -> str:
    exposure = item.get("exposure_us") or item["dwell_us"]
    frames, read_out = f"{1e6 / item['dwell_us']:.4g} frames/s", item["dwell_us"] - exposure
    return frames if read_out < 1e-6 else f"{frames}: {exposure:.4g} µs exposure, {read_out:.4g} µs read-out"


def source_words(item: dict[str, Any], bench: Bench) -> tuple[str, str]:
    """The source at the specimen, and what it follows from."""
    size, one = item["source_size_a"], bench.instrument
    spread = f"; focal spread {item['focal_spread_nm']:.2g} nm" if item.get("focal_spread_nm") else ""
    note = "as the plan says"
    if bench.source_varies:
        note = "measured, scaled to this current" if one.source_at else f"{one.gun.kind} at this current"
    return f"{size:.2g} Å rms, {FWHM * size:.2g} Å FWHM", note + spread


def defocus_words(item: dict[str, Any], bench: Bench) -> str:
    """The sign of the defocus spelled out."""
    under = item["underfocus_nm"]
    positive = bench.instrument.conventions.defocus_positive
    if abs(under) < 0.05:
        return "in focus on the entrance face"
    side = "underfocus: weaken the lens, crossover below the specimen" if under > 0 else (
        "overfocus: strengthen the lens, crossover above the specimen"
    )  # fmt: skip
    return f"{abs(under):.1f} nm {side} (display: + is {positive})"


def _tolerance(found: dict[str, Any], setting: dict[str, Any], name: str, unit: str) -> str:
    """As "42 ± 12 nm"; "or more", "or less" where the last value that was tried still keeps the score; in brackets what
    ends it, if that isn't a loss of score; empty if unknown."""
    if name not in found:
        return ""
    (low, high), value = found[name]["range"], setting[name]
    more = [reason == OPEN for reason in found[name]["ended_by"]]
    less, beyond = (" or less" if more[0] else ""), (" or more" if more[1] else "")
    why = _ends(found[name])
    if name in ("semiangle_mrad", "camera"):
        return (f"{low:g}{less} to {high:g} {unit}{beyond}" if high > low else "this one") + why
    down, up = value - low, high - value
    if max(down, up) < 1e-9:
        return "tight" + why
    if abs(down - up) <= 0.25 * max(down, up) and more[0] == more[1]:
        return f"{value:.3g} ± {min(down, up):.2g} {unit}" + (" or more" if all(more) else "") + why
    return f"{low:.3g}{less} to {high:.3g} {unit}{beyond}" + why


def _ends(found: dict[str, Any]) -> str:
    """What ends a tolerance, where it isn't the score: " (your range ends at -20)"."""
    pairs = list(zip(found["limits"], found["ended_by"], strict=True))
    own = [f"{limit:.3g}" for limit, reason in pairs if reason == RANGE]
    words = [f"your range ends at {' and '.join(own)}"] if own else []
    for limit, reason in pairs:
        if reason not in (RANGE, SCORE, OPEN):
            words.append(f"at {limit:.3g} by the rule {reason[0].lower() + reason[1:]}")
    return f" ({'; '.join(words)})" if words else ""


def expected(tables: PlanningTables) -> list[tuple[str, str]]:
    item, expert = tables.recommended, tables.expert
    facts = [("Score as planned (SSIM)", _with_spread(item["planned"], item["planned_std"]))]
    facts.append(("Score with errors", _with_spread(item["robust"], item.get("robust_std"))))
    facts.append(("Failures", _failures(item)))
    name = tables.recommendation["expert_name"]
    about = tables.recommendation.get("expert_words")
    facts.append((name[0].upper() + name[1:], _rule_of_thumb(item, expert) + (f". {about}" if about else "")))
    facts.append(("Resolution as planned (correlation 0.5)", _resolution(tables)))
    facts.append(("Signal above noise down to (one image)", _carries(tables)))
    if least := tables.recommendation.get("least_dose"):
        facts.append(("Least dose", least_dose_words(least, plan_of(tables).goal.resolution_a)))
    facts.append(("Limit of the dose", _limit_words(tables)))
    return facts


def _higher(tables: PlanningTables) -> list[tuple[str, str]]:
    """Values of one parameter that scored higher than the recommended one, and why they aren't recommended."""
    words = higher_values(tables)
    return [("Higher in the tolerance figure", words)] if words else []


def _resolution(tables: PlanningTables) -> str:
    found = tables.images.get("recommended")
    if not found:
        return "none reached"
    reached = reached_resolution_a(found["arrays"], found["attrs"]["pixel_a"])
    if reached is None:
        return "none reached"
    at_edge = reached <= 1.001 / found["arrays"]["frc_q"][-1]
    return f"{reached:.2f} Å" + (" or better: the last frequency that was compared" if at_edge else "")


def _rule_of_thumb(item: dict[str, Any], expert: dict[str, Any]) -> str:
    if item["setting"] == expert["setting"]:
        if expert["behind"] is None:
            return "is what is recommended: the search found nothing better under errors"
        return (
            "is what is recommended: the search found nothing that can be told from it under errors "
            f"(its best is better by {expert['behind']:.3f}, 95 %: {_interval(expert)})"
        )
    if expert["planned"] is None:
        return "fails"
    words = f"{_with_spread(expert['planned'], expert['planned_std'])}, with errors {expert['robust']:.3f}"
    if expert["behind"] is not None and item["best"]:
        words += f", {expert['behind']:.3f} behind (95 %: {_interval(expert)}, draw by draw)"
    return words + (" (it can't be set: see the card)" if expert["violations"] else "")


def _interval(expert: dict[str, Any]) -> str:
    return f"{expert['behind_low']:.3f} to {expert['behind_high']:.3f}"


def _failures(item: dict[str, Any]) -> str:
    """A count, and a rate where there are draws enough for one."""
    words = f"{item['failed']} of {item['tried']} draws of errors score below {item['least']:.2f}"
    if item["tried"] < RATE_DRAWS:
        return f"{words}: too few for a rate"
    return f"{words} (95 %: {100 * item['failure_low']:.0f} to {100 * item['failure_high']:.0f} %)"


def _limit_words(tables: PlanningTables) -> str:
    """What more dose would do, as it was simulated, and what the error of the recommended design consists of."""
    limit, measured = tables.recommendation["limits"]["recommended"], tables.recommended["measured_error_rad"]
    if limit.get("floor_error_rad") is None or measured is None:
        return "not known"
    return limit_words(measured, limit, tables.recommended["pixel_a"])


def limit_words(measured_rad: float, limit: dict[str, Any], pixel_a: float) -> str:
    """limit: of limits/<design>.json. measured_rad: rms error of the phase. pixel_a: of the reconstruction."""
    floor, parts, bias, scatter = limit["floor_error_rad"], "", 0.0, 0.0
    if "bias_rad" in limit:
        bias, scatter = (rms_rad(limit["q_per_a"], limit[name], pixel_a) for name in ("bias_rad", "scatter_rad"))
        parts = f" (bias {bias:.3g}, scatter {scatter:.3g})"
    if floor > HELPS * measured_rad:
        who = "More dose hardly helps: the setting or the reconstruction limits"
    elif bias > scatter:
        who = "More dose helps: contrast is lost to noise"
    else:
        who = "More dose helps: noise scatters"
    return (
        f"{who}. Phase error {measured_rad:.3g} rad{parts}; at {limit['floor_dose_e_per_a2']:g} e/Å² {floor:.3g} rad. "
        f"The bound at this dose is {limit['error_prior_rad']:.3g} rad"
    )


def _carries(tables: PlanningTables) -> str:
    limit = tables.recommendation["limits"]["recommended"]
    if "ssnr" not in limit:
        return "not known: it takes two repeats"
    period = period_a(np.asarray(limit["q_per_a"]), np.asarray(limit["ssnr"]))
    return "nowhere" if period is None else f"{period:.2f} Å"


def _with_spread(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "failed"
    return f"{mean:.3f} ± {spread:.3f}" if spread is not None else f"{mean:.3f} (one simulation)"


def _calibration(item: dict[str, Any], plan: PlanningStudy) -> dict[str, Any]:
    """For `ptydesign import`, in ptydesign's signs."""
    conventions = plan.instrument.conventions
    sign = 1 if conventions.rotation_positive == "clockwise" else -1
    return {
        "voltage_kv": item["setting"]["voltage_kv"],
        "semiangle_mrad": item["setting"]["semiangle_mrad"],
        "defocus_nm": round(item["underfocus_nm"], 3),
        "step_a": [item["setting"]["step_a"]] * 2,
        "scan_shape": item["scan_shape"],
        "rotation_deg": sign * conventions.scan_rotation_deg,
        "pixel_mrad": item["pixel_mrad"] / plan.detector.bin,
        "bin": plan.detector.bin,
    }


def _picture(tables: PlanningTables, name: str) -> str:
    path = tables.folder / "figures" / f"{name}.png"
    return base64.b64encode(path.read_bytes()).decode("ascii")
