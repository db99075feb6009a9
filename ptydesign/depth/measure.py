"""Interstitials in a reconstruction: every column is looked at, then what was found is compared with what is there.

The rules (MeasureConfig) don't know the truth: a column holds an atom if the Gaussian through its profile is as strong
as one atom should be. Only the comparison opens the truth.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from ptydesign.depth.config import DepthStudy, MeasureConfig
from ptydesign.grids import Grid
from ptydesign.score.compare import ScoreConfig, compare
from ptydesign.score.depth import DepthPeak, disc_means, fit_peak
from ptydesign.score.metrics import ScoreFailure
from ptydesign.simulate.defects import Interstitial
from ptydesign.simulate.structure_factors import project, scattering_factors
from ptydesign.thick.experiment import slice_depths
from ptydesign.thick.scored import inside, scored_half_a
from ptydesign.types import ReconState, Truth
from ptydesign.units import interaction_parameter

SCORE = ScoreConfig(ssim_widths_px=(0.5,))  # of the projection; a wide window might not fit into a small field
SAME_PLACE_A = 0.1  # an interstitial belongs to the column at most this far away


def atom_area(study: DepthStudy, grid: Grid, radius_a: float) -> float:
    """Projected potential in V A of one isolated interstitial, mean over the disc, at a reconstruction's resolution.

    grid: of the detector's window, whose pixel is the reconstruction's. With the time average of thermal motion. Of
    several kinds of interstitials, the weakest.
    """
    from ase.data import atomic_numbers

    thermal, areas = study.potential.thermal, []
    for element in {d.element for d in study.sample.defects if isinstance(d, Interstitial)}:
        number = atomic_numbers[element]
        sigma = {number: thermal.of({element})[element]} if thermal else None
        factors = scattering_factors([number], study.potential.parametrization, grid, sigma)
        centre = np.array([[n // 2 * p for n, p in zip(grid.shape, grid.pixel_a, strict=True)]])
        image = project(centre, np.array([number]), factors, grid)
        place = np.array([[n // 2 for n in grid.shape]])
        radius = tuple(radius_a / p for p in grid.pixel_a)
        areas.append(float(disc_means(image[None], place, radius)[0, 0]))
    return min(areas)


def measure(
    study: DepthStudy,
    state: ReconState,
    truth: Truth,
    specimen: dict[str, Any],
    centre_a: tuple[float, float],
    window: Grid,
) -> dict[str, Any]:
    """Everything that is measured of one reconstruction, JSON-able.

    specimen: attributes of specimen.h5. centre_a: (y, x) of the scan. window: the detector's grid in real space.
    """
    config = study.measure
    half = scored_half_a(study, config.margin_a)
    region = (centre_a[0] - half[0], centre_a[1] - half[1], centre_a[0] + half[0], centre_a[1] + half[1])
    pixel, origin = np.asarray(state.pixel_a), np.asarray(state.origin_a)
    try:
        score = compare(state.object, tuple(pixel), tuple(origin), truth, region, SCORE).score
    except ScoreFailure as error:
        return {"status": "failed", "reason": str(error)}
    thickness = float(np.asarray(state.thickness_a)[0])
    depths = slice_depths(len(state.thickness_a), thickness)
    places = np.asarray(specimen["places"]).reshape(-1, 2)
    places = places[inside(places, centre_a, half)]
    voltage = state.phase_rad / interaction_parameter(study.experiment.voltage_kv) / thickness
    where = (places + np.asarray(score.shift_a) - origin) / pixel
    profiles = disc_means(voltage, where, tuple(config.radius_a / pixel))
    low, high = specimen["faces_a"]
    crystal = (depths > low - thickness) & (depths < high + thickness)
    expected = atom_area(study, window, config.radius_a)
    peaks = [fit_peak(depths[crystal], profile[crystal]) for profile in profiles]
    found = [is_found(peak, config, expected) for peak in peaks]
    placed = [d for d in specimen["defects"] if d["kind"] == "interstitial"]
    true = [d for d in placed if inside([d["y_a"], d["x_a"]], centre_a, half).all()]
    interstitials, matched = match(true, places, peaks, found, config)
    columns = [
        {
            "y_a": float(y - centre_a[0]),
            "x_a": float(x - centre_a[1]),
            "found": bool(is_there),
            "true": index in matched,
            **({} if peak is None else _in_units(peak)),
            "profile_v": [round(float(v), 4) for v in profile],
        }
        for index, ((y, x), peak, is_there, profile) in enumerate(zip(places, peaks, found, profiles, strict=True))
    ]
    return {
        "status": "ok",
        "reason": "",
        "depths_a": [float(d) for d in depths],
        "expected_area_va": expected,
        "interstitials": [{**i, "y_a": i["y_a"] - centre_a[0], "x_a": i["x_a"] - centre_a[1]} for i in interstitials],
        "columns": columns,
        "false_positives": sum(1 for c in columns if c["found"] and not c["true"]),
        "mse_rad2": float(score.mse_rad2),
        "contrast": float(score.contrast),
        "frc_area": float(score.frc_area),
        "shift_a": [float(v) for v in score.shift_a],
        "region_a": [float(v) for v in region],
        **summarise(interstitials),
        "placed": len(placed),
    }


def _in_units(peak: DepthPeak) -> dict[str, Any]:
    content = asdict(peak)
    volts = {f"{name}_v": content.pop(name) for name in ("height", "offset")}
    return {**content, **volts, "area_va": float(peak.area)}


def is_found(peak, config: MeasureConfig, expected: float) -> bool:
    """Whether a column's peak is taken for an atom; the rule of MeasureConfig."""
    if peak is None or peak.bounded:
        return False
    return peak.area >= config.least_area * expected and peak.fwhm_a <= config.widest_a


def match(true: list[dict], places: np.ndarray, peaks: list, found: list[bool], config: MeasureConfig):
    """Each true interstitial with what was found in its column, and the columns whose find is a true one."""
    rows, matched = [], set()
    for defect in true:
        away = np.hypot(*(places - [defect["y_a"], defect["x_a"]]).T)
        index = int(np.argmin(away)) if len(away) else -1
        row = {"element": defect["element"], "y_a": defect["y_a"], "x_a": defect["x_a"], "depth_a": defect["z_a"]}
        peak = peaks[index] if index >= 0 and away[index] <= SAME_PLACE_A else None
        if peak is not None:
            error = peak.depth_a - defect["z_a"]
            row |= {"found_depth_a": peak.depth_a, "error_a": error, "fwhm_a": peak.fwhm_a}
            row |= {"height_v": peak.height, "area_va": float(peak.area)}
            row["detected"] = bool(found[index] and abs(error) <= config.match_a)
            if row["detected"]:
                matched.add(index)
        else:
            row["detected"] = False
        rows.append(row)
    return rows, matched


def summarise(interstitials: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers over the detected interstitials; errors in A, None without any."""
    detected = [i for i in interstitials if i["detected"]]
    errors = np.array([i["error_a"] for i in detected])
    numbers: dict[str, Any] = {"interstitial_count": len(interstitials), "detected": len(detected)}
    if not len(errors):
        return {**numbers, "rmse_a": None, "bias_a": None, "spread_a": None, "fwhm_a": None, "fwhm_sd_a": None}
    widths = np.array([i["fwhm_a"] for i in detected])
    return {
        **numbers,
        "rmse_a": float(math.sqrt(np.mean(errors**2))),
        "bias_a": float(np.mean(errors)),
        "spread_a": float(np.std(errors)),
        "fwhm_a": float(np.mean(widths)),
        "fwhm_sd_a": float(np.std(widths, ddof=1)) if len(widths) > 1 else None,
    }
