"""From watched reconstructions to tidy tables, units in the column names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign import io
from ptydesign.regularisation.config import value_at
from ptydesign.regularisation.run import Item, items, region_of, tuned_plans
from ptydesign.score.align import region_slices, sample_truth
from ptydesign.score.metrics import taper_window
from ptydesign.score.register import affine_part
from ptydesign.study.tables import write_tables
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.steps import read_specimen, truth_of

ERRORS = ["item", "plan", "factor", "value", "sweep", "loss", "rmse_projected_rad", "rmse_slices_rad", "frc_area"]
SUMMARY = [
    "item", "plan", "factor", "value", "status", "reason", "sweeps", "gflop", "slices", "thickness_a",
    "rmse_projected_rad", "rmse_slices_rad", "best_slices_rad", "best_sweep", "contrast", "frc_area", "loss",
    "dumbbell_count", "dumbbell_true_a", "dumbbell_truth_fit_a", "dumbbell_a", "dumbbell_sd_a", "dumbbell_dip", "tuned",
]  # fmt: skip
DUMBBELLS = ["item", "y_a", "x_a", "true_a", "truth_fit_a", "separation_a", "dip"]


def collect(resolved: ThickResolved) -> list[Path]:
    """Write tables/ of a finished study; returns the paths."""
    found = {item.name: resolved.read_json(f"errors/{item.name}.json") for item in items(resolved.study)}
    tuned = {name: resolved.read_json(f"tuning/{name}.json") for name in tuned_plans(resolved.study)}
    frames = {
        "errors": pd.DataFrame(_errors(found), columns=ERRORS),
        "summary": pd.DataFrame(_summary(resolved, found, tuned), columns=SUMMARY),
        "dumbbells": pd.DataFrame(
            [{"item": name, **row} for name, item in found.items() for row in item["dumbbells"]], columns=DUMBBELLS
        ),
        "trials": pd.DataFrame(_trials(tuned)),
    }
    if frames["trials"].empty:
        frames["trials"] = pd.DataFrame(columns=["plan", "trial", "status", "reason", "rmse_slices_rad"])
    return write_tables(resolved.results, frames, _images(resolved, found))


def _errors(found: dict[str, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for item in found.values():
        head = {name: item[name] for name in ("item", "plan", "factor", "value")}
        yield from ({**head, **row} for row in item["errors"])


def _summary(resolved: ThickResolved, found: dict[str, Any], tuned: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for item in found.values():
        scored = [row for row in item["errors"] if row["rmse_slices_rad"] is not None]
        last = item["errors"][-1] if item["errors"] else {}
        best = min(scored, key=lambda row: row["rmse_slices_rad"]) if scored else {}
        pairs = item["dumbbells"]
        lengths = np.array([p["separation_a"] for p in pairs])
        fits = [p["truth_fit_a"] for p in pairs if p["truth_fit_a"] is not None]
        values = tuned[item["plan"]]["best"] if item["plan"] in tuned else {}
        yield {
            **{name: item.get(name) for name in SUMMARY if name in item},
            **{n: last.get(n) for n in ("rmse_projected_rad", "rmse_slices_rad", "contrast", "frc_area", "loss")},
            "reason": item["reason"] if item["status"] == "diverged" else last.get("reason", item["reason"]),
            "best_slices_rad": best.get("rmse_slices_rad"),
            "best_sweep": best.get("sweep"),
            "dumbbell_count": len(pairs),
            "dumbbell_true_a": float(np.mean([p["true_a"] for p in pairs])) if pairs else None,
            "dumbbell_truth_fit_a": float(np.mean(fits)) if fits else None,
            "dumbbell_a": float(lengths.mean()) if pairs else None,
            "dumbbell_sd_a": float(lengths.std(ddof=1)) if len(pairs) > 1 else None,
            "dumbbell_dip": float(np.mean([p["dip"] for p in pairs])) if pairs else None,
            "tuned": json.dumps(values) if values else "",
        }


def _trials(tuned: dict[str, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for name, content in tuned.items():
        for number, trial in enumerate(content["trials"]):
            rest = {key: value for key, value in trial.items() if key != "point"}
            yield {"plan": name, "trial": number, **rest, **trial["point"]}


def _images(resolved: ThickResolved, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Projected phase in the region of every reconstruction without its plane, its power spectrum, and the truth's."""
    potential, _ = read_specimen(resolved)
    truth = truth_of(resolved, potential)
    region = region_of(resolved)
    groups: dict[str, dict[str, Any]] = {}
    for item in items(resolved.study):
        if found[item.name]["status"] == "diverged":
            continue
        state = io.read_reconstruction(resolved.results / item.file, resolved.place(item.file)).state
        pixel, origin = (tuple(float(v) for v in np.asarray(a)) for a in (state.pixel_a, state.origin_a))
        rows, columns = region_slices(state.object.shape[-2:], pixel, origin, region)
        phase = state.phase_rad[:, rows, columns].sum(axis=0)
        groups[item.name] = _group(phase, pixel, _attrs(resolved, item))
        if "truth" not in groups:
            start = tuple(o + s.start * p for o, s, p in zip(origin, (rows, columns), pixel, strict=True))
            true = sample_truth(truth.phase_rad.sum(axis=0), truth.pixel_a, start, pixel, phase.shape)
            groups["truth"] = _group(true, pixel, {"factor": "", "value": None, "plan": "truth"})
    return groups


def _attrs(resolved: ThickResolved, item: Item) -> dict[str, Any]:
    own = value_at(resolved.study.plans[0].plan, item.path) if item.path else None
    return {"factor": item.factor, "value": item.value, "plan": item.plan, "own": own}


def _group(phase: np.ndarray, pixel: tuple[float, float], attrs: dict[str, Any]) -> dict[str, Any]:
    flat = phase - affine_part(phase)
    rows, columns = (taper_window(size, 0.5) for size in phase.shape)
    power = np.abs(np.fft.fftshift(np.fft.fft2(flat * rows[:, None] * columns[None, :]))) ** 2
    return {
        "arrays": {
            "phase": io.Array(flat.astype(np.float32), "rad", "y,x"),
            "power": io.Array((power / power.size).astype(np.float32), "rad^2", "ky,kx"),
        },
        "attrs": {**attrs, "pixel_a": list(pixel)},
    }
