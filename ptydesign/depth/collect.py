"""From measured reconstructions to tidy tables, one row for each thing, units in the column names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign import io
from ptydesign.depth.config import BASE
from ptydesign.depth.reconstruct import guesses, read_made
from ptydesign.score.align import region_slices
from ptydesign.study.tables import write_tables
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.steps import read_specimen
from ptydesign.units import interaction_parameter

INTERSTITIALS = [
    "variant", "element", "y_a", "x_a", "depth_a", "detected", "found_depth_a", "error_a", "fwhm_a", "height_v",
    "area_va",
]  # fmt: skip
COLUMNS = [
    "variant", "y_a", "x_a", "found", "true", "depth_a", "fwhm_a", "bounded", "height_v", "offset_v", "area_va",
    "expected_area_va",
]  # fmt: skip
NUMBERS = [
    "placed", "interstitial_count", "detected", "false_positives", "rmse_a", "bias_a", "spread_a", "fwhm_a",
    "fwhm_sd_a", "mse_rad2", "contrast", "frc_area", "loss", "sweeps", "status", "reason",
]  # fmt: skip
VARIED = ("semiangle_mrad", "defocus_nm", "step_a", "detector_pixels", "applied_dose_e_per_a2")
THICKNESS = [
    "varied", "slices", "slice_a", "thickness_a", "true_thickness_a", "misfit_seen", "misfit_held_out",
    "patterns_seen", "patterns_held_out", "sweeps", "status", "reason",
]  # fmt: skip


def collect(resolved: ThickResolved) -> list[Path]:
    """Write tables/ of a finished study; returns the paths."""
    measured = {name: resolved.read_json(f"measure/{name}.json") for name in resolved.study.names}
    frames = {
        "interstitials": pd.DataFrame(_rows(measured, "interstitials"), columns=INTERSTITIALS),
        "columns": pd.DataFrame(_rows(measured, "columns"), columns=COLUMNS),
        "summary": pd.DataFrame(_summary(resolved, measured)),
        "thickness": pd.DataFrame(_thickness(resolved), columns=THICKNESS),
    }
    return write_tables(resolved.results, frames, _images(resolved, measured[BASE]))


def _rows(measured: dict[str, dict[str, Any]], what: str) -> Iterable[dict[str, Any]]:
    for name, found in measured.items():
        for row in found.get(what, ()):
            yield {"variant": name, "expected_area_va": found["expected_area_va"], **row}


def _summary(resolved: ThickResolved, measured: dict[str, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for name, found in measured.items():
        config = resolved.study.experiment_of(name)
        values = {key: getattr(config, key) for key in VARIED}
        changed = " ".join(sorted(resolved.study.point_of(name)))
        yield {"variant": name, "changed": changed, **values, **{key: found.get(key) for key in NUMBERS}}


def _thickness(resolved: ThickResolved) -> Iterable[dict[str, Any]]:
    for guess in guesses(resolved):
        found = resolved.read_json(f"thickness/{guess.name}.json")
        for varied in found["varied"]:
            yield {**found, "varied": varied}


def _images(resolved: ThickResolved, base: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The base's summed phase in the scanned field, the truth there, and the profiles of all columns."""
    if base.get("status") != "ok":
        return {}
    potential, _ = read_specimen(resolved)
    state = read_made(resolved, BASE).state
    field = np.asarray(resolved.study.experiment.field_of_view_a) / 2
    y, x = resolved.centre_a
    region = (y - field[0], x - field[1], y + field[0], x + field[1])
    rows, columns = region_slices(state.object.shape[-2:], tuple(state.pixel_a), tuple(state.origin_a), region)
    phase = state.phase_rad[:, rows, columns].sum(axis=0)
    sigma = interaction_parameter(resolved.study.experiment.voltage_kv)
    part = region_slices(potential.grid.shape, potential.pixel_a, (0.0, 0.0), region)
    truth = sigma * potential.slices_va.mean(axis=0).sum(axis=0)[part]
    profiles = np.array([column["profile_v"] for column in base["columns"]])
    start = [(s.start * p + o) for s, p, o in zip((rows, columns), state.pixel_a, state.origin_a, strict=True)]
    return {
        "phase": {
            "arrays": {
                "reconstruction": io.Array((phase - phase.min()).astype(np.float32), "rad", "y,x"),
                "truth": io.Array((truth - truth.min()).astype(np.float32), "rad", "y,x"),
            },
            "attrs": {
                "pixel_a": [float(p) for p in state.pixel_a],
                "truth_pixel_a": list(potential.pixel_a),
                "start_a": [float(s - c) for s, c in zip(start, resolved.centre_a, strict=True)],
                "truth_start_a": [
                    float(s.start * p - c) for s, p, c in zip(part, potential.pixel_a, resolved.centre_a, strict=True)
                ],
                "shift_a": base["shift_a"],
            },
        },
        "profiles": {
            "arrays": {
                "potential_v": io.Array(profiles.astype(np.float32), "V", "column,slice"),
                "depths_a": io.Array(np.asarray(base["depths_a"]), "angstrom", "slice"),
            },
            "attrs": {"faces_a": [float(f) for f in resolved.shape.faces_a]},
        },
    }
