"""What the sheet of a plan warns of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plan_files import write_plan

from ptydesign.config import build
from ptydesign.instruments.calibration import Calibration
from ptydesign.planning.card import Card
from ptydesign.planning.cautions import cautions, higher_values
from ptydesign.planning.load import read_plan
from ptydesign.planning.rows import Row
from ptydesign.planning.sheet import _calibration
from ptydesign.planning.tables import PlanningTables

SETTING = {"voltage_kv": 80.0, "semiangle_mrad": 20.0, "defocus_nm": -4.0, "step_a": 2.0, "camera": 4.0}


DRAW = {"design": "candidate-0", "kind": "draw", "source": 0.9, "drift": 0.1, "thickness": np.nan}


def tables_of(
    *, planned=0.8, searched=0.8, kept=1.0, peak=0.5, reached=True, drawn=0.78, warnings=(), card="green"
) -> PlanningTables:
    q = np.linspace(0.05, 1.6, 10)
    arrays = {
        "phase": np.zeros((20, 20)),
        "truth": np.pad(np.full((2, 2), peak), 9),
        "frc_q": q,
        "frc": np.where(q < (2.0 if reached else 0.3), 1.0, 0.0),
    }
    trials = pd.DataFrame([{**SETTING, "status": "ok", "dose_e_per_a2": 2000.0, "ssim": searched}])
    tolerance = pd.DataFrame([{"parameter": "step_a", "value": 2.2, "ssim": 0.8 * kept, "kept": kept}])
    draws = [
        {**DRAW, "defocus_error_nm": 1.0, "ssim": 0.78, "tilt_y_mrad": 0.0, "tilt_x_mrad": 0.0},
        {**DRAW, "defocus_error_nm": -4.6, "ssim": drawn, "tilt_y_mrad": 3.0, "tilt_x_mrad": 4.0},
        {**DRAW, "design": "expert", "defocus_error_nm": 9.0, "ssim": 0.1, "tilt_y_mrad": 0.0, "tilt_x_mrad": 0.0},
    ]
    robust = (0.78 + drawn) / 2 if planned >= 0.8 else planned
    item = {"setting": SETTING, "dose_e_per_a2": 2000.0, "planned": planned, "robust": robust, "design": "candidate-0"}
    images = {"recommended": {"arrays": arrays, "attrs": {"pixel_a": [0.3, 0.3]}}}
    frames = {"trials": trials, "tolerance": tolerance, "robustness": pd.DataFrame(draws)}
    day = {"engines": [{"engine": "lsqml", "sweeps": 1}]}
    found = {"recommended": item, "warnings": list(warnings), "cards": [card_of(card).content()], "reconstruction": day}
    return PlanningTables(Path(), {}, {}, frames, images, found)


def card_of(status: str) -> Card:
    row = Row("Source size", 0.3, "Å", "0.27 or less", status, "", "")
    return Card("recommended", "", SETTING, -4.0, 2000.0, (row,))


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, None),
        ({"reached": False}, "The goal of 1 Å is not reached"),
        ({"searched": 0.95, "planned": 0.53}, "scored 0.95 in the search and 0.53 with fresh noise"),
        ({"kept": 1.1}, "Scan step 2.2 Å scored 0.880 instead of 0.800"),
        ({"peak": 6.3}, "reaches 6.3 rad"),
        ({"drawn": 0.4}, "0.59 instead of 0.80, in the worst draw 0.40 (defocus wrong by -4.6 nm, a source 0.9 times"),
        ({"drawn": 0.4}, "0.1 times the drift, 5 mrad of tilt)"),
        ({"warnings": ["numbers of EMPAD that are nominal"]}, "Numbers of EMPAD that are nominal."),
    ],
)
def test_a_sheet_says_what_speaks_against_it(tmp_path, change, words):
    plan, _ = read_plan(write_plan(tmp_path / "p.yaml", goal__resolution_a=1.0))
    found = cautions(tables_of(**change), plan)
    assert found == [] if words is None else (len(found) == 1 and words in found[0])
    quick = plan.model_copy(update={"scale": "smoke"})
    assert "quick look" in cautions(tables_of(**change), quick)[0]


def test_a_sheet_says_what_is_not_green_on_the_card(tmp_path):
    plan, _ = read_plan(write_plan(tmp_path / "p.yaml", goal__resolution_a=1.0))
    (found,) = cautions(tables_of(card="amber"), plan)
    assert found == "Not green on the card: Source size 0.3 Å (wanted: 0.27 or less)."


def test_import_takes_the_sheets_calibration(tmp_path):
    plan, _ = read_plan(write_plan(tmp_path / "p.yaml"))
    item = {"setting": SETTING, "underfocus_nm": -4.0, "scan_shape": [31, 41], "pixel_mrad": 4.0}
    calibration = build(Calibration, _calibration(item, plan), "calibration")
    assert calibration.step_a == (2.0, 2.0)
    assert build(Calibration, {"voltage_kv": 80, "pixel_mrad": 1, "step_a": 0.4}, "x").step_a == (0.4, 0.4)


@pytest.mark.parametrize(
    "kept, scatter, why", [(1.02, 0.02, "no more than noise may do"), (1.04, 0.001, "by its score under errors")]
)
def test_a_higher_value_has_a_reason_why_it_is_not_recommended(kept, scatter, why):
    tables = tables_of(kept=kept)
    tables.recommended["planned_std"] = scatter
    words = higher_values(tables)
    assert words.startswith(f"Scan step 2.2 Å scored {0.8 * kept:.3f} instead of 0.800")
    assert why in words
    assert higher_values(tables_of(kept=0.99)) == ""
