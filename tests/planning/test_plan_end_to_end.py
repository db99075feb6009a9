"""A plan from file to sheet, as an installed wheel in an empty folder; then from Python: nothing is computed again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from plan_files import tiny_plan

import ptydesign
from ptydesign.cli import main
from ptydesign.config import build
from ptydesign.instruments.calibration import Calibration
from ptydesign.planning import show
from ptydesign.score.spread import rms_rad
from ptydesign.study import cost

ROOT = Path(__file__).parents[2]
ELECTRONS_PER_PA_US = 6.241509


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that holds the package as its wheel installs it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q"]
    copy = shutil.copytree(ROOT / "ptydesign", folder / "source" / "ptydesign", ignore=shutil.ignore_patterns("__pyc*"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy.parent)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, copy.parent], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, capture_output=True)
    return folder / "site"


def test_from_file_to_sheet(tmp_path, installed):
    changes = {
        "goal__doses_e_per_a2": [4000],
        "search": {"initial": 3, "points": 2, "batch": 2},
        "robustness": {"candidates": 1, "repeats": 2, "draws": 2},
        "instrument__conventions": {"defocus_positive": "overfocus"},
        "instrument__defocus_nm": {"low": 0, "high": 6},
    }
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(tiny_plan(**changes)), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}

    def python(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert python("-c", "import ptydesign; print(ptydesign.__file__)").stdout.startswith(str(installed))
    done = python("-m", "ptydesign", "plan", "my.yaml", "--cores", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "results" / "my"
    settings = json.loads((folder / "settings.json").read_text())
    item = settings["recommendation"]["recommended"]
    found = item["setting"]
    assert found["semiangle_mrad"] in (20, 25)
    assert item["current_pa"] in (1, 4, 20)
    assert 0 <= found["defocus_nm"] <= 6  # the display shows overfocus as positive
    assert item["underfocus_nm"] == -found["defocus_nm"]
    assert item["current_pa"] * item["dwell_us"] * ELECTRONS_PER_PA_US == pytest.approx(
        4000 * found["step_a"] ** 2, rel=1e-4
    )
    page = (folder / "sheet.html").read_text()
    for words in ("Beam current", "keeps 95", "The first ten minutes", "Write down", "overfocus", "Rule of thumb"):
        assert words in page
    assert (folder / "sheet.pdf").read_bytes().startswith(b"%PDF")
    day = ptydesign.read_plan(folder / "reconstruction.yaml").engines[-1]
    assert day.sweeps == json.loads((folder / f"robust/{item['design']}.json").read_text())["sweeps"] <= 6
    calibration = yaml.safe_load((folder / "calibration.yaml").read_text())
    build(Calibration, calibration, "calibration.yaml")  # what `ptydesign import` reads
    assert calibration["defocus_nm"] == pytest.approx(item["underfocus_nm"], abs=1e-3)

    made = {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}
    design = ptydesign.plan(tmp_path / "my.yaml", workspace=tmp_path, cores=2)
    assert {path: path.stat().st_mtime_ns for path in made} == made  # nothing was computed again
    assert design.settings["step_a"] == found["step_a"]
    assert set(design.tables) >= {"trials", "pareto", "robustness", "limits", "screen"}
    assert set(design.tables["limits"]["design"]) == {"recommended", "expert"}
    limit = settings["recommendation"]["limits"]["recommended"]
    assert limit["floor_dose_e_per_a2"] == 100 * 4000
    assert 0 < limit["floor_error_rad"] < item["measured_error_rad"]
    assert "patterns" not in limit
    expected = design.results.images["patterns"]["arrays"]  # of all electrons the disk has nearly all
    assert 0.9 * item["electrons_per_pattern"] < expected["pacbed"].sum() < 1.01 * item["electrons_per_pattern"]
    assert expected["ronchigram"].std() > 2 * expected["pacbed"].std() / 10
    limits = design.tables["limits"]
    assert (limits["prior_rad"] <= limits[["unknown_rad", "object_rad"]].min(axis=1) * (1 + 1e-6)).all()
    assert np.isfinite(limits[["bias_rad", "scatter_rad", "ssnr"]]).all(axis=None)
    whole = np.hypot(*(rms_rad(limit["q_per_a"], limit[name], item["pixel_a"]) for name in ("bias_rad", "scatter_rad")))
    assert whole == pytest.approx(item["measured_error_rad"], rel=0.4)  # they weigh the field's edges differently
    for name in ("trials", "candidates", "pareto"):  # the display's sign everywhere
        assert design.tables[name]["defocus_nm"].between(0, 6).all()
    assert len(design.tables["trials"]) == 5
    assert (design.tables["limits"]["unknown_rad"] >= design.tables["limits"]["known_rad"]).all()
    assert len(design.figure("prediction").axes) >= 4
    assert {"green"} <= set(design.card["status"])

    report_is_a_function_of_tables(folder)


def report_is_a_function_of_tables(folder):
    """Written again, on a machine of another speed, page and sheet have the same bytes."""
    names = ("report.html", "sheet.html", "sheet.pdf", "settings.json", "calibration.yaml", "reconstruction.yaml")
    before = {name: (folder / name).read_bytes() for name in names}
    with pytest.MonkeyPatch.context() as patch:
        for module in (cost, show):  # imported before: what one of them takes from the other would stay replaced
            patch.setattr(module, "fft_rate", lambda seconds=0: pytest.fail("nothing is measured here"))
        assert main(["report", str(folder)]) == 0
    assert {name: (folder / name).read_bytes() for name in names} == before
    page = before["report.html"].decode()
    for words in ("How to reproduce", "Failures", "sheet.pdf", "Feasibility: rule of thumb", "What was asked"):
        assert words in page
