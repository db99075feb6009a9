"""What the operator checks first: the numbers by hand, and settings to fall back on that can be set."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest
from plan_files import write_plan

from ptydesign.planning.first_minutes import first_minutes
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.load import read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.tables import PlanningTables

WIDE = {
    "instrument__defocus_nm": {"low": -60, "high": 60},
    "instrument__pixels_mrad": [0.5],
    "detector__override": {"pixels": [128, 128], "frames_per_s": 10000},
    "instrument__apertures_mrad": [20],
    "goal__resolution_a": 1.4,
}
TRIAL = {"semiangle_mrad": 20.0, "defocus_nm": 30.0, "step_a": 2.5, "camera": 0.5, "dwell_us": 500.0, "ssim": 0.7}


def checks(tmp_path, *, dose=8000.0, underfocus=40.0, step=2.0, tolerance=None, calibrate=True, trial=None, **changes):
    """Checks of a plan whose recommended setting is given, by what is looked at."""
    bench = Bench(read_plan(write_plan(tmp_path / "p.yaml", **{**WIDE, **changes}))[0])
    setting = Setting(80, 20, underfocus, step, 0.5)
    operation = operate(bench, setting, dose)
    item = {
        "setting": bench.shown(setting),
        "underfocus_nm": underfocus,
        "dose_e_per_a2": dose,
        "current_pa": operation.current_pa,
    }
    trials = pd.DataFrame([{**TRIAL, "status": "ok", "current_pa": 4.0, "dose_e_per_a2": 1e9, **(trial or {})}])
    recommendation = {
        "recommended": item,
        "tolerance": tolerance or {},
        "reconstruction": {"calibrate": {"defocus_nm": {}} if calibrate else {}},
    }
    tables = PlanningTables(Path(), {}, {}, {"trials": trials}, {}, recommendation)
    return {one.what.partition(",")[0].partition(":")[0]: one for one in first_minutes(tables, bench)}, operation


def numbers(words: str) -> list[float]:
    return [float(word.replace(",", "")) for word in re.findall(r"\d[\d,]*\.?\d*", words)]


def test_disk_counts_and_step_by_hand(tmp_path):
    found, operation = checks(tmp_path)
    assert numbers(found["The disk without specimen"].expect)[0] == 2 * 20 / 0.5
    assert "pixel_mrad in calibration.yaml is 40 / pixels" in found["The disk without specimen"].otherwise
    electrons, percent, bright = numbers(found["A frame without specimen"].expect)
    assert electrons == 8000 * 2.0**2
    assert percent == pytest.approx(100 / math.sqrt(electrons), rel=0.05)
    assert bright == pytest.approx(electrons / (math.pi * 40**2), rel=0.01)
    assert f"{operation.dwell_us:.4g} µs / n" in found["A frame without specimen"].otherwise
    assert numbers(found["A lattice image at the scan's magnification"].expect)[1] == 5.0


def test_counts_of_a_detector_that_reads_out_and_counts_an_electron_often(tmp_path):
    override = {"pixels": [128, 128], "frames_per_s": 5000, "read_out_us": 100, "dqe": 0.8}
    override |= {"hits_per_electron": {80: 1.5}, "blanked": False}
    found, operation = checks(tmp_path, detector__override=override)
    electrons, counts, _, bright = numbers(found["A frame without specimen"].expect)
    assert electrons == pytest.approx(0.8 * operation.electrons, rel=0.01)
    assert counts == pytest.approx(1.5 * electrons, rel=0.01)
    assert bright == pytest.approx(1.5 * 0.8 * operation.counts_bright, rel=0.01)
    assert f"An exposure of {operation.exposure_us:.4g} µs" in found["A frame without specimen"].otherwise
    assert "what isn't counted" in found["A frame without specimen"].otherwise


@pytest.mark.parametrize("underfocus, moves", [(40.0, "against"), (-40.0, "with")])
def test_the_shadow_image_tells_the_defocus(tmp_path, underfocus, moves):
    """A point x off the axis is seen at the angle x / defocus: details 8 A apart are 20 mrad apart at 40 nm."""
    kept = {"defocus_nm": {"range": [32.0, 80.0] if underfocus > 0 else [-80.0, -32.0]}}
    found, _ = checks(tmp_path, underfocus=underfocus, tolerance=kept)
    shadow = found["The disk on the specimen (its shadow image)"]
    across, detail, pixels = numbers(shadow.expect)
    assert (across, detail, pixels) == (16, 8, 40)
    assert f"move {moves} the stage" in shadow.expect
    assert "From 20.0 to 50.0 pixels 95 % of the score is kept" in shadow.otherwise


def test_it_is_left_out_near_focus_and_with_spherical_aberration(tmp_path):
    name = "The disk on the specimen (its shadow image)"
    assert name in checks(tmp_path)[0]
    assert name not in checks(tmp_path, underfocus=2.0)[0]
    assert name not in checks(tmp_path, instrument__cs_mm=0.02)[0]


def test_the_test_scan_finds_the_defocus_within_two_errors(tmp_path):
    found, operation = checks(tmp_path)
    scan = found["A test scan beside the field"]
    assert numbers(scan.expect)[:2] == [36.0, 44.0]
    rows = min(32, *operation.shape)
    assert f"{rows} × {rows} positions" in scan.what
    time_s = rows * (rows * operation.dwell_us + 100) * 1e-6
    assert numbers(scan.what.rpartition(",")[2])[0] == pytest.approx(time_s, rel=0.01)
    assert "A test scan beside the field" not in checks(tmp_path, calibrate=False)[0]


def test_drift_that_refined_positions_follow(tmp_path):
    found, operation = checks(tmp_path)
    limit = 60 * min(
        20 * 1.4 / operation.scan_time_s, 1.4 / operation.line_time_s(Bench(read_plan(tmp_path / "p.yaml")[0]))
    )
    drift = found["Drift"]
    assert numbers(drift.expect)[0] == 1
    assert numbers(drift.otherwise)[0] == pytest.approx(limit, rel=0.01)


def test_half_the_dose_is_the_best_of_a_search_there_or_the_same_setting(tmp_path):
    found, operation = checks(tmp_path, trial={"dose_e_per_a2": 3500.0})
    assert "step 2.5 Å, 0.5 mrad, 4 pA, 500 µs: 3500 e/Å²" in found["Half the dose"].expect
    same = checks(tmp_path)[0]["Half the dose"]
    assert "4000 e/Å²" in same.expect
    assert "not simulated" in same.otherwise
    assert operation.feasible


def test_a_faster_scan_has_a_step_that_keeps_the_score_or_a_smaller_field(tmp_path):
    """With steps of 1.5 A 40 pA would be too much for the detector's frames; with 2.1 A they aren't."""
    kept = {"step_a": {"range": [1.2, 2.1]}}
    more = {"step": 1.5, "tolerance": kept, "instrument__currents_pa": [1, 20, 40]}
    found, operation = checks(tmp_path, **more)
    step, current, dwell, time_s = numbers(found["A faster scan"].expect)
    other = operate(Bench(read_plan(tmp_path / "p.yaml")[0]), Setting(80, 20, 40.0, 2.1, 0.5), 8000)
    assert (step, operation.current_pa, current) == (2.1, 20, 40)
    assert dwell == pytest.approx(other.dwell_us, rel=1e-3)
    assert time_s == pytest.approx(other.scan_time_s, rel=0.01)
    assert time_s < 0.6 * operation.scan_time_s
    for kept in ({}, {"step_a": {"range": [1.5, 2.6]}}):  # from 2 A on the current limits, and no step is faster
        found, operation = checks(tmp_path, tolerance=kept)
        smaller = [8 / math.sqrt(2), 6 / math.sqrt(2), operation.scan_time_s / 2]
        assert numbers(found["A faster scan"].expect) == pytest.approx(smaller, rel=0.01)
