"""Measured data (a Siemens star, X-rays; not in the repository): imported, reconstructed, split into halves."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from ptydesign import api, io
from ptydesign.cli import main
from ptydesign.config import read_yaml
from ptydesign.halves import reconstruct_halves

ROOT = Path(__file__).parents[1]
DATA = (
    Path(os.environ.get("PTYDESIGN_MEASURED") or ROOT.parent / "shared" / "data") / "siemens_star" / "siemens_star.h5"
)
SETTINGS = ROOT / "docs" / "results" / "siemens_star"

pytestmark = pytest.mark.skipif(not DATA.is_file(), reason="the measured dataset is not here")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The dataset, through the documented command."""
    out = tmp_path_factory.mktemp("siemens") / "data.h5"
    options = ["--positions", f"{DATA}:positions_px", "--positions-unit", "px", "--probe", f"{DATA}:probe_guess"]
    calibration = ["--calibration", str(SETTINGS / "calibration.yaml")]
    assert main(["import", f"{DATA}:patterns", "-o", str(out), *calibration, *options]) == 0
    return io.read_dataset(out)


@pytest.fixture(scope="module")
def part(whole):
    """The middle of the star: 120 of 516 patterns."""
    near = np.argsort(np.abs(whole.positions_a).max(axis=1), kind="stable")[:120]
    return dataclasses.replace(whole, patterns=whole.patterns[near], positions_a=whole.positions_a[near])


def plan(sweeps, **changes):
    settings = read_yaml(SETTINGS / "plan.yaml")
    engine = settings["engines"][0] | {"sweeps": sweeps, "positions_start": 3} | changes
    return api.make_plan(engines=[engine], probe={"mode_powers": [0.1]})


def test_everything_arrives(whole):
    assert whole.patterns.shape == (516, 128, 128)
    assert whole.mask.all()
    assert whole.grid.pixel_a == pytest.approx((1, 1))
    assert whole.electrons_per_pattern == pytest.approx(461213, rel=1e-5)
    api.read_plan(SETTINGS / "plan.yaml")


def test_modes_and_positions_explain_the_data_better(part):
    def loss(**changes):
        settings = plan(12, **changes)
        return api.reconstruct_dataset(part, settings, progress=False)

    corrected, nominal = loss(), loss(refine_positions=False)
    assert corrected.outcome.status == nominal.outcome.status == "all_sweeps_done"
    assert corrected.history["loss"][-1] < 0.95 * nominal.history["loss"][-1]
    moved = corrected.state.positions_a - corrected.nominal_positions_a
    assert 0.1 < np.sqrt(np.mean(np.sum((moved - moved.mean(axis=0)) ** 2, axis=1))) < 4


def test_halves_agree(part):
    _, _, agreement = reconstruct_halves(part, plan(12), "counts", progress=False)
    curve = agreement.frc_curve
    assert curve.frc[(curve.q > 0.025) & (curve.q < 0.1)].min() > 0.9
    assert curve.resolution_a(curve.one_bit) < 5  # pixels


def test_a_tuning_study_of_the_halves_finds_a_plan(part, tmp_path):
    from study_files import write_study

    from ptydesign.tuning import scope
    from ptydesign.tuning.data import scan
    from ptydesign.tuning.resolve import resolve
    from ptydesign.tuning.search import choose, read_trials, search_plans

    content = read_yaml(SETTINGS / "study.yaml")
    content["budget"] = {"values": [6]}
    content["space"] = {"engines.0.object_step": {"low": 0.3, "high": 1.5}, "probe.modes": {"choices": [1, 2]}}
    content["plan"]["engines"][0] |= {"refine_positions": False}
    content["search"] |= {"initial": 2, "points": 1}
    content["references"] = {"default": {}}
    folder = write_study(tmp_path / "studies" / "star", content)
    io.write_dataset(folder / "data.h5", part)
    resolved = resolve(folder, "preview", tmp_path / "results")
    scan(resolved, 0)
    (search,) = scope.searches(resolved.study).values()
    search_plans(resolved, search.name, 0)
    choose(resolved)
    trials = read_trials(resolved.results, search)
    assert [t["status"] for t in trials] == ["ok"] * 3
    assert max(t["scores"]["frc_area"] for t in trials) > 0.1
    assert api.read_plan(resolved.results / "best-w6.yaml").sweeps == max(max(t["sweeps"]) for t in trials)
