"""From records to tidy tables, units in the column names, and the recommendation that the sheet is made from.

Records (search/, robust/, tolerance/) are in ptydesign's sign of the defocus. Tables and recommendation are what the
user reads: everything in them is in the microscope's sign, as in the plan file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ptydesign.experiment.images import UNITS, kept_images
from ptydesign.planning import aberrations, patterns, scope
from ptydesign.planning.card import Card, make_card
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import day_reconstruction, probe_powers
from ptydesign.planning.resolve import AFFINE, LEAST_DOSE, PlanningResolved, expert_name, expert_words
from ptydesign.planning.robust import read_robust, recommended
from ptydesign.planning.scope import EXPERT_DESIGN, LIMIT_DESIGNS, RECOMMENDED
from ptydesign.planning.search import read_round
from ptydesign.planning.space import setting_of
from ptydesign.planning.tables import RECOMMENDATION
from ptydesign.study.store import PointStore
from ptydesign.study.tables import write_tables

LEAST_FOR_RANKS = 5
LIMIT_COLUMNS = ("known_rad", "unknown_rad", "prior_rad", "object_rad", "residual", "bias_rad", "scatter_rad", "ssnr")


def collect(resolved: PlanningResolved) -> list[Path]:
    """Write tables/ and return the paths."""
    robust = read_robust(resolved)
    chosen, summaries = recommended(resolved, robust)
    trials = pd.DataFrame(_trials(resolved))
    frames = {
        "trials": trials,
        "robustness": pd.DataFrame(_robustness(resolved, robust)),
        "candidates": pd.DataFrame(_candidates(resolved, robust, summaries, chosen)),
        "tolerance": pd.DataFrame(_tolerance(resolved)),
        "pareto": pareto(trials),
        "limits": pd.DataFrame(_limits(resolved)),
        "screen": pd.DataFrame(_screen(resolved)),
        "summary": pd.DataFrame(_summary(resolved, trials)),
    }
    paths = write_tables(resolved.results, frames, _images(resolved, robust, chosen))
    recommendation = _recommendation(resolved, robust, summaries, chosen)
    return [*paths, resolved.write_json(RECOMMENDATION, recommendation)]


def _trials(resolved: PlanningResolved) -> Iterable[dict[str, Any]]:
    bench = resolved.bench
    for search in scope.searches(resolved.study).values():
        for round_ in range(len(search.sizes)):
            for record in read_round(resolved, search, round_):
                setting = setting_of(bench, record["point"])
                operation = operate(bench, setting, search.dose_e_per_a2)
                yield {
                    "dose_e_per_a2": search.dose_e_per_a2,
                    "round": round_,
                    "index": record["index"],
                    **bench.shown(setting),
                    "current_pa": operation.current_pa,
                    "dwell_us": operation.dwell_us,
                    "counted_part": operation.counted_part,
                    "scan_time_s": operation.scan_time_s,
                    **_scores(record),
                }


def _scores(record: dict[str, Any]) -> dict[str, Any]:
    scores = record.get("scores") or {}
    names = ("psnr_db", "mse_rad2", "frc_area", "information", "contrast")
    return {
        "status": record["status"],
        "reason": record["reason"],
        "ssim": record["objective"],
        **{name: scores.get(name) for name in names},
        "seed": record["seed"],
    }


def _robustness(resolved: PlanningResolved, robust: dict[str, Any]) -> Iterable[dict[str, Any]]:
    names = ["drift", "drift_angle_rad", "source", "focal_spread", "thickness"]
    instrument = resolved.study.instrument
    names += ["rotation_error_deg"] if instrument.rotation_error_deg else []
    names += AFFINE if instrument.affine_error else []
    aligned = any(instrument.aberrations.of(kind)[1] for kind in aberrations.KINDS)
    for design, content in robust.items():
        for trial in content["trials"]:
            yield {
                "design": design,
                "kind": trial["kind"],
                "number": trial["number"],
                "defocus_error_nm": resolved.bench.defocus_sign * trial["defocus_nm"] + 0.0,  # no -0
                **{name: trial[name] for name in names},
                "tilt_y_mrad": trial["tilt_mrad"][0],
                "tilt_x_mrad": trial["tilt_mrad"][1],
                **({"aberrations": aberrations.shown(trial["aberrations"])} if aligned else {}),
                **_scores(trial),
            }


def _candidates(
    resolved: PlanningResolved, robust: dict, summaries: list[dict], chosen: str
) -> Iterable[dict[str, Any]]:
    bench, limit = resolved.bench, resolved.dose_e_per_a2
    for summary in summaries:
        setting = Setting(**robust[summary["design"]]["setting"])
        operation = operate(bench, setting, limit)
        yield {
            **summary,
            "recommended": summary["design"] == chosen,
            **bench.shown(setting),
            "current_pa": operation.current_pa,
            "dwell_us": operation.dwell_us,
            "scan_time_s": operation.scan_time_s,
        }


def _tolerance(resolved: PlanningResolved) -> Iterable[dict[str, Any]]:
    """The recommended design with other values of one parameter, simulated."""
    for name in scope.parameters(resolved.study):
        content = resolved.read_json(f"tolerance/{name}.json")
        own = {"value": content["value"], "score": content["score"], "possible": True}
        sign = resolved.bench.defocus_sign if content["parameter"] == "defocus_nm" else 1
        for tried in sorted([own, *content["tried"]], key=lambda t: sign * t["value"]):
            kept = None if tried["score"] is None else tried["score"] / content["score"]
            row = {
                "parameter": content["parameter"],
                "value": sign * tried["value"] + 0.0,
                "possible": tried["possible"],
            }
            yield {**row, "ssim": tried["score"], "kept": kept}


def pareto(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials that no other one beats in quality at a dose no larger and a scan time no longer, by dose and time."""
    good = trials[trials["status"] == "ok"].reset_index(drop=True)
    cost = good[["dose_e_per_a2", "scan_time_s"]].to_numpy(float)
    score = good["ssim"].to_numpy(float)
    keep = []
    for i in range(len(good)):
        no_dearer = np.all(cost <= cost[i] * (1 + 1e-9), axis=1)
        better = no_dearer & ((score > score[i]) | ((score == score[i]) & np.any(cost < cost[i] * (1 - 1e-9), axis=1)))
        keep.append(not better.any())
    return good[keep].sort_values(["dose_e_per_a2", "scan_time_s"]) if len(good) else good


def _limits(resolved: PlanningResolved) -> Iterable[dict[str, Any]]:
    for design in LIMIT_DESIGNS:
        content = resolved.read_json(f"limits/{design}.json")
        for place, q in enumerate(content["q_per_a"]):
            values = {name: content[name][place] if name in content else None for name in LIMIT_COLUMNS}
            yield {"design": design, "q_per_a": q, **values}


def _screen(resolved: PlanningResolved) -> Iterable[dict[str, Any]]:
    for search in scope.searches(resolved.study).values():
        content = resolved.read_json(f"screen/{search.name}.json")
        for row in content["rows"]:
            yield {"dose_e_per_a2": content["dose_e_per_a2"], **row}


def _summary(resolved: PlanningResolved, trials: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Of each dose: the best score, and how well the cheap look ranks designs as SSIM does (Spearman; first points of
    the search only, which are spread evenly, and all)."""
    screen = pd.DataFrame(_screen(resolved))
    for dose, group in trials.groupby("dose_e_per_a2"):
        rows = screen[screen["dose_e_per_a2"] == dose].dropna(subset=["objective"])
        first = rows[rows["round"] == 0]
        yield {
            "dose_e_per_a2": dose,
            "trials": len(group),
            "failed": int((group["status"] != "ok").sum()),
            "best_ssim": group["ssim"].max(),
            "rank_correlation_first": _rank(first),
            "first": len(first),
            "rank_correlation_all": _rank(rows),
        }


def _rank(rows: pd.DataFrame) -> float | None:
    if len(rows) < LEAST_FOR_RANKS:
        return None
    return float(spearmanr(-rows["left"].to_numpy(float), rows["objective"].to_numpy(float)).statistic)


def _images(resolved: PlanningResolved, robust: dict[str, Any], chosen: str) -> dict[str, dict[str, Any]]:
    """Picture and ring correlation of the first repeat of the recommended design and of the rule of thumb; and the
    patterns to expect."""
    store, groups = PointStore(resolved.root), {}
    for name, design in ((RECOMMENDED, chosen), (EXPERT_DESIGN, EXPERT_DESIGN)):
        first = next(t for t in robust[design]["trials"] if t["kind"] == "repeat")
        if first["status"] != "ok":
            continue
        groups[name] = kept_images(store, first["key"], tuple(UNITS), ("pixel_a", "psnr_db", "ssim"))
    if (expected := resolved.read_json(f"limits/{RECOMMENDED}.json").get(patterns.GROUP)) is not None:
        groups[patterns.GROUP] = patterns.as_images(expected)
    return groups


def _recommendation(resolved: PlanningResolved, robust: dict, summaries: list[dict], chosen: str) -> dict[str, Any]:
    """All that the sheet says, in the microscope's units and sign."""
    plan, bench = resolved.study, resolved.bench
    limit = resolved.dose_e_per_a2
    found, beams = {}, {}
    named = {RECOMMENDED: chosen, EXPERT_DESIGN: EXPERT_DESIGN}
    settings = {name: robust[design]["setting"] for name, design in named.items()}
    for name, design in named.items():
        setting = Setting(**settings[name])
        operation = operate(bench, setting, limit)
        beams[name] = beam = bench.beam(setting, operation.current_pa)
        found[name] = {
            "design": design,
            "setting": bench.shown(setting),
            "underfocus_nm": setting.defocus_nm,
            "camera_unit": bench.camera_unit,
            "pixel_mrad": bench.pixel_mrad(setting.camera),
            "pixel_a": bench.pixel_a(setting),
            "probe_diameter_a": 2 * bench.probe_radius_a(setting),
            "dose_e_per_a2": limit,
            "counted_part": operation.counted_part,
            "pre_exposure_e_per_a2": plan.goal.pre_exposure_e_per_a2,
            "electrons_per_pattern": operation.electrons,
            "current_pa": operation.current_pa,
            "exposure_us": operation.exposure_us,
            "source_size_a": beam.source_size_a,
            "focal_spread_nm": beam.focal_spread_nm,
            "dwell_us": operation.dwell_us,
            "scan_shape": list(operation.shape),
            "field_of_view_a": list(plan.goal.field_of_view_a),
            "scan_time_s": operation.scan_time_s,
            "file_gb": operation.file_gb,
            "violations": [asdict(v) for v in operation.violations],
            **next(s for s in summaries if s["design"] == design),
            "measured_error_rad": _measured_error(robust[design]),
        }
    powers, mtf = probe_powers(bench, beams[RECOMMENDED]), bench.mtf(beams[RECOMMENDED].voltage_kv)
    limits = {d: resolved.read_json(f"limits/{d}.json") for d in LIMIT_DESIGNS}
    limits = {d: {name: v for name, v in one.items() if name != patterns.GROUP} for d, one in limits.items()}
    return {
        **found,
        "expert_name": expert_name(plan),
        "expert_words": expert_words(plan),
        "tolerance": _shown_tolerance(resolved),
        "limits": limits,
        "cards": [card.content() for card in cards_of(bench, settings, limit)],
        "reconstruction": day_reconstruction(plan, robust[chosen].get("sweeps"), powers, mtf).model_dump(mode="json"),
        "warnings": list(resolved.warnings),
        **({"least_dose": resolved.read_json(LEAST_DOSE)} if plan.goal.minimise else {}),
    }


def cards_of(bench: Bench, settings: dict[str, dict[str, Any]], dose_e_per_a2: float) -> list[Card]:
    """Cards at a dose, of the recommended setting and of the expert's; one, if they are the same. The time of the
    reconstruction is left to `card`: it is the machine's, and a plan is the same on all."""
    called = {RECOMMENDED: RECOMMENDED, EXPERT_DESIGN: expert_name(bench.plan)}
    if settings[RECOMMENDED] == settings[EXPERT_DESIGN]:
        called = {RECOMMENDED: f"{called[EXPERT_DESIGN]} ({RECOMMENDED})"}
    operations = {name: operate(bench, Setting(**settings[name]), dose_e_per_a2) for name in called}
    about = {RECOMMENDED: "", EXPERT_DESIGN: expert_words(bench.plan)}
    if len(called) == 1:
        about[RECOMMENDED] = about[EXPERT_DESIGN]
    return [make_card(bench, operations[name], words, None, about[name]) for name, words in called.items()]


def _shown_tolerance(resolved: PlanningResolved) -> dict[str, dict[str, Any]]:
    """How far each parameter of the recommended design may be off, in the microscope's sign: `range` [low, high], what
    ends it below and above (`ended_by`, see `tolerance`), and `limits`, [low, high] beyond which nothing was tried."""
    found, sign = {}, resolved.bench.defocus_sign
    for name in scope.parameters(resolved.study):
        content = resolved.read_json(f"tolerance/{name}.json")
        shown = {
            "range": [content["low"], content["high"]],
            "ended_by": list(content["ended_by"]),
            "limits": list(content["ends"]),
        }
        if content["parameter"] == "defocus_nm" and sign < 0:
            shown = {key: pair[::-1] for key, pair in shown.items()}
            shown |= {key: [-v + 0.0 for v in shown[key]] for key in ("range", "limits")}
        found[content["parameter"]] = shown
    return found


def _measured_error(content: dict[str, Any]) -> float | None:
    """Rms error of the phase of the repeats without errors."""
    values = [t["scores"]["mse_rad2"] for t in content["trials"] if t["kind"] == "repeat" and t["status"] == "ok"]
    return float(np.sqrt(np.mean(values))) if values else None
